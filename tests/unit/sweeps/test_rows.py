"""One fine-tune as a row, and when a probe's selection settled, on planted trajectories."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from example_snapshots import base, example

from beft_core.config import RunConfig
from beft_core.snapshots.snapshot import Snapshot
from beft_core.sweeps.rows import (
    MEMORY_RAN_OUT,
    count_lacking_memory,
    lacked_memory,
    row_of,
    settled,
    without_trajectory,
)
from beft_core.sweeps.table import COLUMNS, read_table, write_table

STEPS = np.array([10, 20, 30, 40, 50])


def probe(leader: list[str]) -> Snapshot:
    """A probe in which, at each checkpoint, one of q, k and v has moved farthest by every measure."""
    pre = base()
    steps = {
        key: np.stack([values * (3.0 if key[1] == term else 1.1) for term in leader]) for key, values in pre.items()
    }
    whole = example(pre=pre, mode="all")
    fisher = {key: np.ones_like(values) for key, values in pre.items()}
    return Snapshot.build(
        whole.meta,
        pre,
        {key: values[-1] for key, values in steps.items()},
        fisher=fisher,
        steps=steps,
        trajectory_step=STEPS[: len(leader)],
    )


@pytest.mark.parametrize(
    ("leader", "share"),
    [
        (["v"] * 5, 0.0),
        (["q", "v", "v", "v", "v"], 20 / 50),
        (["v", "v", "v", "q", "v"], 1.0),
        (["k", "q", "v", "v", "v"], 30 / 50),
        (["v", "q", "q", "q", "q"], 20 / 50),
    ],
)
def test_a_selection_has_settled_after_its_last_change(leader: list[str], share: float) -> None:
    found = settled(probe(leader))
    assert found["projection_ratio"] == pytest.approx(share)
    assert found["fisher"] == 0.0 and "fisher_batch" not in found  # one was measured, before; the other was not


def test_a_model_without_biases_has_a_row_without_scores() -> None:
    """Its head, or every weight, can be trained."""
    trained = example(full=True, mode="head")
    headed = Snapshot.build(trained.meta, {}, {}, extra=trained.extra)
    row = row_of(RunConfig(task="sst2", mode="head", terms=()).resolved(), headed, seconds=2.0, bank_runs=1)
    assert not any("projection_ratio" in name for name in row) and row["trains"] == "head"


def test_only_probes_that_were_followed_have_settled() -> None:
    assert settled(example(mode="all")) == {} and settled(example(full=True, mode="terms")) == {}


def test_a_row_has_known_columns_and_the_best_epoch() -> None:
    config = RunConfig(task="sst2", mode="all", seed=3).resolved()
    history = tuple(
        {"epoch": n, "train_loss": 1 / n, "accuracy": value} for n, value in enumerate((0.5, 0.9, 0.9, 0.7), 1)
    )
    row = row_of(config, example(mode="all", metrics=history), seconds=2.0, bank_runs=7)
    assert set(row) <= set(COLUMNS)
    assert (row["value"], row["best_value"], row["best_epoch"], row["train_loss"]) == (0.7, 0.9, 2, 0.25)
    assert json.loads(row["curve"]) == [0.5, 0.9, 0.9, 0.7] and row["trains"] == "all" and row["seed"] == 3
    json.dumps(row, allow_nan=False)


def test_a_term_that_started_at_zero_settles_nothing() -> None:
    """Its ratio is 1 from the first step on, so it would seem to have been selected all along."""
    whole = probe(["q", "q", "k", "k", "k"])
    tensors = {key: (whole.pre(*key), whole.post(*key), whole.steps(*key)) for key in whole.keys()}  # noqa: SIM118
    tensors["encoder", "v"] = tuple(0 * one + (at > 0) for at, one in enumerate(tensors["encoder", "v"]))  # type: ignore[assignment,union-attr]
    pre, post, steps = ({key: three[at] for key, three in tensors.items()} for at in range(3))
    added = Snapshot.build(whole.meta, pre, post, steps=steps, trajectory_step=STEPS)  # type: ignore[arg-type]
    assert settled(added)["projection_ratio"] == pytest.approx(0.6)


def test_a_failed_run_has_no_metric_and_no_score() -> None:
    row = row_of(RunConfig().resolved(), example(), seconds=1.0, bank_runs=2, failure="not finite at step 3")
    assert row["state"] == "failed" and row["failure"] == "not finite at step 3"
    assert not {"value", "curve", "projection_ratio.v"} & set(row)


def test_metrics_that_are_not_finite_leave_the_best_to_the_others() -> None:
    history = ({"epoch": 1, "mcc": None}, {"epoch": 2, "mcc": 0.1}, {"epoch": 3, "mcc": None})
    row = row_of(RunConfig().resolved(), example(metric="mcc", metrics=history), seconds=1.0, bank_runs=1)
    assert row["value"] is None and (row["best_value"], row["best_epoch"]) == (0.1, 2)


def test_without_its_trajectory_a_snapshot_says_the_same() -> None:
    full = example(full=True)
    small = without_trajectory(full)
    assert small.trajectory_step is None and small.meta == full.meta and small.keys() == full.keys()
    for key in full.keys():  # noqa: SIM118
        assert np.array_equal(small.post(*key), full.post(*key)) and np.array_equal(small.pre(*key), full.pre(*key))
        for variant in ("exact", "batch"):
            assert np.array_equal(small.fisher(*key, variant), full.fisher(*key, variant))  # type: ignore[arg-type]
    assert dict(small.extra).keys() == dict(full.extra).keys()


def test_a_row_records_how_long_the_biases_were_before() -> None:
    pre = base()
    row = row_of(RunConfig(task="sst2", mode="all").resolved(), example(pre=pre, mode="all"), seconds=1, bank_runs=1)
    for (_, term), values in pre.items():
        assert row[f"pre_norm.{term}"] == pytest.approx(np.mean([np.sqrt((layer**2).sum()) for layer in values]))
    assert "pre_norm.o" not in row  # this model has none


def test_csv_gives_back_every_digit(tmp_path: Path) -> None:
    """A learning rate that is read one bit off is another cell of the grid."""
    drawn = 10 ** np.random.default_rng(0).uniform(-9, 3, 500)
    table = pd.DataFrame({"run": "x", "lr": drawn, "value": drawn / 7}).reindex(columns=list(COLUMNS))
    write_table(table, tmp_path)
    again = read_table(tmp_path / "results.csv")
    assert again["lr"].tolist() == drawn.tolist() and again["value"].tolist() == (drawn / 7).tolist()


def test_a_lack_of_memory_is_told_from_other_failures() -> None:
    rows = [
        {"state": "failed", "failure": f"{MEMORY_RAN_OUT} with this run alone; try a smaller batch size"},
        {"state": "failed", "failure": "the loss is not finite"},
        {"state": "failed", "failure": None},
        {"state": "done"},
        {},
    ]
    assert list(map(lacked_memory, rows)) == [True, False, False, False, False]
    assert count_lacking_memory(pd.DataFrame(rows)) == 1
    assert count_lacking_memory(pd.DataFrame(rows[3:4], columns=["state", "failure"])) == 0
