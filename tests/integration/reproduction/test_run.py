"""Figure 1 and Table 3 reproduced for real, on the bundled model and the lab's own tasks: trained, merged, reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from reproduction_tools import without_data
from training_tools import few_validation_examples

from beft_core.reproduction import plan as planning
from beft_core.reproduction.experiments import SMALL
from beft_core.reproduction.plan import plan
from beft_core.reproduction.report import report
from beft_core.reproduction.run import run
from beft_core.sweeps.store import SweepFolder
from beft_core.training import inputs
from beft_core.training.observer import Observer

TINY = dataclasses.replace(
    SMALL,
    examples={"low": 8, "medium": 12, "high": 16, "all": 20},
    settings={**SMALL.settings, "epochs": 1, "batch_size": 4, "max_length": 16, "n_eval": 16, "fisher_examples": 8},
)


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    without_data(monkeypatch, tmp_path)
    monkeypatch.setattr(planning, "SMALL", TINY)
    monkeypatch.setattr(inputs, "load_data", few_validation_examples(16))
    yield


class Stopping(Observer):
    """Ctrl-C while the first sweep trains."""

    def __init__(self) -> None:
        self.asked = 0

    def should_stop(self) -> bool:
        self.asked += 1
        return self.asked > 2


def test_stopped_gone_on_with_and_reported(tmp_path: Path) -> None:
    planned = plan(["figure1", "table3"], tmp_path / "out", models=["bundled"], small=True, settings={"device": "cpu"})
    first = run(planned, Stopping())
    assert first.stopped and first.trained < 5
    done = run(planned, Observer())
    assert not done.stopped and done.errors == {} and done.failed == 0
    assert first.trained + done.trained == 5, "four of Figure 1, of which Table 3 takes b_v, and one more"
    assert SweepFolder(planned.steps[1].folder).merges.is_file()
    figure, merging = report(planned).sections
    assert figure.fine_tunes == 4 and {one.agrees for one in figure.statements} <= {True, False}
    assert merging.fine_tunes == 2 and merging.tables[0].has_ours
    again = run(planned, Observer())
    assert again.trained == 0 and again.seconds == 0
