"""A comparison on the bundled model: two sweeps, one result, nothing done twice, and what does not apply said."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from beft_core.comparison.folder import ComparisonFolder
from beft_core.comparison.plan import Plan, plan
from beft_core.comparison.runner import Compared, compare
from beft_core.comparison.spec import TRIAL_SEED, ComparisonSpec
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.fleet import sweep_here
from beft_core.reports.methods.table import read_comparison
from beft_core.runs.predictions import read_predictions
from beft_core.sweeps.runner import run_sweep
from beft_core.sweeps.sharing.result import SweepResult
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import read_table
from beft_core.tasks.examples import HELD_OUT, TaskData
from beft_core.training import inputs
from beft_core.training.observer import Observer

SETTINGS: dict[str, Any] = {
    "batch_size": 4,
    "epochs": 1,
    "device": "cpu",
    "max_length": 16,
}
SPEC = ComparisonSpec(
    methods=("v", "q", "full", "icl"),
    lrs=(1e-3, 1e-2),
    seeds=1,
    n_train=8,
    hold_out=12,
    settings=SETTINGS | {"n_eval": 24},
)


def work(folder: Path, spec: ComparisonSpec = SPEC, observer: Observer | None = None) -> Compared:
    observer = observer or Observer()
    return compare(spec, plan(spec, observer), ComparisonFolder(folder), observer, run_sweep, snapshots=False)


@pytest.fixture(scope="module")
def scored() -> list[tuple[int | None, str, int]]:
    """What each pass was scored on: (held-out examples, name of the set, its size)."""
    return []


@pytest.fixture(scope="module", autouse=True)
def watched(scored: list[tuple[int | None, str, int]]) -> Iterator[None]:
    real = inputs.load_data

    def load(config: RunConfig) -> TaskData:
        data = real(config)
        ((name, part),) = data.evals.items()
        scored.append((config.hold_out, name, len(part)))
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "load_data", load)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Compared]:
    folder = tmp_path_factory.mktemp("comparison") / "one"
    return folder, work(folder)


def test_trials_are_scored_on_the_split_and_finals_on_the_validation_set(
    done: tuple[Path, Compared], scored: list[tuple[int | None, str, int]]
) -> None:
    folder = done[0]
    assert set(scored) == {(12, HELD_OUT, 12), (None, "validation", 24)}
    tried, reported = read_table(folder / "trials"), read_table(folder / "finals")
    assert set(tried["seed"]) == {TRIAL_SEED} and set(reported["seed"]) == {0}
    assert tried.groupby("trains")["lr"].nunique().to_dict() == {"v": 2, "q": 2, "full": 2}
    assert set(tried.loc[tried["trains"] != "full", "bank_runs"]) == {4}  # bias methods share a pass
    assert (reported["peak_bytes"] > 10**8).all()


def test_the_result_is_what_the_sweeps_say(done: tuple[Path, Compared]) -> None:
    folder, compared = done
    found = read_comparison(folder)
    assert compared.found is not None and not compared.stopped
    reported = read_table(folder / "finals")
    assert list(found.rows["setting"]) == ["same"] * 4 + ["best"] * 4
    for row in found.done.to_dict("records"):
        own = reported[(reported["trains"] == row["trains"]) & (reported["lr"] == row["lr"])]
        assert row["value"] == pytest.approx(own["value"].mean()) and row["seeds"] == 1
        choice = compared.choices[row["trains"]]
        assert row["lr"] == (1e-2 if row["setting"] == "same" else choice.lr)
        assert json.loads(row["trials"]) == [list(one) for one in choice.trials]
    icl = found.rows[found.rows["method"] == "icl"]
    assert set(icl["state"]) == {"refused"} and icl["reason"].str.contains("a head gives").all()
    assert len(found.pairs) == 2 * 3  # v, q and full, in both settings


def test_predictions_are_of_the_reported_fine_tunes(done: tuple[Path, Compared]) -> None:
    folder = ComparisonFolder(done[0])
    for row in read_table(folder.finals.path).to_dict("records")[:2]:
        (one,) = read_predictions(folder.finals.predictions(row["run"]))
        assert len(one) == 24 and (one.predicted == one.labels).mean() == pytest.approx(row["value"])
    assert not (folder.trials.path / "predictions").exists()


def test_what_is_there_is_not_done_again(done: tuple[Path, Compared], tmp_path: Path) -> None:
    folder = done[0]
    before = (folder / "methods.csv").read_bytes()
    again = work(folder)
    assert again.trained == 0 and (folder / "methods.csv").read_bytes() == before


def test_what_is_lost_of_what_is_reported_is_made_again(tmp_path: Path) -> None:
    small = dataclasses.replace(SPEC, methods=("v", "full", "icl"), lrs=(1e-2,))

    def again(snapshots: bool) -> Compared:
        observer = Observer()
        there = ComparisonFolder(tmp_path / "c")
        return compare(small, plan(small, observer), there, observer, run_sweep, snapshots=snapshots)

    finals = ComparisonFolder(tmp_path / "c").finals
    first = again(snapshots=True)
    tables = (tmp_path / "c" / "methods.csv").read_bytes()
    runs = list(read_table(finals.path)["run"])
    assert all(finals.snapshot(run).is_file() for run in runs) and again(snapshots=True).trained == 0
    finals.snapshot(runs[0]).unlink()
    assert again(snapshots=False).trained == 0 and again(snapshots=True).trained == 1
    cut = finals.predictions(runs[1])
    cut.write_bytes(cut.read_bytes()[:-20])
    assert again(snapshots=False).trained == 1, "a cut file would end the comparison"
    assert all(finals.snapshot(run).is_file() for run in runs) and again(snapshots=True).trained == 0
    assert first.found is not None
    columns = read_comparison(tmp_path / "c").rows[["label", "value", "low", "high"]]
    pd.testing.assert_frame_equal(columns, first.found.rows[["label", "value", "low", "high"]])
    assert tables.splitlines()[0] == (tmp_path / "c" / "methods.csv").read_bytes().splitlines()[0]


def test_it_goes_on_after_a_stop(tmp_path: Path) -> None:
    class Stops(Observer):
        """Stops as soon as the first pass is done."""

        passes = 0

        def message(self, text: str) -> None:
            self.passes += "fine-tune" in text

        def should_stop(self) -> bool:
            return self.passes > 1

    small = dataclasses.replace(SPEC, methods=("v", "full"), lrs=(1e-2,))
    first = work(tmp_path / "c", small, Stops())
    assert first.stopped and first.found is None and not (tmp_path / "c" / "methods.parquet").exists()
    second = work(tmp_path / "c", small)
    assert not second.stopped and second.found is not None
    whole = len(read_table(tmp_path / "c" / "trials")) + len(read_table(tmp_path / "c" / "finals"))
    assert 0 < first.trained < whole and first.trained + second.trained == whole


def test_what_trains_nothing_has_no_trials(tmp_path: Path) -> None:
    swept = []

    def sweep(spec: SweepSpec, folder: SweepFolder, *_: Any, **__: Any) -> SweepResult:
        swept.append(folder.path.name)
        folder.begin(spec)
        return SweepResult(1, 0, 0, 0, 0.0, False)

    spec = ComparisonSpec(task="prompt-sst2", methods=("zero-shot", "icl"))
    planned = Plan(tuple(spec.entries()), {}, 1000, 200, 800, 100, 1000, 1e-2, 0.0)
    found = compare(spec, planned, ComparisonFolder(tmp_path / "c"), Observer(), sweep)
    assert swept == ["finals"] and found.trials is None and found.choices == {} and found.trained == 0
    assert found.found is not None and set(found.found.rows["state"]) == {"failed"}


def test_a_method_that_is_refused_in_training_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from beft_core.sweeps import runner as sweeps
    from beft_core.training import workflow

    train = workflow.train_bank

    def refuses(configs: Any, *rest: Any, **named: Any) -> Any:
        if configs[0].mode == "full":
            raise UserError("got a model that takes no such thing")
        return train(configs, *rest, **named)

    monkeypatch.setattr(sweeps.workflow, "train_bank", refuses)
    small = dataclasses.replace(SPEC, methods=("v", "full"), lrs=(1e-2,))
    found = work(tmp_path / "c", small).found
    assert found is not None
    states = dict(zip(found.rows["method"], found.rows["state"], strict=True))
    assert states == {"v": "done", "full": "refused"}
    assert found.rows["reason"][found.rows["method"] == "full"].iloc[0] == "got a model that takes no such thing"


def test_several_workers_make_the_same_comparison(done: tuple[Path, Compared], tmp_path: Path) -> None:
    observer, folder = Observer(), ComparisonFolder(tmp_path / "c")
    found = compare(SPEC, plan(SPEC, observer), folder, observer, partial(sweep_here, workers=2), snapshots=False)
    assert found.trained == done[1].trained and len(list(folder.finals.workers.glob("*.json"))) == 2
    alone, together = read_comparison(done[0]), read_comparison(folder.path)
    measured = ["seconds", "peak_bytes", "bank_runs"]  # banks are smaller, so that each has one
    pd.testing.assert_frame_equal(alone.rows.drop(columns=measured), together.rows.drop(columns=measured), rtol=1e-5)
    pd.testing.assert_frame_equal(alone.pairs, together.pairs, rtol=1e-5)
    assert len(list((folder.finals.path / "predictions").glob("*.parquet"))) == len(read_table(folder.finals.path))
