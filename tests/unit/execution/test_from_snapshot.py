"""The configuration of a snapshot's fine-tune, and which snapshots are of one fine-tune but for one setting."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.execution.from_snapshot import config_of_snapshot, is_again
from beft_core.snapshots.snapshot import SUFFIX, read_snapshot

PROBE = Path(__file__).parents[3] / "sample_snapshots" / f"sst2-low-seed0-probe{SUFFIX}"


def test_a_shipped_probe() -> None:
    config = config_of_snapshot(read_snapshot(PROBE))
    assert (config.task, config.n_train, config.seed, config.lr, config.epochs) == ("sst2", 1000, 0, 2e-3, 8)
    assert (config.model, config.schedule, config.rewrite_scale, config.adam_epsilon) == (
        "bundled",
        "linear",
        None,
        1e-8,
    )


def test_what_cannot_be_done_again() -> None:
    with pytest.raises(UserError, match="beft tasks"):
        config_of_snapshot(example(task="my reviews"))
    with pytest.raises(UserError, match="--batch-size"):
        config_of_snapshot(example(task="sst2", hyperparameters={"batch_size": 10**9}))


def test_one_fine_tune_but_for_a_setting() -> None:
    one = example(hyperparameters={"lr": 1e-3}).meta
    scaled = dataclasses.replace(one, hyperparameters={"lr": 1e-3, "rewrite_scale": 10.0})
    assert is_again(one, scaled, "rewrite_scale") and not is_again(
        one, dataclasses.replace(one, seed=4), "rewrite_scale"
    )
    assert not is_again(one, dataclasses.replace(one, hyperparameters={"lr": 2e-3}), "rewrite_scale")


def test_the_same_layers_are_trained_again() -> None:
    assert config_of_snapshot(example(task="sst2", layers=(0, 2))).layers == (0, 2)
    assert config_of_snapshot(example(task="sst2")).layers is None


@pytest.mark.parametrize(
    "other",
    [
        {"layers": (0,)},
        *(
            {"hyperparameters": {"lr": 1e-3, **setting}}
            for setting in (
                {"max_length": 16},
                {"dropout": False},
                {"hold_out": 9},
                {"clip": 0.0},
                {"weight_decay": 0.1},
                {"stopped_early": True},
            )
        ),
    ],
)
def test_another_fine_tune_is_not_shown_as_the_same_one_on_the_rewritten_model(other: dict[str, Any]) -> None:
    one = example(hyperparameters={"lr": 1e-3, "max_length": 128, "dropout": True, "pad": "packed", "clip": 1.0}).meta
    same = dataclasses.replace(one, hyperparameters={"lr": 1e-3, "rewrite_scale": 10.0, "pad": "auto"})
    assert is_again(one, same, "rewrite_scale")
    assert not is_again(one, dataclasses.replace(same, **other), "rewrite_scale")
