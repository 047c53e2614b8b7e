"""The page of the proofs in process: predict, reveal, wrong input, other models, the trap. The desk is played."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from dashboard_tools import ROOT, PlayedService, button, charts, opened, sound
from fake_worker import small_snapshot
from made_up_samples import write_index
from streamlit.testing.v1 import AppTest
from tiny_models import tiny_with_words

from beft_core.errors import UserError
from beft_core.models import attention_experiments
from beft_core.runs.run import list_runs
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta, write_snapshot
from dashboard.app_pages.why import details, trap
from dashboard.app_pages.why.pushes import EXAMPLE
from dashboard.figures.parts import style
from dashboard.shared import model_service

pytestmark = pytest.mark.usefixtures("lab")


HELD = attention_experiments.HeldModel()


class InProcess(PlayedService):
    """A desk that is this process: the tests have PyTorch already."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal: UserError | None = None

    def ask(self, question: str, timeout: float = 0, **fields: Any) -> Any:
        self.asked.append(question)
        if self.refusal is not None:
            raise self.refusal
        return {"model": HELD.describe, "prove": HELD.prove}[question](**fields)


@pytest.fixture(autouse=True)
def desk(lab: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    played = InProcess()
    monkeypatch.setattr(model_service, "service", lambda: played)
    st.cache_data.clear()
    HELD.describe("bundled")  # loaded before a page waits for it: that has a limit of its own
    return played


def words(at: AppTest) -> str:
    return " ".join(element.value for element in [*at.markdown, *at.caption, *at.info, *at.warning, *at.error])


def told(at: AppTest) -> list[str]:
    """What each column says at its head, b_k first."""
    return [m.value for m in at.markdown if "Push the" in m.value]


def logits(at: AppTest) -> list[tuple[list[float], list[float]]]:
    """Logits before and after in each column."""
    figures = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")[:3]]
    return [
        tuple(next(t["x"] for t in figure["data"] if t.get("name") == when) for when in ("before", "after"))  # type: ignore[misc]
        for figure in figures
    ]


def test_three_columns_show_without_a_click_what_stays_and_what_moves(desk: InProcess) -> None:
    at = opened("why")
    assert desk.asked == ["prove"] and not at.error
    k, q, v = told(at)
    assert ":gray[Push the key bias, $b_k$]" in k and "Attention **stays**, output **stays**." in k
    assert ":blue[Push the query bias, $b_q$]" in q and "Attention **moves**, output **moves**." in q
    assert ":orange[Push the value bias, $b_v$]" in v and "Attention **stays**, output **moves**." in v
    result = HELD.prove("bundled", "The film was surprisingly good, but far too long.", 2, 10.0, 0)
    lengths = [c.value for c in at.caption if "as long as this bias" in c.value]
    for (before, after), length, term in zip(logits(at), lengths, "kqv", strict=True):
        part = result["terms"][term]
        assert before == pytest.approx(result["logits"]) and after == pytest.approx(part["logits_after"])
        assert float(length.split()[2].replace(",", "")) == pytest.approx(10 / part["norm"], rel=0.05)
    assert charts(at) == 3 and "10<sup>" not in str(at.get("plotly_chart"))  # details are not computed before one asks


def test_a_push_of_ones_own_completes_the_step() -> None:
    at = opened("why")
    assert "tour" not in at.query_params
    at.select_slider(key="why_size").set_value(30.0).run()
    assert "567" not in words(sound(at)) and "1,701 times" in words(at)
    assert "proof" in str(at.session_state["tour"])


@pytest.mark.parametrize(("term", "figures"), [("k", 2), ("q", 2), ("v", 3)])
def test_a_link_restores_the_push_and_its_details(term: str, figures: int) -> None:
    query = {"why_layer": "4", "why_size": "30", "why_seed": "7", "why_text": "A link, restored.", "why_head": "head 3"}
    at = opened("why", why_more="true", why_term=style.name(term), **query)
    result = HELD.prove("bundled", "A link, restored.", 4, 30.0, 7)
    assert [after for _, after in logits(at)] == [
        pytest.approx(result["terms"][other]["logits_after"]) for other in "kqv"
    ]
    shown = json.loads(at.get("plotly_chart")[1].proto.spec)["data"][1]["z"]  # b_q after
    assert np.allclose(np.square(shown), np.array(result["terms"]["q"]["after"])[3], atol=1e-5)
    assert charts(at) == 3 + figures and "How was this computed?" in words(at)
    assert details.PROOFS[term].so in words(at)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"why_text": "   "}, "no sentence"),
        ({"why_model": "/no/such/folder"}, "not a folder"),
        ({"why_model": "no such model <b>"}, "the model name"),
        ({"why_text": "x" * 500}, ""),
        (
            {
                "why_layer": "77",
                "why_size": "?",
                "why_seed": "-5",
                "why_tab": "?",
                "why_seen": "?",
                "why_head": "head 99",
            },
            "",
        ),
    ],
)
def test_wrong_input_is_told_and_loses_nothing(query: dict[str, str], told: str) -> None:
    at = opened("why", **query)
    assert told in words(at) and len(at.error) == (1 if told else 0)
    at.text_input(key="why_text").set_value("A good sentence.")
    at.text_input(key="why_model").set_value("bundled")
    assert not sound(at.run()).error


