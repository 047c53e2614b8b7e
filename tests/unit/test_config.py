"""Run configurations: presets fill what was left open, JSON goes both ways, mistakes are told in one line."""

from __future__ import annotations

from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.training.config import ALL_BIAS_SHARE, BOUNDS, FULL_LR, RunConfig


def test_the_paper_preset_is_the_authors_table() -> None:
    run = RunConfig(task="rte", regime="medium", preset="paper").resolved()
    assert (run.lr, run.epochs, run.n_train, run.schedule, run.batch_size) == (1e-3, 30, 900, "constant", 16)
    assert RunConfig(task="rte", mode="full", preset="paper").resolved().lr == FULL_LR
    assert RunConfig(task="sst2", preset="paper").resolved().n_train is None


def test_the_quick_preset_takes_the_low_regime_unless_told() -> None:
    assert RunConfig(task="sst2").resolved().n_train == 1000
    assert RunConfig(task="sst2").resolved().regime == "low"
    assert RunConfig(task="sst2", regime="all").resolved().n_train is None
    assert RunConfig(task="sst2", n_train=50).resolved().n_train == 50
    one, every = RunConfig(task="sst2").resolved(), RunConfig(task="sst2", mode="all").resolved()
    assert one.lr is not None and every.lr == pytest.approx(ALL_BIAS_SHARE * one.lr)


def test_what_is_given_wins_over_the_preset_and_resolving_twice_changes_nothing() -> None:
    run = RunConfig(task="cola", lr=3e-4, epochs=2, schedule="constant", n_train=9).resolved()
    assert (run.lr, run.epochs, run.schedule, run.n_train) == (3e-4, 2, "constant", 9)
    assert run.resolved() == run


def test_json_round_trip() -> None:
    run = RunConfig(terms=("v", "q"), layers=(1, 2), add_bias=("o",), lr=1)
    assert RunConfig.from_dict(run.to_dict()) == run


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "epochs"),
        ({"epochs": "3"}, "epochs"),
        ({"lr": True}, "lr"),
        ({"terms": ["v", 1]}, "terms"),
        ({"terms": ["w"]}, "--terms w"),
        ({"terms": ["v", "v"]}, "each term once"),
        ({"mode": "terms", "terms": []}, "no bias terms"),
        ({"lr": -1.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"n_train": 1}, "--n-train"),
        ({"batch_size": 0}, "--batch-size"),
        *(
            ({name: most + 1}, rf"--{name.replace('_', '-')} {most + 1}; expected at most")
            for name, (_, most) in BOUNDS.items()
        ),
        ({"seed": 2**64 - 1}, "at most"),  # trained to the end once, and then no snapshot could record it
        ({"seed": 10**20}, "at most"),
        ({"lr": 10**400}, "--lr"),
        ({"weight_decay": float("nan")}, "--weight-decay"),
        ({"clip": float("inf")}, "--clip"),
        ({"layers": [10**9]}, "--layers"),
        ({"layers": [-1]}, "--layers"),
        ({"pad": "long"}, "longest"),
        ({"train_file": "a.csv"}, "--text"),
        ({"eval_file": "a.csv"}, "--train-file"),
    ],
)
def test_mistakes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig.from_dict(values)


def test_a_regime_that_the_paper_does_not_have() -> None:
    with pytest.raises(UserError, match="one of: low"):
        RunConfig(task="cb", regime="high").resolved()
    with pytest.raises(UserError, match="--n-train"):
        RunConfig(train_file="a.csv", text="t", label="l", regime="low").resolved()
