"""A warm-up measures what a fine-tune takes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_models import tiny

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources.demo import load_demo
from beft_core.training import inputs, workflow
from beft_core.training.estimate import measure

SMALL = RunConfig(n_train=32, epochs=3, batch_size=8, device="cpu", max_length=16)


@pytest.fixture
def slow() -> LoadedModel:
    """A tiny model, each of whose passes takes 20 ms: then the time of a run is known."""
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    model.backbone.register_forward_pre_hook(lambda *_: __import__("time").sleep(0.02))
    return model


@pytest.fixture(autouse=True)
def made_up(slow: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """That model and a demo task, whatever a configuration names."""
    spec = get_task("demo-sentiment")
    train, validation = load_demo("demo-sentiment")
    data = TaskData(spec, train, {"validation": validation}, "made up")
    tokens = inputs.load(RunConfig()).tokenizer
    slow.tokenizer = lambda *a, **k: {
        "input_ids": [[i % 5 + 3 for i in row][:9] for row in tokens(*a, **k)["input_ids"]]
    }
    monkeypatch.setattr(inputs, "load", lambda config, base=None, placement=None: slow)
    monkeypatch.setattr(inputs, "load_data", lambda config: data)


def test_a_step_takes_what_it_takes() -> None:
    measured = measure.estimate(SMALL.resolved(), start_seconds=2.0)
    assert (measured.steps, measured.examples, measured.evaluated) == (12, 32, 500)
    assert measured.step_ms >= 20 and measured.parts["train"] == pytest.approx(12 * measured.step_ms / 1000, rel=0.01)
    assert measured.parts["start PyTorch"] == 2.0
    assert measured.seconds == pytest.approx(sum(measured.parts.values()), rel=0.01)
    assert measured.bytes > 50e6 and measured.timed_steps >= 1
    for _ in range(3):  # where something else took the processor for a moment, the next try tells
        probe = measure.estimate(dataclasses.replace(SMALL.probe(), evaluate="last").resolved(), start_seconds=2.0)
        assert probe.parts["measure Fisher information"] > 0 and probe.frozen == ("k",)
        if probe.parts["evaluate"] < measured.parts["evaluate"]:  # once instead of after each of three epochs
            return
    pytest.fail(f"one evaluation takes {probe.parts['evaluate']} s, three {measured.parts['evaluate']} s")


def test_fisher_information_after_the_fine_tune_is_counted_too(slow: LoadedModel) -> None:
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    config = dataclasses.replace(SMALL, mode="terms", terms=("v",), n_train=64).resolved()
    without = measure.estimate(config, start_seconds=2.0)
    slow.backbone.register_forward_pre_hook(count)
    workflow.train(dataclasses.replace(config, evaluate="never"))
    before, passes = passes, 0
    workflow.train(dataclasses.replace(config, evaluate="never", fisher_tuned=True))
    more = passes - before
    assert more >= 2  # at least one pass for each of the two classes
    counted = measure.estimate(dataclasses.replace(config, fisher_tuned=True), start_seconds=2.0)
    assert "Fisher" not in " ".join(without.parts) and "Fisher" not in without.how
    seconds = counted.parts["measure Fisher information of the tuned model"]
    assert 0.02 * more <= seconds  # of all 64 examples: 32 are timed
    assert counted.seconds == pytest.approx(sum(counted.parts.values()), rel=0.01)
    assert "load the model again" in counted.parts and "Fisher information of 32" in counted.how


def test_longest_first_and_draws() -> None:
    examples = Examples(["a", "abc", "ab"], None, torch.arange(3).numpy())
    assert measure._longest(examples, 2).text == ["ab", "abc"]
    assert sorted(measure._draw(examples, 9, 1).text) == ["a", "ab", "abc"]