def test_a_desk_that_fails_is_told_in_a_box_and_asked_again(desk: InProcess) -> None:
    desk.refusal = UserError("the process that holds the model was killed", "", "a smaller model")
    at = opened("why")
    assert "was killed" in at.error[0].value and charts(at) == 0
    desk.refusal = None
    assert charts(sound(at.run())) == 3 and not at.error


def test_without_a_model_the_example_of_the_samples_is_shown_and_is_what_the_model_says(
    desk: InProcess, tmp_path: Path
) -> None:
    shipped = json.loads((ROOT / "sample_snapshots" / EXAMPLE).read_text(encoding="utf-8"))
    again = HELD.prove(**shipped["asked"])
    for term in "kqv":
        assert shipped["answer"]["terms"][term]["moves"] == again["terms"][term]["moves"]
        now, then = (one["terms"][term]["logits_after"] for one in (again, shipped["answer"]))
        assert now == pytest.approx(then, abs=1e-9)  # another processor sums in another order
    desk.refusal = UserError("PyTorch is not installed", "", "pip install")
    assert charts(opened("why")) == 0  # these samples have none
    shutil.copy(ROOT / "sample_snapshots" / EXAMPLE, tmp_path / "samples")
    at = opened("why", why_text="something else")
    assert charts(at) == 3 and "PyTorch is not installed" in at.error[0].value
    assert "an example that comes with the lab: layer 2 of the bundled model, “The film" in words(at)
    (tmp_path / "samples" / EXAMPLE).write_text('{"asked": {"rm": 1}, "answer": []}')
    assert charts(opened("why")) == 0


def test_a_model_whose_key_bias_acts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_experiments, "load_model", lambda name, **_: tiny_with_words("llama"))
    at = opened("why", why_model="org/rotary", why_text="5 17 23 9", why_more="true")
    assert at.warning and "rotary positions" in at.warning[0].value  # the proof in the details does not hold
    assert "In this model $b_k$ can act" in told(at)[0] and "rotary positions" in told(at)[0]
    assert "Attention **moves**" in told(at)[0]
    monkeypatch.setattr(attention_experiments, "load_model", lambda name, **_: tiny_with_words("deberta"))
    at = opened("why", why_model="org/no-key-bias", why_text="5 17 23 9")
    assert "has no $b_k$" in at.info[0].value and charts(at) == 2


def test_another_model_with_fewer_layers_moves_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("why", why_layer="5", why_text="5 17 23 9")
    monkeypatch.setattr(attention_experiments, "load_model", lambda name, **_: tiny_with_words("bert"))
    at.text_input(key="why_model").set_value("org/two-layers").run()
    assert sound(at).slider(key="why_layer").value == 1


# ---- the trap ------------------------------------------------------------------------------------


def followed(trained: bool, precision: str, share: float, **settings: object) -> Snapshot:
    """A probe whose b_k was moved by `share` of its length, sideways, in two checkpoints."""
    made = small_snapshot()
    keys = made.keys()
    pre = {key: made.pre(*key) for key in keys}
    noise = {key: np.random.default_rng(1).normal(size=value.shape).astype(np.float32) for key, value in pre.items()}
    amount = {"k": share if trained else 0.0, "v": 1.0, "q": 0.2}
    post = {key: value + amount.get(key[1], 0.3) * noise[key] for key, value in pre.items()}
    terms = tuple(term for _, term in keys if trained or term != "k")
    fields = {**made.meta.__dict__, "trained_terms": terms, "hyperparameters": {"precision": precision, "steps": 40}}
    fields["hyperparameters"] |= settings
    steps = {key: np.stack([(pre[key] + post[key]) / 2, post[key]]) for key in keys if key[1] in terms}
    return Snapshot.build(SnapshotMeta(**fields), pre, post, steps=steps, trajectory_step=np.array([20, 40]))


@pytest.fixture
def three(lab: Path, tmp_path: Path) -> None:
    runs = {"frozen": (False, "float32", 0), "f32": (True, "float32", 0.1), "b16": (True, "bfloat16", 50)}
    for name, (trained, precision, share) in runs.items():
        write_snapshot(tmp_path / "samples" / f"{name}.beft.safetensors", followed(trained, precision, share))
    write_index(
        tmp_path / "samples", {"b16": "In bfloat16", "probe": "A probe", "frozen": "Frozen", "f32": "In float32"}
    )


