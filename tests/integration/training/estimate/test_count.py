"""The preflight: counts without PyTorch agree with what a fine-tune reports; a warm-up measures what it says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from tiny_models import tiny

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.tasks.load import Examples, TaskData
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources.demo import load_demo
from beft_core.training import workflow
from beft_core.training.estimate import count as preflight
from beft_core.training.estimate import measure

SMALL = RunConfig(n_train=32, epochs=3, batch_size=8, device="cpu", max_length=16)


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
    ],
    ids=str,
)
def test_counts_without_pytorch_are_those_of_the_fine_tune(change: dict[str, Any]) -> None:
    config = RunConfig(n_train=4, epochs=1, batch_size=4, device="cpu", max_length=8, evaluate="never", **change)
    meta = workflow.train(config).meta
    counted = preflight.count(config)
    assert (counted.trainable, counted.total) == (meta.trained_parameters, meta.total_parameters)


@pytest.mark.parametrize(("task", "regime", "count"), [("demo-sentiment", "all", 4000), ("sst2", "medium", 5000)])
def test_examples_and_steps(task: str, regime: str, count: int) -> None:
    config = RunConfig(task=task, regime=regime, epochs=2, batch_size=64).resolved()
    assert preflight.examples(config) == count
    assert preflight.steps(config, count) == 2 * -(-count // 64)


def test_about_thirty_checkpoints() -> None:
    for steps in (1, 29, 30, 114, 12_000):
        kept = steps // preflight.trajectory_every(steps)
        assert min(steps, 20) <= kept <= 45


@pytest.mark.parametrize(
    ("estimated", "took", "words"),
    [(41, 38, "right within a tenth"), (60, 40, "50% too long"), (20, 40, "50% too short"), (1, 0, "")],
)
def test_quality_in_words(estimated: float, took: float, words: str) -> None:
    assert preflight.quality(estimated, took) == words


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    """A tiny model, each of whose passes takes 20 ms: then the time of a run is known."""
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    model.backbone.register_forward_pre_hook(lambda *_: __import__("time").sleep(0.02))
    return model


def test_a_step_takes_what_it_takes(slow: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = get_task("demo-sentiment")
    train, validation = load_demo("demo-sentiment")
    data = TaskData(spec, train, {"validation": validation}, "made up")
    tokens = workflow.load(RunConfig()).tokenizer
    slow.tokenizer = lambda *a, **k: {
        "input_ids": [[i % 5 + 3 for i in row][:9] for row in tokens(*a, **k)["input_ids"]]
    }
    monkeypatch.setattr(workflow, "load", lambda config: slow)
    monkeypatch.setattr(workflow, "load_data", lambda config: data)
    measured = measure.measure(SMALL.resolved(), start_seconds=2.0)
    assert (measured.steps, measured.examples, measured.evaluated) == (12, 32, 500)
    assert measured.step_ms >= 20 and measured.parts["train"] == pytest.approx(12 * measured.step_ms / 1000, rel=0.01)
    assert measured.parts["start PyTorch"] == 2.0
    assert measured.seconds == pytest.approx(sum(measured.parts.values()), rel=0.01)
    assert measured.bytes > 50e6 and measured.timed_steps >= 1
    probe = measure.measure(preflight.probe_of(SMALL).resolved(), start_seconds=2.0)
    assert probe.parts["measure Fisher information"] > 0 and probe.frozen == ("k",)
    assert probe.parts["evaluate"] < measured.parts["evaluate"]  # once instead of after each of three epochs


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


def test_longest_first_and_draws() -> None:
    examples = Examples(["a", "abc", "ab"], None, torch.arange(3).numpy())
    assert measure._longest(examples, 2).text == ["ab", "abc"]
    assert sorted(measure._draw(examples, 9, 1).text) == ["a", "ab", "abc"]


def test_layers_that_the_model_does_not_have() -> None:
    with pytest.raises(UserError, match="0 to 5"):
        preflight.count(RunConfig(layers=(6,)))
