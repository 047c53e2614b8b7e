"""The page The dial, in process: opens on a shipped dial, moves by link and click, launches, refuses what it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_tools import button, charts, opened, sound
from example_dials import example_dial
from fake_worker import small_snapshot
from made_up_samples import write_index
from merge_samples import fine_tune
from streamlit.testing.v1 import AppTest

from beft_core.dials.config import SOURCE, DialConfig
from beft_core.dials.result import beside
from beft_core.execution import start
from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import read_snapshot, write_snapshot
from dashboard.app_pages.dial import evaluation

pytestmark = pytest.mark.usefixtures("lab")
NAMES = {
    "other": "Another",
    "stsb-low-seed0-v-only": "With a dial",
    "headless": "No head",
}


@pytest.fixture
def samples(lab: Path) -> Path:
    """One sample with a dial beside it, one without, one without a head."""
    folder = lab / "samples"
    tuned = fine_tune("demo-sentiment", 1)
    for name, snapshot in zip(NAMES, (fine_tune("demo-similarity", 2), tuned, small_snapshot()), strict=True):
        write_snapshot(folder / f"{name}.beft.safetensors", snapshot)
    path = folder / "stsb-low-seed0-v-only.beft.safetensors"
    costs = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
    example_dial(snapshot=read_snapshot(path), costs=costs, metric="accuracy").write(beside(path))
    write_index(folder, NAMES)
    return folder


def words(at: AppTest) -> str:
    return " ".join(str(one.value) for one in (*at.markdown, *at.caption))


def number(at: AppTest) -> tuple[str, str]:
    (metric,) = at.metric
    return metric.value, metric.delta


def test_it_opens_on_a_dial_and_moves_with_the_slider(samples: Path) -> None:
    at = opened("dial")
    assert at.selectbox(key="dial_snapshot").value == "With a dial"
    assert any(m.value.startswith("#### At λ = 1 accuracy is 71\\.0") for m in at.markdown)
    assert "Layer 5 costs most when switched off" in words(at) and "knows no score" in words(at)
    assert charts(at) == 2 and number(at) == ("71.0", "measured: 69.0 to 73.0")
    at.slider(key="dial_lambda").set_value(0.5).run()
    assert number(sound(at))[0] == "63.5" and "0.5" in at.query_params["dial_lambda"]
    at.slider(key="dial_lambda").set_value(0.6).run()
    assert "not measured: on the line between λ = 0.5 and 0.75" in number(sound(at))[1]
    at.selectbox(key="dial_part").set_value("Layer 5").run()
    at.slider(key="dial_lambda").set_value(0.0).run()
    assert number(sound(at))[0] == "51.0"
    at.segmented_control(key="dial_rule").set_value("Layer index").run()
    assert "tau 1\\.00" in words(sound(at))


def test_a_link_restores_it(samples: Path) -> None:
    at = opened("dial", dial_lambda="1.5", dial_part="Layer 4", dial_rule="Magnitude (L1)")
    assert (at.slider(key="dial_lambda").value, at.selectbox(key="dial_part").value) == (1.5, "Layer 4")
    assert at.segmented_control(key="dial_rule").value == "Magnitude (L1)"


def test_a_dial_of_another_snapshot_or_a_damaged_one_is_not_shown(samples: Path) -> None:
    path = beside(samples / "stsb-low-seed0-v-only.beft.safetensors")
    example_dial().write(path)
    assert charts(opened("dial")) == 0
    path.write_text("{}")
    at = opened("dial")
    assert "version" in at.error[0].value and charts(at) == 0


def test_what_cannot_be_turned_says_why(samples: Path) -> None:
    at = opened("dial", dial_snapshot="No head")
    assert "keeps no head" in at.info[0].value and "Turn the dial" not in [one.label for one in at.button]


def test_a_run_is_launched_on_the_snapshot_and_its_dial_opens(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Run] = []
    monkeypatch.setattr(start, "start_worker", started.append)
    at = opened("dial", dial_snapshot="Another", dial_examples="200")
    assert "This one was not turned yet" in [one.value for one in at.subheader] and charts(at) == 0
    assert "85 sets of biases" in words(at)
    button(at, "Turn the dial").click().run()
    (run,) = started
    config = DialConfig.from_dict(run.config()[1])
    snapshot = read_snapshot(run.path / SOURCE)
    assert (config.limit, config.task, config.title) == (200, "demo-similarity", "Another")
    assert run.id in sound(at).query_params["dial_run"]
    # What its worker would leave behind:
    costs = (0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
    example_dial(snapshot=snapshot, costs=costs).write(run.result)
    run.write_status(Status("done", created=1.0, began=2.0, ended=3.0, device="cpu"))
    for link in ({"dial_run": run.id}, {"dial_snapshot": "Another"}):  # by its link, and as the newest of this snapshot
        again = opened("dial", **link)
        assert "Layer 0 costs most when switched off" in words(again) and charts(again) == 2
        assert f"measured by run {run.id[-6:]}" in words(again)
    assert list_runs() == [run] and evaluation.CARD.page == run.kind.page
