"""Table of the eight bias terms of a transformer block: keys, labels and symbols (paper, section 2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """Bias term: one kind of bias over all layers of a stack."""

    key: str
    """Key in snapshots, flags and tables."""
    symbol: str
    """Symbol of the paper, as plain text."""
    label: str
    """Words for a legend."""
    where: str
    """Place in the block where the term acts."""


TERMS: dict[str, Term] = {
    term.key: term
    for term in (
        Term("q", "b_q", "query", "added to the queries: moves attention"),
        Term("k", "b_k", "key", "added to the keys: null under plain softmax attention"),
        Term("v", "b_v", "value", "added to the values: a constant in the residual stream"),
        Term("o", "b_m1", "attention output", "added after the attention output projection"),
        Term("mlp_in", "b_m2", "MLP in", "added before the MLP's non-linearity"),
        Term("mlp_out", "b_m3", "MLP out", "added after the MLP's output projection"),
        Term("ln1", "b_LN1", "first LayerNorm", "shift of the block's first LayerNorm"),
        Term("ln2", "b_LN2", "second LayerNorm", "shift of the block's second LayerNorm"),
    )
}

TERM_KEYS: tuple[str, ...] = tuple(TERMS)
"""Keys of all terms, in the order in which tables and figures show them."""

NORMS = ("ln1", "ln2")
"""Terms whose modules are LayerNorms; the others are linear."""

CANDIDATES: tuple[str, ...] = ("q", "k", "v")
"""Keys of the terms among which the paper selects (section 2.1, last equation)."""

STACKS: tuple[str, ...] = ("encoder", "decoder")
"""Names of the stacks of layers that a snapshot may hold."""
