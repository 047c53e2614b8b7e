"""Parts of both rewritings: the verdict, the bars of the scores, the rule that needs no probe."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.scores.rewriting import Rewritten
from beft_core.snapshots.snapshot import Snapshot
from beft_core.terms import CANDIDATES
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex
from dashboard.figures.rewriting import before_after
from dashboard.shared import page
from dashboard.shared.figure import show

SHOWN = (PAPER, "magnitude", "fisher")
"""Approaches that are compared: the three of the paper."""
_BAR_WIDTH = 240
"""Width in pixels below which bars stand below each other."""


def verdict(result: Rewritten) -> None:
    """Draw the sentence that says what stays and what does not."""
    text = result.verdict(latex).replace("->", "→").replace(" x", " ×").replace(" r = ", " $r$ = ")
    first, second = (table.selected().get(PAPER) for table in (result.before, result.after))
    flipped = first is not None and second != first
    st.markdown(f"#### {':material/swap_vert: ' if flipped else ''}{text[0].upper()}{text[1:]}.")


def bars(result: Rewritten, name: str) -> None:
    """Draw the scores of q, k and v, as they are and rewritten, one figure for each approach that was measured."""
    stack = result.before.stacks[0]
    measured = set(result.before.approaches) & set(result.after.approaches)
    keys = [key for key in SHOWN if key in measured]
    null = [term for term, row in result.before.rows(stack).items() if row.null]
    selected = result.after.selected(stack)
    grid = st.grid(len(keys), min_column_width=_BAR_WIDTH, border=True)
    for key in keys:
        with grid.cell():
            st.markdown(f"**{APPROACHES[key].label}** {'stays' if result.stays(key) else '**changes**'}")
            show(
                before_after(
                    result.before.mean_scores(key, stack),
                    result.after.mean_scores(key, stack),
                    null,
                    selected.get(key),
                    page.dark(),
                ),
                f"{name}-{key}",
                f"{APPROACHES[key].label} of the candidates, as the model is and rewritten",
                downloads=False,
            )
    if any(selected.values()):
        st.caption("★ is what the rewritten scores select. Pale: the model as it is; full: rewritten.")


def table(result: Rewritten) -> pd.DataFrame:
    """Table of the scores of all terms by all approaches, as they are and rewritten."""
    return pd.DataFrame(
        {
            "term": term,
            "approach": key,
            "as_it_is": score,
            "rewritten": result.after.mean_scores(key).get(term),
        }
        for key in result.before.approaches
        for term, score in result.before.mean_scores(key).items()
    )


def without_a_probe(snapshot: Snapshot, result: Rewritten) -> None:
    """Draw the rule that needs no probe beside what the ratio selects: the shortest pre-trained bias that can act."""
    stack = result.before.stacks[0]
    rows = result.before.rows(stack)
    norms = {
        term: float(np.linalg.norm(snapshot.pre(stack, term).astype(np.float64), axis=1).mean())
        for term in CANDIDATES
        if term in rows and not rows[term].null
    }
    chosen = result.before.selected(stack).get(PAPER)
    if len(norms) < 2 or chosen is None:
        return
    shortest = min(norms, key=lambda term: norms[term])
    lengths = ", ".join(f"{latex(term)} {short(norm)}" for term, norm in norms.items())
    agrees = (
        "which is what the projection ratio selects here, after a whole fine-tune"
        if shortest == chosen
        else (f"while the projection ratio selects {latex(chosen)}")
    )
    st.markdown(
        f":material/straighten: **Without any training:** mean length of the pre-trained bias {lengths}. The shortest "
        f"is {latex(shortest)}, {agrees}. The ratio compares a movement with this length, and Adam moves every bias by "
        "about as much: so it mostly reads the length."
    )
