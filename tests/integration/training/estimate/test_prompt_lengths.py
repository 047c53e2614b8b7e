"""Prompts are counted as they are tokenised: with their longest candidate, or with room for an answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from prompt_tools import VARIED, Prompts, tiny_decoder

from beft_core.config import RunConfig
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.registry import get_task
from beft_core.training import inputs
from beft_core.training.batches.prompted import encode_prompts
from beft_core.training.estimate import measure, prompt_lengths
from beft_core.training.observer import Observer

SST2 = get_task("prompt-sst2")
TOLD = Examples(
    ["short It was", "a b c d e f g h It was", "i j It was"] * 4,
    None,
    np.array([0, 1, 1] * 4),
    [(" bad", " good")] * 12,
)
DATA = TaskData(SST2, TOLD, {"validation": TOLD.take([0, 1, 2])}, "made up")


class Hearing(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


def test_as_many_are_too_long_as_the_tokeniser_shortens() -> None:
    lengths = prompt_lengths.needed_tokens(Prompts(), VARIED)
    for most in range(int(lengths.min()), int(lengths.max()) + 1):
        hearing = Hearing()
        encode_prompts(Prompts(), VARIED, most, hearing)
        cut = int((lengths > most).sum())
        assert hearing.said == [] if not cut else hearing.said[0].startswith(f"{cut} of 5 prompts")


def test_free_text_needs_room_for_the_answer() -> None:
    plain = prompt_lengths.needed_tokens(Prompts(), replace(VARIED, candidates=[("",)] * 5))
    assert (prompt_lengths.needed_tokens(Prompts(), VARIED, 50) == plain + 50).all()


def test_of_many_some_are_counted_and_a_model_bounds_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_decoder("qwen2")  # 64 positions
    found = prompt_lengths.prompt_lengths(model, DATA, TOLD, 2048)
    assert found == prompt_lengths.PromptLengths(counted=15, total=15, cut=0, longest=12, most=64)
    assert prompt_lengths.prompt_lengths(model, DATA, TOLD, 11).cut == 5  # type: ignore[union-attr]
    monkeypatch.setattr(prompt_lengths, "MAX_COUNTED", 2)
    assert prompt_lengths.prompt_lengths(model, DATA, TOLD, 11).counted == 4  # type: ignore[union-attr]
    head = TaskData(get_task("sst2"), TOLD, {}, "made up")
    assert prompt_lengths.prompt_lengths(model, head, TOLD, 11) is None


@pytest.mark.parametrize("mode", ["terms", "none"])
def test_an_estimate_of_a_prompted_run_counts_them(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_decoder("qwen2")
    monkeypatch.setattr(inputs, "load", lambda config, base=None, placement=None: model)
    monkeypatch.setattr(inputs, "load_data", lambda config: DATA)
    config = RunConfig(task="prompt-sst2", mode=mode, n_train=12, epochs=2, batch_size=4, max_length=11, device="cpu")
    measured = measure.estimate(config, start_seconds=1.0)
    assert measured.prompts is not None and measured.prompts.cut == 5 - 4 * (mode == "none")
    assert measured.steps == (6 if mode == "terms" else 0) and measured.evaluated == 3
    assert (measured.trainable > 0) == (mode == "terms")
    assert (measured.parts["train"] > 0) == (mode == "terms") and measured.parts["evaluate"] > 0
