"""Word lists of the demo tasks: no word serves both halves."""

from __future__ import annotations

import re

import pytest

from beft_core.tasks.examples import Examples
from beft_core.tasks.sources.demo import load_demo
from beft_core.tasks.sources.demo_words import WORDS

DEMOS = ("demo-sentiment", "demo-similarity", "demo-entailment", "demo-acceptability")


# Words of templates and of grammar: they say nothing about a label by themselves.
FUNCTION_WORDS = set(
    re.findall(
        r"\w+",
        "a about after an although and at before but by can during follows for from i in is it little meets must "
        "my near never not nothing of on set the there they this two was we what who will with to",
    )
)


def sentences(examples: Examples) -> list[str]:
    return examples.text + (examples.text_pair or [])


@pytest.mark.parametrize("name", DEMOS)
def test_the_halves_share_only_function_words(name: str) -> None:
    train, validation = load_demo(name)
    words = [set(re.findall(r"[a-z]+", " ".join(sentences(half)))) for half in (train, validation)]
    assert words[0] & words[1] <= FUNCTION_WORDS
    assert min(len(half - FUNCTION_WORDS) for half in words) >= 20


def test_every_slot_has_two_lists_without_a_common_word() -> None:
    for slot, lists in WORDS.items():
        train, validation = (words.split() for words in lists)
        assert min(len(train), len(validation)) >= 5, slot
        assert len(set(train)) == len(train) and len(set(validation)) == len(validation), slot
        assert not set(train) & set(validation), slot


def test_words_of_opposite_opinion_are_in_one_list_only() -> None:
    for one, other in (("good", "bad"), ("love", "hate")):
        both = (set(" ".join(WORDS[slot]).split()) for slot in (one, other))
        assert not set.intersection(*both)
