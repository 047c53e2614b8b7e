"""In-context learning: examples with their answers before a prompt.

As in MeZO (https://github.com/princeton-nlp/MeZO), which the authors use: demonstrations are drawn afresh for every
example, whose seed is one of ``RandomState(seed).randint(0, 10000)``; they are the first of that seed's permutation of
all training examples. They are joined by a blank line, each with its right answer and no white space around it.

Not the same: the seeds belong to the evaluation examples in the order in which they are given, and which of those are
taken is the lab's own draw, where theirs is a permutation with seed 0; so a single example may see other demonstrations
than theirs does, drawn from the same distribution.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from beft_core.errors import UserError
from beft_core.tasks.examples import Examples, TaskData

SEPARATOR = "\n\n"
"""Text between demonstrations, and before the prompt."""
MAX_DEMONSTRATIONS = 1000
"""Most demonstrations of a prompt."""
_SEEDS = 10_000
"""Number of seeds that an example's is drawn from."""


def demonstrations(train: Examples, evals: Examples, k: int, seed: int = 0) -> Examples:
    """Put ``k`` examples of ``train`` with their answers before each prompt of ``evals``.

    ``train``: all training examples, not a sample; ``seed``: the authors' is 0. Example i of ``evals`` gets the same
    demonstrations in every run, and the first k of those that a larger k gives it.

    Raises UserError for more demonstrations than there are training examples, and for texts that are no prompts.
    """
    if train.candidates is None or evals.candidates is None:
        raise UserError(f"got {k} demonstrations for a task without prompts", "a prompted task", "--task prompt-sst2")
    most = min(len(train), MAX_DEMONSTRATIONS)
    if not 0 <= k <= most:
        raise UserError(f"got {k} demonstrations", f"0 to {most:,}, the training examples that there are")
    if not 0 <= seed < 2**32:
        raise UserError(f"got the seed {seed} for demonstrations", "0 to 2**32 - 1")
    if k == 0:
        return evals
    seeds = np.random.RandomState(seed).randint(0, _SEEDS, len(evals))
    texts = []
    for prompt, own in zip(evals.text, seeds, strict=True):
        chosen = np.random.RandomState(own).permutation(len(train))[:k]
        texts.append(SEPARATOR.join([*(_answered(train, at) for at in chosen), prompt]))
    return dataclasses.replace(evals, text=texts, asked=evals.text)


def demonstrated(data: TaskData, k: int) -> TaskData:
    """Put ``k`` training examples before every validation prompt of a task; for 0 the task as it is.

    Raises UserError as :func:`demonstrations`.
    """
    if k == 0:
        return data
    evals = {name: demonstrations(data.train, part, k) for name, part in data.evals.items()}
    return dataclasses.replace(data, evals=evals)


def _answered(train: Examples, at: int) -> str:
    """Write a training example with its right answer."""
    assert train.candidates is not None
    right = 0 if train.golds is None else train.golds[at][0]
    return (train.text[at] + train.candidates[at][right]).strip()
