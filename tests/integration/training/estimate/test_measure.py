"""A warm-up measures what a fine-tune takes."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources.demo import load_demo
from beft_core.training import inputs
from beft_core.training.estimate import measure

SMALL = RunConfig(n_train=32, epochs=3, batch_size=8, device="cpu", max_length=16)


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
    tokens = inputs.load(RunConfig()).tokenizer
    slow.tokenizer = lambda *a, **k: {
        "input_ids": [[i % 5 + 3 for i in row][:9] for row in tokens(*a, **k)["input_ids"]]
    }
    monkeypatch.setattr(inputs, "load", lambda config: slow)
    monkeypatch.setattr(inputs, "load_data", lambda config: data)
    measured = measure.estimate(SMALL.resolved(), start_seconds=2.0)
    assert (measured.steps, measured.examples, measured.evaluated) == (12, 32, 500)
    assert measured.step_ms >= 20 and measured.parts["train"] == pytest.approx(12 * measured.step_ms / 1000, rel=0.01)
    assert measured.parts["start PyTorch"] == 2.0
    assert measured.seconds == pytest.approx(sum(measured.parts.values()), rel=0.01)
    assert measured.bytes > 50e6 and measured.timed_steps >= 1
    probe = measure.estimate(SMALL.probe().resolved(), start_seconds=2.0)
    assert probe.parts["measure Fisher information"] > 0 and probe.frozen == ("k",)
    assert probe.parts["evaluate"] < measured.parts["evaluate"]  # once instead of after each of three epochs


def test_longest_first_and_draws() -> None:
    examples = Examples(["a", "abc", "ab"], None, torch.arange(3).numpy())
    assert measure._longest(examples, 2).text == ["ab", "abc"]
    assert sorted(measure._draw(examples, 9, 1).text) == ["a", "ab", "abc"]
