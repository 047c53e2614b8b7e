"""Lengths of prompts before a fine-tune: how many are too long for the tokens that they may have, and lose some."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from beft_core.models.biases import LoadedModel
from beft_core.tasks.examples import Examples, TaskData

MAX_COUNTED = 2000
"""Most prompts of a set that are tokenised to be counted: a second or two."""


@dataclass(frozen=True)
class PromptLengths:
    """Lengths of the prompts of a run in tokens, each with its longest candidate or the room for its answer."""

    counted: int
    """Number of prompts that were counted: at most :data:`MAX_COUNTED` to train on and of each validation set."""
    total: int
    """Number of all prompts."""
    cut: int
    """Number of the counted ones that lose tokens at the left."""
    longest: int
    """Tokens of the longest of the counted ones."""
    most: int
    """Most tokens that a prompt may have, by the configuration and by the model."""


def prompt_lengths(model: LoadedModel, data: TaskData, train: Examples, max_length: int) -> PromptLengths | None:
    """Count the tokens of the prompts that a run trains on and is scored on; None for a task without prompts.

    ``train``: the examples that the run draws; ``max_length``: the most tokens that its configuration allows.
    """
    prompt = data.spec.prompt
    if prompt is None:
        return None
    positions = getattr(model.config, "max_position_embeddings", None)
    most = min(max_length, positions) if type(positions) is int else max_length
    writes = prompt.max_new_tokens if prompt.answered_by == "generation" else 0
    counted = [needed_tokens(model.tokenizer, train.take(_some(train)))]
    counted += [needed_tokens(model.tokenizer, part.take(_some(part)), writes) for part in data.evals.values()]
    lengths = np.concatenate(counted)
    total = len(train) + sum(map(len, data.evals.values()))
    return PromptLengths(len(lengths), total, int((lengths > most).sum()), int(lengths.max(initial=0)), most)


def needed_tokens(tokenizer: Any, examples: Examples, writes: int = 0) -> np.ndarray:
    """Count the tokens of each prompt with its longest candidate, int64 [examples].

    ``writes``: room for an answer that a model writes, in tokens, instead of candidates; 0: there are candidates.
    """
    assert examples.candidates is not None, "examples without candidates are no prompts"
    if writes:
        return _lengths(tokenizer, examples.text) + writes
    wholes = [prompt + one for prompt, some in zip(examples.text, examples.candidates, strict=True) for one in some]
    lengths = _lengths(tokenizer, wholes)
    ends = np.cumsum([len(some) for some in examples.candidates], dtype=np.int64)
    longest = [part.max(initial=0) for part in np.split(lengths, ends[:-1])] if len(ends) else []
    return np.array(longest, np.int64)


def _lengths(tokenizer: Any, texts: Iterable[str]) -> np.ndarray:
    texts = list(texts)
    return np.array([len(ids) for ids in tokenizer(texts)["input_ids"]] if texts else [], np.int64)


def _some(examples: Examples) -> np.ndarray:
    """Take up to :data:`MAX_COUNTED` examples, spread evenly."""
    if len(examples) <= MAX_COUNTED:
        return np.arange(len(examples))
    return np.linspace(0, len(examples) - 1, MAX_COUNTED).astype(np.int64)
