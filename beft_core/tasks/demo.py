"""Demo tasks that the project generates itself, so that everything can be tried without any data.

A task is a grammar: templates, whose slots are filled from word lists. Every list has two halves, one for
training and one for validation, so that the two share only function words: what a model learns from one half
can reach the other half through the meaning of the words alone. Generation is deterministic.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np

from beft_core.errors import UserError
from beft_core.tasks import demo_words
from beft_core.tasks.data import Examples

TRAIN_SIZE = 4000
VALIDATION_SIZE = 500
_SLOT = re.compile(r"\{(\w+?)\d?\}")
_ARTICLE = re.compile(r"\ba(?= [aeiou])")

Row = tuple[str, str | None, float]
"""Text, second text, label."""


class _Half:
    """Draws words from one half (0 training, 1 validation) of the word lists."""

    def __init__(self, half: int, rng: random.Random) -> None:
        self.half = half
        self.rng = rng

    def pick(self, slot: str, avoid: frozenset[str] = frozenset()) -> str:
        words = [word for word in demo_words.WORDS[slot][self.half].split() if word not in avoid]
        return self.rng.choice(words).replace("_", " ")

    def fill(self, template: str) -> str:
        """Fill the slots; two slots of one kind (``{aspect1}``, ``{aspect2}``) get different words."""
        used: set[str] = set()

        def word(match: re.Match[str]) -> str:
            chosen = self.pick(match[1], frozenset(used))
            used.add(chosen.replace(" ", "_"))
            return chosen

        return _ARTICLE.sub("an", _SLOT.sub(word, template))


def _sentiment(half: _Half, label: int) -> Row:
    """A template states a good opinion; swapping its good and bad words states a bad one."""
    rng = half.rng
    kind = rng.choices(list(demo_words.OPINIONS), weights=[w for w, _ in demo_words.OPINIONS.values()])[0]
    opinion = rng.choice(demo_words.OPINIONS[kind][1])
    if label == 0:
        swap = {"good": "bad", "bad": "good", "love": "hate", "hate": "love"}
        opinion = re.sub(r"\{(good|bad|love|hate)", lambda match: "{" + swap[match[1]], opinion)
    parts = [opinion]
    if rng.random() < 0.6:
        parts.insert(rng.randrange(2), rng.choice(demo_words.PLOTS))
    return half.fill(" ".join(parts)), None, label


_TASKS: dict[str, Callable[[_Half, int], Row]] = {"demo-sentiment": _sentiment}


def load_demo(name: str) -> tuple[Examples, Examples]:
    """Training pool and validation set of a demo task: distinct examples, classes in equal numbers.

    Raises UserError for other names.
    """
    if name not in _TASKS:
        raise UserError(f"got the demo task {name!r}", f"one of {', '.join(_TASKS)}")
    return _generate(name, 0, TRAIN_SIZE), _generate(name, 1, VALIDATION_SIZE)


def _generate(name: str, half: int, n: int) -> Examples:
    # A string seeds through SHA-512, whatever the hash seed of the process.
    rng = random.Random(f"{name} {half}")
    words = _Half(half, rng)
    rows: dict[tuple[str, str | None], float] = {}
    while len(rows) < n:
        text, pair, label = _TASKS[name](words, len(rows) % 2)
        rows.setdefault((text, pair), label)
    order = list(rows)
    rng.shuffle(order)
    pairs = [pair for _, pair in order if pair is not None]
    labels = [rows[key] for key in order]
    kind = np.float32 if name == "demo-similarity" else np.int64
    return Examples([text for text, _ in order], pairs or None, np.array(labels, dtype=kind))
