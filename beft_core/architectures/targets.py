"""Modules that a method wraps, by the terms of their biases: ``q`` stands for the projection to queries."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.errors import UserError
from beft_core.terms import NORMS, TERM_KEYS


def target_slots(
    layout: Layout, terms: Sequence[str], layers: Collection[int] | None = None, method: str = "lora"
) -> list[BiasSlot]:
    """List one slot for each module that belongs to ``terms``, in the order of layers; the bias itself may be absent.

    ``layers``: numbers from 0, None for all. A module that several terms share (a fused projection) is listed once.

    Raises:
        UserError: terms without a module of their own here, some but not all terms of one module, or layers that the
            model does not have.
    """
    everything = (*layout.slots, *layout.addable)
    terms_of: dict[str, set[str]] = {}
    for slot in everything:
        terms_of.setdefault(slot.module, set()).add(slot.term)
    if layers is not None and max(layers) >= layout.layers:
        raise UserError(f"got layer {max(layers)}", f"0 to {layout.layers - 1}, the layers of this model")
    found: dict[str, BiasSlot] = {}
    for slot in sorted(everything, key=lambda one: (one.layer, TERM_KEYS.index(one.term))):
        if slot.term not in terms or (layers is not None and slot.layer not in layers):
            continue
        together = terms_of[slot.module]
        if slot.attribute != "bias":
            raise UserError(
                f"got --targets {slot.term} for {layout.model_type}, where that bias is not one of a module",
                _have(layout, terms),
            )
        if not together <= set(terms):
            every = " ".join(term for term in TERM_KEYS if term in together)
            raise UserError(
                f"got --targets {' '.join(terms)} for {layout.model_type}, where {every} are one matrix",
                "all of them, or none, because a method changes a matrix as a whole",
                f"--targets {every}" if method != "peft-beft" else f"--terms {slot.term}, which trains its part alone",
            )
        found.setdefault(slot.module, slot)
    lost = [term for term in terms if not any(slot.term == term for slot in everything)]
    if lost:
        raise UserError(
            f"got --targets {' '.join(terms)} for {layout.model_type}, which has no {lost[0]} to wrap"
            f" ({layout.absent.get(lost[0], 'there is no such module')})",
            _have(layout, terms),
        )
    return list(found.values())


def _have(layout: Layout, terms: Sequence[str]) -> str:
    """Say which terms have a module of the kind that ``terms`` name, LayerNorms or others."""
    norms = set(terms) <= set(NORMS)
    present = {slot.term for slot in (*layout.slots, *layout.addable) if slot.attribute == "bias"}
    found = ", ".join(term for term in TERM_KEYS if term in present and (term in NORMS) == norms)
    return f"some of {found}" if found else "a model with LayerNorms" if norms else "a model with linear projections"
