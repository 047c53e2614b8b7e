"""Page of a lesson on two fine-tunes added up: every mixture of their changes is a point, and what it is worth."""

from __future__ import annotations

from beft_core.errors import UserError
from beft_core.merging.config import content
from beft_core.merging.plane import HIGH, LOW, surfaces
from beft_core.merging.result import MergeResult
from beft_core.merging.shipped import read_evaluations
from beft_core.merging.similarity import compare
from beft_core.snapshots.snapshot import Snapshot
from beft_core.terms import TERM_KEYS
from dashboard.app_pages.merge.defaults import default
from dashboard.app_pages.merge.plane_scene import SENTENCE, START, TITLE, answer, examples, scene, share_of
from dashboard.content.samples import samples_folder
from dashboard.lesson.page import Page
from dashboard.lesson.shelf import Shelf


def page(shelf: Shelf) -> Page:
    """Make the page of the first pair of samples, with the plane that came scored with them.

    Raises:
        UserError: the pair or its plane is not there.
    """
    titles = default(shelf.samples)
    pair = [source.read() for title in titles for source in shelf.samples if source.title == title]
    result = _scored(pair)
    terms = [term for term in TERM_KEYS if all(term in one.meta.trained_terms for one in pair)]
    comparison = compare(pair, terms=terms)
    return Page(
        name="merge-plane",
        title=TITLE,
        sentence=SENTENCE,
        teaser=answer(comparison.labels, surfaces(result)),
        words={
            "answer": answer(comparison.labels, surfaces(result)),
            "examples": examples(result),
            "sliders": [
                {"name": name, "label": share_of(letter, label)}
                for name, letter, label in zip(("alpha", "beta"), "αβ", comparison.labels, strict=True)
            ],
            "range": {"low": LOW, "high": HIGH, "start": START},
        },
        data={"scene": scene([START, START], pair, terms, comparison, result)},
        components=("plane",),
    )


def _scored(pair: list[Snapshot]) -> MergeResult:
    """Find the evaluation of a pair that scored the plane."""
    contents = tuple(map(content, pair))
    for one in read_evaluations(samples_folder()):
        if contents and one.config.sources == contents and one.result.plane:
            return one.result
    raise UserError("got samples without two fine-tunes whose plane was scored", "those that come with the lab")
