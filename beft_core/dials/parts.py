"""Parts of a fine-tune that the dial turns: all of it, one layer, one bias term, or one term in one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.errors import UserError
from beft_core.inference.variants import Factors
from beft_core.snapshots.snapshot import Snapshot
from beft_core.terms import TERM_KEYS, TERMS

LAMBDAS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Factors of the change, by default. 0: switched off, 1: as it was trained, beyond 1: more than was learnt."""
MAX_LAMBDAS, FARTHEST = 41, 100.0
"""Most factors of one dial, and the largest absolute value of a factor."""


@dataclass(frozen=True)
class Part:
    """Part of a fine-tune's change. All else stays as it was trained."""

    term: str | None = None
    """Bias term, a key of :data:`beft_core.terms.TERMS`; None: every term."""
    layer: int | None = None
    """Number of the layer, from 0; None: every layer."""

    @property
    def name(self) -> str:
        """Words for the part, unique among those of a snapshot: ``all``, ``layer 3``, ``b_v``, ``b_v, layer 3``."""
        words = [] if self.term is None else [TERMS[self.term].symbol]
        words += [] if self.layer is None else [f"layer {self.layer}"]
        return ", ".join(words) or "all"

    def factors(self, snapshot: Snapshot, factor: float) -> Factors:
        """Write the part turned to ``factor`` as the factors of a variant: term -> [layers]."""
        turned: dict[str, np.ndarray] = {}
        for stack, term in snapshot.keys():  # noqa: SIM118 - a method of Snapshot, not of a dict
            layers = np.arange(len(snapshot.pre(stack, term)))
            here = (self.term in (None, term)) & np.isin(layers, layers if self.layer is None else [self.layer])
            turned[term] = np.where(here, factor, 1.0)
        return turned


ALL = Part()


@dataclass(frozen=True)
class Turned:
    """Parts of one snapshot by what is asked of them."""

    whole: tuple[Part, ...]
    """Parts that are turned through every factor: all, each layer, and of several terms each term."""
    cells: tuple[Part, ...]
    """Parts that are only switched off: each term in each layer, of several terms."""

    @property
    def layers(self) -> tuple[Part, ...]:
        """Layers with all their terms."""
        return tuple(part for part in self.whole if part.layer is not None)

    @property
    def terms(self) -> tuple[Part, ...]:
        """Terms in all layers; none where only one term moved, which is all there is."""
        return tuple(part for part in self.whole if part.term is not None)


def moved(snapshot: Snapshot) -> dict[str, list[int]]:
    """Find what a fine-tune changed: term, in canonical order -> numbers of the layers in which it moved.

    Raises:
        UserError: terms of two stacks, of which a layer's number says too little.
    """
    keys = snapshot.keys()
    if len({stack for stack, _ in keys}) > 1:
        raise UserError("got a snapshot of an encoder and a decoder", "one of a model with one stack of layers")
    found: dict[str, list[int]] = {}
    for stack, term in sorted(keys, key=lambda key: TERM_KEYS.index(key[1])):
        differs = (snapshot.pre(stack, term) != snapshot.post(stack, term)).any(axis=1)
        if differs.any():
            found[term] = np.flatnonzero(differs).tolist()
    return found


def turned(snapshot: Snapshot) -> Turned:
    """List the parts of a snapshot that moved; where nothing did, only the whole.

    Raises:
        UserError: as :func:`moved`.
    """
    by_term = moved(snapshot)
    layers = sorted({layer for some in by_term.values() for layer in some})
    whole = [ALL, *(Part(layer=layer) for layer in layers)]
    cells: list[Part] = []
    if len(by_term) > 1:
        whole += [Part(term) for term in by_term]
        cells = [Part(term, layer) for term, some in by_term.items() for layer in some]
    return Turned(tuple(whole), tuple(cells))


def checked_lambdas(values: Sequence[float]) -> tuple[float, ...]:
    """Sort factors, without doubles, and add 0 and 1: what is switched off is compared with what was trained.

    Raises:
        UserError: one that is not finite or very large, or very many.
    """
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST:
            raise UserError(f"got λ = {str(value)[:40]}", f"numbers from {-FARTHEST:g} to {FARTHEST:g}", "0 0.5 1 1.5")
    grid = sorted({0.0, 1.0, *(float(value) for value in values)})
    if len(grid) > MAX_LAMBDAS:
        raise UserError(f"got {len(grid)} values of λ", f"at most {MAX_LAMBDAS}")
    return tuple(grid)
