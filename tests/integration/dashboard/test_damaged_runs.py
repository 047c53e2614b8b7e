"""Every page that lists runs, in a home where runs are damaged in every way: the sound one is shown as ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from damaged_runs import DAMAGES, finished
from dashboard_tools import button, opened, sound, wait
from fake_worker import small_snapshot

from beft_core.runs.overview import overview
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import write_snapshot

pytestmark = [pytest.mark.usefixtures("lab"), pytest.mark.timeout(120)]


@pytest.fixture
def damaged() -> dict[str, Run]:
    """Damage -> a run that has it."""
    runs = {}
    for name, damage in DAMAGES.items():
        runs[name] = finished()
        damage(runs[name])
    return runs


def test_pages_that_list_runs_survive(damaged: dict[str, Run]) -> None:
    healthy = finished(seed=7)
    write_snapshot(healthy.snapshot, small_snapshot(1))
    for page in ("start", "fine_tune", "sweep", "merge", "compare", "evaluation"):
        opened(page)
    table = opened("runs").dataframe[0].value.set_index("id")
    assert len(table) == len(damaged) + 1
    assert list(table.loc[healthy.id, "state"]) == ["done"] and table.loc[healthy.id, "value"] == 0.75
    for name, run in damaged.items():
        assert "damaged" in list(table.loc[run.id, "state"]) and table.loc[run.id, "now"], name


def test_damaged_runs_are_compared_told_filtered_and_deleted(damaged: dict[str, Run]) -> None:
    chosen = [damaged[name] for name in ("a line that is a list", "no config.json", "status.json as a pipe")]
    at = opened("runs", runs=[overview(run).label for run in chosen], state="damaged")
    assert len(at.dataframe[0].value) == len(damaged)
    told = " ".join(warning.value for warning in at.warning)
    for words in ("a JSON list", "config\\.json is missing", "a pipe"):
        assert words in told, told
    sound(button(at, "Delete").click().run())
    assert not any(run.path.exists() for run in chosen)


@pytest.mark.parametrize(
    "damage", ["an epoch that is a list", "a selection that is a list", "log.txt as a pipe", "no config.json"]
)
def test_the_card_of_a_damaged_run(damage: str) -> None:
    run = finished()
    DAMAGES[damage](run)
    opened("fine_tune", run=run.id)


def test_a_home_that_is_a_file_is_one_line_on_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "file"))
    for page in ("start", "runs", "sweep"):
        at = opened(page)
        assert [error.value for error in at.error] and "Not a directory" in at.error[0].value.replace("\\", "")


def test_a_checkpoint_that_cannot_be_used_offers_to_start_over() -> None:
    run = finished()
    run.checkpoint.write_bytes(b"junk")
    (run.path / "config.json").write_text('{"kind": "train", "config": {"act": "checkpoint", "device": "cpu"}}')
    run.write_status(replace(run.recorded(), state="failed", message="Killed."))
    at = opened("fine_tune", run=run.id)
    sound(button(at, "Resume from its checkpoint").click().run())
    wait(lambda: not run.status().active)
    assert run.recorded().start_over and "damaged" in str(run.recorded().message)
    for page in ("runs", "fine_tune"):
        at = opened(page, **({"run": run.id} if page == "fine_tune" else {"runs": [overview(run).label]}))
        assert not [b for b in at.button if b.label.startswith("Resume")]
    sound(button(at, "Start over").click().run())
    wait(lambda: run.status().state == "done")
    assert (run.path / "unusable-checkpoint.safetensors").read_bytes() == b"junk"
