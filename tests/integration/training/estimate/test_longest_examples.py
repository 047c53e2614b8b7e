"""Lengths of prompts, counted as a fine-tune tokenises them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from prompt_tools import VARIED, Prompts, prompted
from training_tools import CLASSIFICATION

from beft_core.config import RunConfig
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.training.batches.prompted import encode_prompts
from beft_core.training.estimate import longest_examples
from beft_core.training.estimate.longest_examples import LongestExamples

LONG = prompted([(" yes", " no and no")] * 40, [0] * 40, longest=30)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tasks of prompts in memory; the names of those that were read."""
    found: list[str] = []

    def data(config: RunConfig) -> TaskData:
        found.append(config.task)
        objective = "generation" if config.task == "prompt-copa" else "candidates"
        spec = dataclasses.replace(
            CLASSIFICATION, objective=objective, prompt=PromptSpec("{text}", candidates=("a", "b"))
        )
        return TaskData(spec, VARIED if config.task == "prompt-cb" else LONG, {}, "made up")

    class Source:
        layout: Any = type("layout", (), {"model_type": "llama"})

    monkeypatch.setattr(longest_examples, "read_data", data)
    monkeypatch.setattr(longest_examples, "load_tokenizer", lambda name, local_only: Prompts())
    monkeypatch.setattr(longest_examples, "locate", lambda name, local_only: Source)
    return found


def config(task: str, **more: Any) -> RunConfig:
    return RunConfig(task=task, **more).resolved()


def test_the_longest_example_counts_with_its_candidates(read: list[str]) -> None:
    counter = LongestExamples()
    longest = int(encode_prompts(Prompts(), LONG, 2048).lengths.max())
    assert counter.longest(config("prompt-sst2", n_train=40)) == longest < 64
    assert counter.longest(config("prompt-sst2", n_train=40, max_length=20)) == 19  # the last token predicts nothing
    assert counter.longest(config("prompt-copa", n_train=40)) == longest - 2  # the right answers alone: " yes"
    assert counter.longest(config("prompt-cb", n_train=5)) == encode_prompts(Prompts(), VARIED, 64).lengths.max()


def test_of_many_examples_those_of_most_characters_are_tokenised(
    read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def encode(tokenizer: Any, examples: Examples, *args: Any, **how: Any) -> Any:
        counted.append(len(examples))
        return encode_prompts(tokenizer, examples, *args, **how)

    monkeypatch.setattr(longest_examples, "encode_prompts", encode)
    every = LongestExamples().longest(config("prompt-sst2", n_train=40))
    monkeypatch.setattr(longest_examples, "TOKENISED", 12)
    assert LongestExamples().longest(config("prompt-sst2", n_train=40)) == every and counted == [40, 12]


def test_what_runs_share_is_read_once(read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizers: list[str] = []

    def load(name: str, local_only: bool) -> Prompts:
        tokenizers.append(name)
        return Prompts()

    monkeypatch.setattr(longest_examples, "load_tokenizer", load)
    counter = LongestExamples()
    found = {counter.longest(config("prompt-sst2", n_train=3, seed=seed)) for seed in (0, 1, 2) for _ in range(3)}
    assert len(found) > 1  # each seed draws its own three
    assert read == ["prompt-sst2"] and tokenizers == ["bundled"]
    counter.longest(config("prompt-cb", n_train=5))
    assert read == ["prompt-sst2", "prompt-cb"] and tokenizers == ["bundled"]


def test_what_was_counted_is_known(read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    counter = LongestExamples()
    found = counter.longest(config("prompt-sst2", n_train=3))
    monkeypatch.setattr(longest_examples, "encode_prompts", lambda *_, **how: pytest.fail("it was counted before"))
    assert counter.longest(config("prompt-sst2", n_train=3, lr=1e-4, terms=("q",))) == found


def test_texts_for_a_head_are_not_read(read: list[str]) -> None:
    assert LongestExamples().longest(config("sst2", n_train=4)) == 128 and not read