@pytest.mark.usefixtures("three")
def test_the_trap_names_noise_as_noise() -> None:
    at = opened("why", why_tab="The trap", why_seen="trap", why_trap="b_v")
    assert "selects **$b_k$**: **rounding noise**" in words(at) and "you predicted b\\_v" in words(at)
    right = words(opened("why", why_tab="The trap", why_seen="trap", why_trap="b_k"))
    assert "as you predicted" in right and "you predicted b" not in right
    headed = [m.value.split("\n\n", 1) for m in at.markdown if "\n1. " in m.value]
    assert [head for head, _ in headed] == [f"**$b_k$ {how}**" for how in ("frozen", "in float32", "in bfloat16")]
    rankings = [ranking for _, ranking in headed]
    assert [r.split()[1] for r in rankings] == ["$b_v$", "$b_v$", "$b_k$"]
    assert "3. $b_k$ 0.00 frozen" in rankings[0] and "⚠ noise" in rankings[1] and "⚠ noise" in rankings[2]
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    lines = {(t["name"] if "name" in t else t["hovertemplate"].split()[2], t["xaxis"]) for t in figure["data"]}
    assert len(figure["data"]) == 9 and len(lines) == 9
    assert sum(t["line"]["dash"] == "dot" for t in figure["data"]) == 2


@pytest.fixture
def five(lab: Path, tmp_path: Path) -> None:
    """With ours, recorded or from before it was, and with the authors' epsilon."""
    theirs = {"adam_epsilon": 1e-6, "adam_epsilon_at": "before"}
    runs: dict[str, tuple[str, float, dict[str, object]]] = {
        "f32": ("float32", 0.1, {}),
        "b16": ("bfloat16", 50, {"adam_epsilon": 1e-8, "adam_epsilon_at": "after"}),
        "a32": ("float32", 0.001, theirs),
        "a16": ("bfloat16", 40, theirs),
    }
    write_snapshot(tmp_path / "samples" / "frozen.beft.safetensors", followed(False, "float32", 0, optimizer="AdamW"))
    for name, (precision, share, settings) in runs.items():
        made = followed(True, precision, share, optimizer="AdamW", **settings)
        write_snapshot(tmp_path / "samples" / f"{name}.beft.safetensors", made)
    write_index(tmp_path / "samples", {name: name for name in ("b16", "probe", "a16", "frozen", "f32", "a32")})


@pytest.mark.usefixtures("five")
def test_the_trap_shows_what_each_epsilon_makes_of_noise() -> None:
    at = opened("why", why_tab="The trap", why_seen="trap")
    assert len(json.loads(at.get("plotly_chart")[0].proto.spec)["data"]) == 9  # the three with our epsilon
    (table,) = [m.value for m in at.markdown if m.value.startswith("| precision")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[:2] + row[-1:] for row in rows] == [
        ["float32", "1e-08 after", "$b_v$"],
        ["float32", "1e-06 before", "$b_v$"],
        ["bfloat16", "1e-08 after", "$b_k$"],
        ["bfloat16", "1e-06 before", "$b_k$"],
    ]
    moved = {(row[0], row[1][:5]): movement_of(row[3]) for row in rows}
    assert moved["float32", "1e-06"] == pytest.approx(moved["float32", "1e-08"] / 100, rel=0.1)
    text = words(at)
    assert "enough for a $b_k$ of 0.000 without any freezing" in text and "$b_k$ still comes first" in text


def movement_of(cell: str) -> float:
    return float(cell.replace("−", "-"))


@pytest.mark.usefixtures("three")
def test_the_trap_hides_its_answer_first() -> None:
    at = opened("why", why_tab="The trap")
    assert charts(at) == 0
    button(at, "Show what happens").click().run()
    assert charts(sound(at)) == 1


def test_the_trap_without_its_samples_offers_the_run() -> None:
    at = opened("why", why_tab="The trap", why_seen="trap")
    assert "Run it live" in at.info[0].value and charts(at) == 0
    button(at, "Train b_k in bfloat16, here and now").click().run()
    (run,) = list_runs()
    kind, config = run.config()
    assert (kind, config["mode"], config["train_null"], config["precision"]) == ("select", "all", True, "bfloat16")
    assert config["trajectory_every"] and config["fisher"] and not sound(at).error
    assert any("watch it" in link.proto.label for link in at.get("page_link"))


@pytest.mark.parametrize("how", ["read only", "presenter"])
def test_the_live_run_is_locked(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "read only":
        monkeypatch.setenv("BEFT_READ_ONLY", "1")
    query = {"present": "true"} if how == "presenter" else {}
    at = opened("why", why_tab="The trap", why_seen="trap", **query)
    assert button(at, "Train b_k in bfloat16, here and now").disabled
    if how == "read only":
        trap._launch()  # a click that was on its way
        assert not list_runs()


def test_a_room_does_not_wait_for_what_comes_along_and_sees_what_the_model_says(
    desk: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEFT_SAMPLES_DIR")
    shown = logits(opened("why", present="true", stop="pushes"))
    assert "prove" not in desk.asked
    live = logits(opened("why", present="true", stop="off"))
    assert "prove" in desk.asked and np.allclose(shown, live, atol=1e-4)
    moved = opened("why", present="true", stop="pushes", why_size="30")
    assert not np.allclose(logits(moved), live, atol=1e-4)  # another push is asked for
