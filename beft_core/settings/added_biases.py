"""Zero biases that a model is given where it lacks them: which it has a place for, and which a fine-tune needs."""

from __future__ import annotations

from collections.abc import Iterable

from beft_core.architectures.layout import Layout
from beft_core.errors import NotConverted, UserError
from beft_core.terms import CANDIDATES, TERM_KEYS
from beft_core.training.estimate.count import layout_of


def addable(layout: Layout) -> tuple[str, ...]:
    """List the terms that a model lacks and has a place for, in canonical order."""
    found = {slot.term for slot in layout.addable}
    return tuple(term for term in TERM_KEYS if term in found)


def trainable(layout: Layout | None) -> tuple[str, ...]:
    """List the terms that can be trained: those that a model has, and those that can be added; all of one that is not
    known yet.
    """
    if layout is None:
        return TERM_KEYS
    return tuple(term for term in TERM_KEYS if term in layout.terms or term in addable(layout))


def to_be_added(model: str, wanted: Iterable[str]) -> tuple[str, ...]:
    """Choose, of the terms that somebody wants, those that a model has to be given; none where it is not here.

    Of a file that is not converted yet all: a term that it turns out to have stays as it is.
    """
    try:
        layout = layout_of(model)
    except NotConverted:
        return tuple(wanted)
    except UserError:
        return ()
    return tuple(term for term in wanted if term not in layout.terms)


def usual(model: str) -> list[str]:
    """Choose the terms that a model is given unless somebody says more: of one without b_q, b_k and b_v these three.

    So is a file that is not converted yet: most of those have no biases, and a bias that is there stays as it is.
    """
    try:
        return list(layout_of(model).candidates_to_add())
    except NotConverted:
        return list(CANDIDATES)
    except UserError:
        return []
