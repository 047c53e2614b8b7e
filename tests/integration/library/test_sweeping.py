"""A sweep from a notebook is that of the command line: the same folder, the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beft_core import sweep
from beft_core.errors import UserError
from beft_core.library.sweeping import Sweep
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder

GRID: dict[str, Any] = {
    "tasks": "demo-sentiment",
    "terms": ["v", "head"],
    "n_train": np.int64(24),
    "seeds": [3],
    "num_train_epochs": 1,
    "max_length": 16,
    "n_eval": 24,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep of two fine-tunes."""
    return sweep(out=tmp_path_factory.mktemp("sweep") / "s", **GRID)


def test_the_table_is_that_of_the_folder(done: Sweep) -> None:
    folder = SweepFolder(done.folder)
    spec = folder.spec()
    assert (spec.seeds, spec.terms, spec.n_train, spec.settings["epochs"]) == ((3,), ("v", "head"), (24,), 1)
    assert done.to_pandas().equals(folder.table(spec.runs())) and done.table["state"].tolist() == ["done", "done"]
    assert (done.folder / "results.parquet").is_file()


def test_it_shows_means_draws_and_opens_its_snapshots(done: Sweep) -> None:
    assert repr(done).startswith("2 fine-tunes: validation metric over seeds")
    value = done.table.set_index("trains").loc["v", "value"]
    assert f"{value:.4f}" in repr(done) and "demo-sentiment" in done._repr_html_()
    assert len(done.plot().data) > 0
    run = done.table.set_index("trains").loc["v", "run"]
    assert done.snapshot(run).meta.trained_terms == ("v",)
    with pytest.raises(UserError, match="got the figure 'rate'; expected one of rates; try rates"):
        done.plot("rate")


def test_a_second_call_trains_nothing_again(done: Sweep) -> None:
    times = {path: path.stat().st_mtime_ns for path in (done.folder / "rows").iterdir()}
    again = sweep(SweepFolder(done.folder).spec(), out=done.folder)
    assert again.table.equals(done.table)
    assert times == {path: path.stat().st_mtime_ns for path in (done.folder / "rows").iterdir()}


def test_a_snapshot_that_is_gone_is_made_again_where_it_is_wanted(tmp_path: Path) -> None:
    grid = {**GRID, "terms": ["head"], "out": tmp_path / "s"}
    run = str(sweep(snapshots=False, **grid).table["run"][0])
    assert sweep(**grid).snapshot(run).meta.task == "demo-sentiment"
    SweepFolder(tmp_path / "s").snapshot(run).unlink()
    with pytest.raises(UserError):
        sweep(snapshots=False, **grid).snapshot(run)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tsks": "rte"}, "got the unknown field 'tsks'.*try tasks"),
        ({"terms": "w"}, "got terms w"),
        ({"terms": 5}, "got terms = 5"),
        ({"tables": 5}, "got tables = 5"),
        ({"tables": {"films": {"train_file": "f.csv"}}, "tasks": "films"}, "got a table without text and label"),
        ({"lrs": "fast"}, "got lrs"),
        ({"seeds": 0}, "got seeds = 0"),
        ({"bank_size": 0}, "got bank_size = '0'"),
        ({"spec": "grid.yaml"}, "got a str as the first argument"),
        ({"spec": SweepSpec(), "terms": "v"}, "got a SweepSpec and terms"),
        ({"progress": 1}, "got progress = '1'"),
        ({"terms": "v", "layers": [1, 9]}, "got layer 9; expected 0 to 5"),
        ({"terms": "head", "methods": ["lora"], "layers": [9]}, "got layer 9; expected 0 to 5"),
        ({"out": 5}, "got out = '5'"),
    ],
)
def test_wrong_values_are_told(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        sweep(given.pop("spec", None), **{"out": tmp_path / "s", **given})
