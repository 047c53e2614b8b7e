"""Demo tasks that the project generates itself, so that everything can be tried without any data.

A task is a grammar: templates, whose slots are filled from word lists. Every list has two halves, one for
training and one for validation, so that the two share only function words: what a model learns from one half
can reach the other half through the meaning of the words alone. Generation is deterministic.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache

import numpy as np

from beft_core.errors import UserError
from beft_core.tasks.examples import Examples
from beft_core.tasks.sources import demo_words

TRAIN_SIZE = 4000
VALIDATION_SIZE = 500
_SLOT = re.compile(r"\{(\w+?)\d?\}")
_ARTICLE = re.compile(r"\ba(?= [aeiou])")

Row = tuple[str, str | None, float]
"""Row of a demo task: (text, second text, label)."""


@cache
def _words(slot: str, half: int) -> tuple[str, ...]:
    return tuple(demo_words.WORDS[slot][half].split())


@cache
def _scenes(slot: str, half: int) -> list[list[list[str]]]:
    """Read the kinds of concepts, each concept in several words."""
    kinds = demo_words.SCENES[slot][half].split(";")
    return [[concept.split("/") for concept in kind.split()] for kind in kinds]


class _Half:
    """Source of words from one half (0 training, 1 validation) of the word lists."""

    def __init__(self, half: int, rng: random.Random) -> None:
        self.half = half
        self.rng = rng

    def pick(self, slot: str, avoid: frozenset[str] = frozenset()) -> str:
        words = [word for word in _words(slot, self.half) if word not in avoid]
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
    """Make a row from a template that states a good opinion; swapping its good and bad words states a bad one."""
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


def _similarity(half: _Half, _: int) -> Row:
    """Make a row of two scenes of three parts; the label adds up how much each part of one says the same as in the
    other.
    """
    rng = half.rng
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    points = 0.0
    for slot, weight in demo_words.SCENE_WEIGHTS.items():
        kind, other_kind = rng.sample(_scenes(slot, half.half), 2)
        concept, related = rng.sample(kind, 2)
        agreement = rng.choice((0.0, 0.5, 1.0))
        other = {0.0: rng.choice(other_kind), 0.5: related, 1.0: concept}[agreement]
        first[slot], second[slot] = rng.choice(concept), rng.choice(other)
        points += weight * agreement
    templates = rng.choices(demo_words.SCENE_TEMPLATES, k=2)
    texts = [
        _ARTICLE.sub("an", template.format(**slots).replace("_", " "))
        for template, slots in zip(templates, (first, second), strict=True)
    ]
    return texts[0], texts[1], points


def _entailment(half: _Half, label: int) -> Row:
    """Make a row by two rules: what holds for a thing holds for its kind; what never happened to the kind never
    happened to it.
    """
    rng = half.rng
    kinds = demo_words.KINDS[half.half]
    kind, other_kind = rng.sample(list(kinds), 2)
    thing = rng.choice(kinds[kind].split())
    done, opposite = rng.choice(demo_words.OPPOSITES[half.half].split()).split("/")
    never = rng.random() < 0.25
    said, concluded = (kind, thing) if never else (thing, kind)
    verb, still_never = done, never
    if label == 1:  # not entailed
        change = rng.choice(("thing", "thing", "verb", "never"))
        if change == "thing":
            concluded = rng.choice(kinds[other_kind].split()) if never else other_kind
        elif change == "verb":
            verb = opposite
        else:
            still_never = not never
    person = half.pick("person")
    place = half.pick("place")

    def clause(thing: str, verb: str, never: bool, passive: bool) -> str:
        adverb = "never " if never else ""
        if passive:
            return f"a {thing} was {adverb}{verb} by the {person}"
        return f"the {person} {adverb}{verb} a {thing}"

    premise = clause(said, done, never, rng.random() < 0.3) + ("" if never else f" in {place}")
    hypothesis = clause(concluded, verb, still_never, rng.random() < 0.3)
    return _ARTICLE.sub("an", f"{premise} ."), _ARTICLE.sub("an", f"{hypothesis} ."), label


def _acceptability(half: _Half, label: int) -> Row:
    """Make a row of a sentence whose verb agrees with its subject across a phrase in between, or one with a mistake."""
    rng = half.rng
    words = {slot: lists[half.half].split() for slot, lists in demo_words.GRAMMAR.items()}
    subject, between, thing = rng.sample(words["noun"], 3)
    verb = rng.choice(words["verb"])
    place = rng.choice(words["place"])
    plural = rng.random() < 0.5
    mistake = "" if label else rng.choice(("agreement", "auxiliary", "order", "article"))
    modal = mistake == "auxiliary" or (mistake != "agreement" and rng.random() < 0.3)
    finite = verb if plural else verb + "s"
    if modal:
        finite = f"{rng.choice(('can', 'must', 'will'))} {verb + 's' if mistake == 'auxiliary' else verb}"
    elif mistake == "agreement":
        finite = verb + "s" if plural else verb
    subject_phrase = f"the {subject}{'s' if plural else ''}"
    object_phrase = f"the {thing}" if mistake != "article" else f"{rng.choice(('a', 'this'))} the {thing}"
    if mistake == "order":
        object_phrase = f"{thing} the"
    aside = rng.choice(("", f" near the {between}", f" with the {between}s", f" from the {place}"))
    rest = rng.choice(("", f" in the {place}"))
    return f"{subject_phrase}{aside} {finite} {object_phrase}{rest} .", None, label


_TASKS: dict[str, Callable[[_Half, int], Row]] = {
    "demo-sentiment": _sentiment,
    "demo-similarity": _similarity,
    "demo-entailment": _entailment,
    "demo-acceptability": _acceptability,
}


def load_demo(name: str) -> tuple[Examples, Examples]:
    """Make the training pool and the validation set of a demo task: distinct examples, classes in equal numbers.

    Raises UserError for other names.
    """
    if name not in _TASKS:
        raise UserError(f"got the demo task {name!r}", f"one of {', '.join(_TASKS)}")
    return _generate(name, 0, TRAIN_SIZE), _generate(name, 1, VALIDATION_SIZE)


def _generate(name: str, half: int, n: int) -> Examples:
    rows = _rows(name, half, n)
    pairs = [pair for _, pair, _ in rows if pair is not None]
    kind = np.float32 if name == "demo-similarity" else np.int64
    return Examples([text for text, _, _ in rows], pairs or None, np.array([label for *_, label in rows], dtype=kind))


@cache
def _rows(name: str, half: int, n: int) -> tuple[Row, ...]:
    """Generate the rows of a task, once in a process; a sweep asks for each of its runs."""
    # A string seeds through SHA-512, whatever the hash seed of the process.
    rng = random.Random(f"{name} {half}")
    words = _Half(half, rng)
    rows: dict[tuple[str, str | None], float] = {}
    while len(rows) < n:
        text, pair, label = _TASKS[name](words, len(rows) % 2)
        rows.setdefault((text, pair), label)
    order = list(rows)
    rng.shuffle(order)
    return tuple((*key, rows[key]) for key in order)
