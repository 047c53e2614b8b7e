"""Counts without PyTorch agree with what a fine-tune reports."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from beft_core.adapter_methods import ADAPTERS
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.training import workflow
from beft_core.training.estimate.count import (
    count_examples,
    count_parameters,
    count_steps,
    judge_estimate,
    steps_between_checkpoints,
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"terms": ("q", "k")},
        {"terms": ("q", "k"), "train_null": True},
        {"terms": ("mlp_in",), "layers": (0, 5)},
        {"mode": "all"},
        {"mode": "head"},
        {"mode": "random"},
        {"mode": "full"},
        {"mode": "fish-biases"},
        *({"mode": name} for name in ADAPTERS),
        {"mode": "dora", "rank": 3, "targets": ("k", "mlp_in"), "layers": (1, 2)},
    ],
    ids=str,
)
def test_counts_without_pytorch_are_those_of_the_fine_tune(change: dict[str, Any]) -> None:
    config = RunConfig(n_train=4, epochs=1, batch_size=4, device="cpu", max_length=8, evaluate="never", **change)
    meta = workflow.train(config).meta
    counted = count_parameters(config)
    assert (counted.trainable, counted.total) == (meta.trained_parameters, meta.total_parameters)


@pytest.mark.parametrize(("task", "regime", "count"), [("demo-sentiment", "all", 4000), ("sst2", "medium", 5000)])
def test_examples_and_steps(task: str, regime: str, count: int) -> None:
    config = RunConfig(task=task, regime=regime, epochs=2, batch_size=64).resolved()
    assert count_examples(config) == count
    assert count_steps(config, count) == 2 * -(-count // 64)


def test_about_thirty_checkpoints() -> None:
    for steps in (1, 29, 30, 114, 12_000):
        kept = steps // steps_between_checkpoints(steps)
        assert min(steps, 20) <= kept <= 45


@pytest.mark.parametrize(
    ("estimated", "took", "words"),
    [(41, 38, "right within a tenth"), (60, 40, "50% too long"), (20, 40, "50% too short"), (1, 0, "")],
)
def test_quality_in_words(estimated: float, took: float, words: str) -> None:
    assert judge_estimate(estimated, took) == words


def test_the_answer_is_json_and_wrong_input_is_told_before_pytorch_starts() -> None:
    code = """
        import sys
        from beft_core.errors import UserError
        from beft_core.training.estimate import count
        for wrong in ({"model": "/nowhere"}, {"n_train": 1}, {"epoch": 3}, {"task": "sst9"}):
            try:
                count.answer(wrong)
            except UserError:
                assert "torch" not in sys.modules
            else:
                raise AssertionError(wrong)
    """
    subprocess.run([sys.executable, "-c", __import__("textwrap").dedent(code)], check=True, timeout=60)


def test_layers_that_the_model_does_not_have() -> None:
    with pytest.raises(UserError, match="0 to 5"):
        count_parameters(RunConfig(layers=(6,)))
