"""Demo tasks: repeatable, balanced, distinct, and with no content word in both halves."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.tasks.examples import Examples
from beft_core.tasks.load import load_task
from beft_core.tasks.sources import demo_words
from beft_core.tasks.sources.demo import TRAIN_SIZE, VALIDATION_SIZE, load_demo

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
def test_examples_are_distinct_many_and_balanced(name: str) -> None:
    data = load_task(name)
    validation = data.evals["validation"]
    assert (len(data.train), len(validation)) == (TRAIN_SIZE, VALIDATION_SIZE) == (4000, 500)
    assert "generated" in data.source
    for examples in (data.train, validation):
        assert len(set(zip(examples.text, examples.text_pair or examples.text, strict=True))) == len(examples)
        assert not any("_" in text or "{" in text for text in sentences(examples))
        if data.spec.labels is None:
            assert examples.labels.dtype == np.float32
            assert examples.labels.min() == 0 and examples.labels.max() == 5
        else:
            assert np.bincount(examples.labels).tolist() == [len(examples) // 2] * 2
        # Shuffled: any first few hundred examples hold every label in about equal numbers.
        assert abs(examples.labels[:300].mean() - examples.labels.mean()) < 0.35


def test_other_processes_generate_the_same() -> None:
    code = (
        "from beft_core.tasks.sources.demo import load_demo\n"
        f"for name in {DEMOS}:\n"
        "    for half in load_demo(name):\n"
        "        print(repr((half.text, half.text_pair, half.labels.tolist())))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = [repr((half.text, half.text_pair, half.labels.tolist())) for name in DEMOS for half in load_demo(name)]
    assert run.stdout.splitlines() == here


def test_labels_of_similarity_count_the_parts_that_agree() -> None:
    """From the texts alone: pairs with the same concept in every part have 5, with other kinds only 0."""
    concept, kind = {}, {}
    for slot, halves in demo_words.SCENES.items():
        for half in halves:
            for k, group in enumerate(half.split(";")):
                for c, words in enumerate(group.split()):
                    for word in words.split("/"):
                        concept[word.replace("_", " ")] = (slot, half[:9], k, c)
                        kind[word.replace("_", " ")] = (slot, half[:9], k)

    def parts(text: str) -> dict[str, str]:
        found = {}
        for phrase in sorted(concept, key=len, reverse=True):
            if re.search(rf"\b{phrase}\b", text):
                found.setdefault(concept[phrase][0], phrase)
        return found

    weights = {"person": 2.0, "action": 2.0, "place": 1.0}
    train, validation = load_demo("demo-similarity")
    for examples in (train.take(range(200)), validation):
        for a, b, label in zip(examples.text, examples.text_pair, examples.labels, strict=True):
            one, two = parts(a), parts(b)
            assert set(one) == set(two) == set(weights)
            points = sum(
                weight * ((concept[one[s]] == concept[two[s]]) + (kind[one[s]] == kind[two[s]])) / 2
                for s, weight in weights.items()
            )
            assert label == points, (a, b)


def test_labels_of_entailment_follow_from_the_sentences() -> None:
    above = {thing: kind for half in demo_words.KINDS for kind, things in half.items() for thing in things.split()}
    verbs = {verb for half in demo_words.OPPOSITES for pair in half.split() for verb in pair.split("/")}

    def meaning(text: str) -> tuple[str, str, bool]:
        words = text.split()
        # "found" and "kept" stand once in a sentence: as the verb. Things and kinds stand once, too.
        (verb,) = [w for w in words if w in verbs]
        (thing,) = [w for w in words if w in above or w in above.values()]
        return verb, thing, "never" in words

    _, validation = load_demo("demo-entailment")
    for premise, hypothesis, label in zip(validation.text, validation.text_pair, validation.labels, strict=True):
        verb, thing, never = meaning(premise)
        verb2, thing2, never2 = meaning(hypothesis)
        wider = above.get(thing2) == thing if never else above.get(thing) == thing2
        assert (verb == verb2 and never == never2 and wider) == (label == 0), (premise, hypothesis)


def test_unknown_demo() -> None:
    with pytest.raises(UserError, match="one of demo-sentiment"):
        load_demo("demo-poetry")


def test_what_somebody_does_to_the_examples_reaches_nobody_else() -> None:
    first, _ = load_demo("demo-similarity")
    text, pair, labels = list(first.text), list(first.text_pair or []), first.labels.copy()
    first.text.reverse()
    assert first.text_pair is not None
    first.text_pair.clear()
    first.labels[:] = -1
    again, _ = load_demo("demo-similarity")
    assert again.text == text and again.text_pair == pair
    assert (again.labels == labels).all()
