"""Merges of a sweep: which fine-tunes are taken, and what is recorded."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from beft_core.sweeps.merges import merge_pairs
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer


def test_a_merge_takes_the_smallest_size_and_the_rate_that_is_best_over_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {  # (examples, learning rate, seed) -> metric; 1e-3 is best in seed 1 alone
        (100, 1e-3, 0): 0.5,
        (100, 1e-3, 1): 0.8,
        (100, 1e-2, 0): 0.7,
        (100, 1e-2, 1): 0.7,
        (200, 1e-3, 0): 0.9,
        (200, 1e-3, 1): 0.9,
    }
    table = pd.DataFrame(
        {
            "run": f"{task} {size} {lr:g} {seed}",
            "task": task,
            "trains": "v",
            "state": "done",
            "n_train": size,
            "lr": lr,
            "seed": seed,
            "value": value,
        }
        for task in ("sst2", "rte")
        for (size, lr, seed), value in values.items()
    )
    asked: list[str] = []

    def missing(_: SweepFolder, run: str) -> Path:
        asked.append(run)
        return tmp_path / "nothing"

    monkeypatch.setattr(SweepFolder, "snapshot", missing)
    one = SweepSpec(("sst2", "rte"), terms=("v",), seeds=(0, 1), merges=("sst2+rte",))
    assert merge_pairs(one, table, SweepFolder(tmp_path), Observer()) == []
    assert asked == ["sst2 100 0.01 0", "rte 100 0.01 0", "sst2 100 0.01 1", "rte 100 0.01 1"]


def test_of_a_pair_without_a_snapshot_is_told(tmp_path: Path) -> None:
    heard: list[str] = []

    class Heard(Observer):
        def message(self, text: str) -> None:
            heard.append(text)

    table = pd.DataFrame(columns=["run", "task", "trains", "state", "n_train", "lr", "seed", "value"])
    one = SweepSpec(("sst2", "rte"), terms=("v",), seeds=(0, 1), merges=("sst2+rte",))
    assert merge_pairs(one, table, SweepFolder(tmp_path), Heard()) == []
    assert heard == [f"left out the merge of sst2+rte, seed {seed}: a snapshot of b_v is missing" for seed in (0, 1)]
