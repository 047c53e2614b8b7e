"""Stops of the deck in their order, and which of them an address names. A stop is a page in one state of its own.

At a stop the page shows what it has marked by ``page.stage`` and nothing else, below the title and the sentence of the
stop. No sentence says a result: what a stop shows is read from the samples and the runs that are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

STOP, WHOLE = "stop", "off"
"""Name in the URL of the key of the stop, and its value where the whole page is shown to a room."""


@dataclass(frozen=True)
class Stop:
    """Stop of the deck."""

    key: str
    page: str
    """Key of its page in ``places.PLACES``."""
    title: str
    says: str
    """Sentence that the lecturer says; it stands below the title."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the page; everything else is as the page begins."""
    keeps: tuple[str, ...] = ()
    """Parameters that stay as they are, where the page that one comes from has them."""
    larger: float = 1.0
    """Factor of all type: what has little to show fills its screen too, and what has much still fits."""


STOPS: tuple[Stop, ...] = (
    Stop(
        "guess",
        "start",
        "Which bias would you fine-tune?",
        "Every layer has three small vectors, and all else stays frozen: let the room vote which one gets furthest.",
        larger=1.22,
    ),
    Stop(
        "reveal",
        "start",
        "What each bias reached alone",
        "The same model and the same sentences; all that differs is which vector was trained.",
        {"guess": "seen"},
        ("guess",),
        larger=1.22,
    ),
    Stop(
        "limit",
        "start",
        "The same question on another task",
        "A score that names a bias is worth something only if training agrees with it: here, does it?",
        {"guess": "seen", "next": "1"},
        ("guess",),
        larger=1.22,
    ),
    Stop(
        "pushes",
        "why",
        "Why the key bias cannot help, and the other two can",
        "The same push on each of the three: softmax ignores what is the same for every key.",
        larger=1.1,
    ),
    Stop(
        "geometry",
        "geometry",
        "Three ways to measure one movement",
        "How far did it move, how much did the loss care, how far did it turn and grow? Drag b′ and compare.",
        larger=1.08,
    ),
    Stop(
        "scores",
        "importance",
        "Which bias does each score name?",
        "A score names a bias after one run of all of them; training each alone decides whether it was right.",
    ),
    Stop(
        "dial",
        "dial",
        "Turn a fine-tune up, down and off",
        "At λ = 0 it is off, at λ = 1 as it was trained: move λ and see the metric between and beyond.",
    ),
    Stop(
        "merge",
        "merge",
        "Two tasks in one set of biases",
        "Every point is a mixture of the two changes, and its colour is what it is worth on each task.",
    ),
    Stop(
        "rewrite",
        "rewrite",
        "One model, written down in two ways",
        "Not one output changes from the one to the other. Do the scores stay, and what they name?",
        larger=0.95,
    ),
    Stop(
        "claims",
        "evaluation",
        "What holds of the paper's claims?",
        "Every claim, judged by fine-tunes of our own.",
        larger=1.15,
    ),
)


def stop_at(page: str, key: str | None) -> Stop | None:
    """Find the stop that an address names, if it is one of its page."""
    return next((stop for stop in STOPS if (stop.page, stop.key) == (page, key)), None)


def first_on(page: str) -> Stop:
    """Find the stop where somebody joins the deck from a page: its first one there, or the very first."""
    return next((stop for stop in STOPS if stop.page == page), STOPS[0])


def joined(page: str, here: Iterable[str]) -> Stop | None:
    """Find the stop that presenter mode begins with on a page that is as it opens; None where somebody set it up.

    ``here``: names of the parameters in its address, without those that hold on all pages.
    """
    first = first_on(page)
    return first if first.page == page and not set(here) else None


def query_of(stop: Stop, here: Mapping[str, Iterable[str]]) -> dict[str, str | list[str]]:
    """Write the parameters of the link to a stop; `here` are those of the page that it stands on."""
    kept = {name: list(here[name]) for name in stop.keeps if name in here}
    return {STOP: stop.key, **stop.query, **kept}
