"""Scheme of attention as data for the browser's picture: words, colours, and what each step says."""

from __future__ import annotations

import re
from typing import Any

from beft_core.terms import CANDIDATES, TERMS
from dashboard.figures.parts import style

SENTENCE = "The film was surprisingly good"
MAX_TOKENS, MAX_LETTERS = 6, 8
"""Number of words, and of letters of each, that the picture has room for."""
STEPS: tuple[tuple[str, str], ...] = (
    (
        "asks",
        "“{token}” asks every word what it has. b_q is added to what it asks: change b_q, and it looks elsewhere.",
    ),
    (
        "is answered",
        "Every word answers. b_k is added to every answer alike, and softmax ignores what is the same for all: b_k "
        "changes nothing.",
    ),
    (
        "receives",
        "Each word hands on its value, in the share that its answer earned. b_v is added to what is handed on.",
    ),
    (
        "adds up",
        "The sum joins the residual stream. The shares sum to 1, so b_v arrives whole, whatever “{token}” looks at.",
    ),
)
"""Steps of attention: name, and what the bias does there."""
WHOLE = "Press a step to see it, or a word to let it ask."
"""Sentence below the picture as it rests."""


def scene(sentence: str, dark: bool = False, whole: str = WHOLE) -> dict[str, Any]:
    """Describe the picture to the browser: words, colours and names of the three biases, what each step says.

    A sentence without a word is replaced by :data:`SENTENCE`.
    """
    tokens = split(sentence) or split(SENTENCE)
    return {
        "tokens": tokens,
        "asking": len(tokens) - 1,
        "look": {
            term: {
                "colour": style.TERM_COLOURS[term],
                "ink": style.term_ink(term, dark),
                "name": TERMS[term].label,
                "symbol": TERMS[term].symbol.split("_"),
            }
            for term in CANDIDATES
        },
        "steps": [{"name": name, "words": words} for name, words in STEPS],
        "whole": whole,
        "alt": "Attention between the words " + ", ".join(tokens) + ". " + " ".join(
            f"{at}. {name}: {words.replace('{token}', tokens[-1])}" for at, (name, words) in enumerate(STEPS, 1)
        ),
    }  # fmt: skip


def split(sentence: str) -> list[str]:
    """Split a sentence into its first words and signs, long ones cut. (A model's tokenizer may split them further.)"""
    found = re.findall(r"[\w'’]+|[^\w\s]", "".join(c if c.isprintable() else " " for c in sentence))
    return [word if len(word) <= MAX_LETTERS else word[: MAX_LETTERS - 1] + "…" for word in found[:MAX_TOKENS]]
