"""Lengths of the prompts that fine-tunes train on, counted before a model is loaded.

``--max-length`` bounds prompts, and few come near it: 2,048 tokens, where those of SST-2 have up to 70. How much memory
a batch takes depends on what they have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from beft_core.config import RunConfig
from beft_core.models.load import load_tokenizer
from beft_core.models.source import locate
from beft_core.tasks.examples import TaskData
from beft_core.training import inputs
from beft_core.training.batches.prompted import encode_prompts
from beft_core.training.objectives.prompted import Prompted
from beft_core.training.objectives.registry import objective_of
from beft_core.training.preconditions import answers_prompts, read_data

TOKENISED = 500
"""Most examples of a run that are tokenised: of more, those with the most characters."""


class LongestExamples:
    """Counter of the longest training example of runs. What runs share is counted once; data are read once for runs of
    a task that follow one another, tokenizers once for each model.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], int] = {}
        self._tokenizers: dict[str, Any] = {}
        self._task: tuple[object, ...] = ()
        self._data: TaskData | None = None
        """Data of the last task, :attr:`_task`."""

    def longest(self, config: RunConfig) -> int:
        """Count the tokens of the longest example that a resolved run trains on, its candidates included.

        Of a task without prompts, whose texts are not looked at, it is ``max_length``: they are cut there.

        Raises:
            UserError: no such task or model, or prompts that cannot be trained on.
        """
        if not answers_prompts(config):
            return config.max_length
        task = config.task, config.table, config.data_dir, config.inputs
        key = *task, config.model, config.max_length, *inputs.drawn(config)
        if key not in self._known:
            if self._data is None or task != self._task:
                self._data = None  # before the next is read
                self._task, self._data = task, read_data(config)
            if config.model not in self._tokenizers:
                self._tokenizers[config.model] = load_tokenizer(config.model, local_only=True)
            self._known[key] = _longest(config, self._data, self._tokenizers[config.model])
        return self._known[key]


def _longest(config: RunConfig, data: TaskData, tokenizer: Any) -> int:
    objective = objective_of(data.spec)
    assert isinstance(objective, Prompted), "a task with a prompt has an objective for prompts"
    examples = inputs.sample(config, data.train)
    assert examples.candidates is not None, "examples of prompts have candidates"
    characters = [len(text) + sum(map(len, own)) for text, own in zip(examples.text, examples.candidates, strict=True)]
    encoded = encode_prompts(
        tokenizer,
        examples.take(np.argsort(characters, kind="stable")[-TOKENISED:]),
        config.max_length,
        model_type=locate(config.model, local_only=True).layout.model_type,
        gold_only=objective.trains_on_gold_alone,
    )
    return int(encoded.lengths.max(initial=1))
