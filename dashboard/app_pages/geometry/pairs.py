"""Tab with every layer of a real fine-tune in one plane, and one layer taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from beft_core.errors import UserError
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.scores.plane import Pair
from beft_core.scores.table import ScoreTable, TermScores
from beft_core.terms import CANDIDATES, TERM_KEYS, TERMS
from dashboard.app_pages.geometry.every_layer import ALT, CLICK, legend, no_points, strongest
from dashboard.figures.geometry import has_points, one_pair, polar
from dashboard.figures.parts.numbers import one_minus, short
from dashboard.figures.parts.style import latex, name_in_text
from dashboard.shared import explain, page
from dashboard.shared.figure import offer_table, show
from dashboard.shared.picker import GEOMETRY_CHOICE, pick
from dashboard.shared.sources import Opened

LAYER, TERM, STACK = "geo_layer", "geo_term", "geo_stack"
"""Keys of the chosen pair, and its names in the URL: ``?geo_layer=2&geo_term=v``; no other page has these names."""
SHOWN = "terms"
FIGURE = "plane"


def pairs() -> None:
    """Draw the choice of snapshot and terms, the plane with every layer, and beside it the chosen pair."""
    opened = pick(GEOMETRY_CHOICE)
    if opened is None:
        return
    st.caption(explain.headline(opened))
    with page.control("settings", "pairs"):
        stack = choose_stack(opened.scores)
        rows = list(opened.scores.rows(stack).values())
        shown = choose_terms([row.term for row in rows])
        unrolled = st.toggle(
            "Unroll: angle across, length up",
            key="unrolled",
            bind="query-params",
            help="Keeps points apart that crowd in the round picture. Angles and lengths are the same.",
        )
    with side_by_side("pairs"):
        left, right = st.columns([1.35, 1], gap="large")
    with right:
        row, layer = _choose(rows)
    picked = [one for one in rows if one.term in shown]
    with left:
        if has_points(picked):
            show(
                polar(picked, (row.term, layer), page.dark(), unrolled),
                FIGURE,
                ALT,
                data=lambda: table(picked),
                on_select=lambda: _clicked(rows),
            )
            st.caption("  \n".join(legend(picked, CLICK)))
        else:
            st.info(no_points(picked), icon=":material/block:")
            with page.control("downloads", "pairs"):
                offer_table("These numbers (CSV)", lambda: table(picked), "layers.csv", "pairs-csv")
    with right:
        _taken_apart(opened, rows, row, layer)
    with page.control("details", "pairs"):
        explain.computed(opened, [PAPER, "magnitude"])


def side_by_side(name: str) -> AbstractContextManager[Any]:
    """Open a container whose columns stand below each other where they would get too narrow."""
    st.html(f"<style>.st-key-sides-{name} .stColumn {{ min-width: min(24rem, 100%); }}</style>")
    return st.container(key=f"sides-{name}")


def choose_stack(scores: ScoreTable) -> str:
    """Draw the switch between encoder and decoder, where there are both; return the chosen stack."""
    if len(scores.stacks) == 1:
        return scores.stacks[0]
    return str(
        st.segmented_control(
            "Stack", scores.stacks, default=scores.stacks[0], required=True, key=STACK, bind="query-params"
        )
    )


def choose_terms(terms: Sequence[str]) -> list[str]:
    """Draw the choice of terms, at first those among which one is selected; return it, or all where none is chosen."""
    chosen = st.pills(
        "Terms",
        TERM_KEYS,
        default=CANDIDATES,
        selection_mode="multi",
        key=SHOWN,
        bind="query-params",
        help=f"None chosen: all of them. {legend_of_terms(TERM_KEYS)}",
    )
    return [term for term in terms if term in chosen] or list(terms)


def legend_of_terms(terms: Sequence[str]) -> str:
    """Write which key is which symbol, in Markdown."""
    return ", ".join(f"{term}: {name_in_text(term)}" for term in terms)


def _choose(rows: Sequence[TermScores]) -> tuple[TermScores, int]:
    """Draw the two lists of the chosen pair. At first: the layer of a candidate that scores highest."""
    terms = [row.term for row in rows]
    best = strongest(rows)
    layers = list(range(len(best.scores[PAPER])))
    with page.control("settings", "pair", horizontal=True):
        term = st.selectbox("Term", terms, terms.index(best.term), key=TERM, bind="query-params")
        layer = st.selectbox("Layer", layers, int(best.scores[PAPER].argmax()), key=LAYER, bind="query-params")
    return next(row for row in rows if row.term == term), int(layer)


def _clicked(rows: Sequence[TermScores]) -> None:
    points = st.session_state[FIGURE]["selection"]["points"]
    data = points[0].get("customdata") if points else None
    layers = {row.term: len(row.scores[PAPER]) for row in rows}
    if isinstance(data, list) and len(data) >= 2 and data[0] in layers and data[1] in range(layers[data[0]]):
        st.session_state[TERM], st.session_state[LAYER] = data[0], data[1]


def _taken_apart(opened: Opened, rows: Sequence[TermScores], row: TermScores, layer: int) -> None:
    pair = read_pair(opened, row, layer)
    if pair is None:
        return
    show(
        one_pair(pair, row.term, page.dark()),
        "pair",
        f"Layer {layer} of the {TERMS[row.term].label} bias before and after, in the plane that they span",
        data=lambda: table([row]).iloc[[layer]],
    )
    st.markdown(pair_in_words(pair))
    st.markdown(both_cases(pair))
    st.markdown(standing(rows, row, layer))


def read_pair(opened: Opened, row: TermScores, layer: int) -> Pair | None:
    """Read the vectors of a layer from the snapshot; None after saying why not."""
    assert opened.source is not None
    try:
        snapshot = opened.source.read()
        return Pair.of(snapshot.pre(row.stack, row.term)[layer], snapshot.post(row.stack, row.term)[layer])
    except UserError as error:
        page.report(error, "This layer cannot be read")
        return None


def pair_in_words(pair: Pair) -> str:
    """Write the numbers of a pair in a line of Markdown."""
    if pair.pre_norm == 0 and pair.post_norm == 0:
        return "Both vectors are **zero**: nothing there, nothing changed."
    if pair.pre_norm == 0:
        return (
            "Before the fine-tune this bias is **zero**, so there is no angle and the length ratio is infinite; "
            f"after it its length is {short(pair.post_norm)}. The projection ratio is 1 by definition."
        )
    if pair.post_norm == 0:
        return (
            f"The fine-tune made this bias **zero** (its length was {short(pair.pre_norm)}): the projection ratio is 1."
        )
    back = " :red[↺ reversed: more than 90°.]" if pair.angle > 90 else ""
    return (
        f"Turned by **{pair.angle:.1f}°**, length {short(pair.pre_norm)} → {short(pair.post_norm)} "
        f"(**×{short(pair.ratio)}**), Magnitude {short(pair.magnitude)}.{back}"
    )


def both_cases(pair: Pair) -> str:
    """Write the two cases of the formula in Markdown, the one that applies with the numbers of this pair."""
    if pair.pre_norm == 0 or pair.post_norm == 0:
        return ""
    cosine = np.cos(np.radians(pair.angle))
    cases = {
        "pre": ("post is not longer: project it onto pre", "post", "pre", pair.post_norm, pair.pre_norm),
        "post": ("post is longer: project pre onto it", "pre", "post", pair.pre_norm, pair.post_norm),
    }
    blocks = []
    for onto, (when, up, down, above, below) in cases.items():
        general = rf"1-\frac{{\|\text{{{up}}}\|\cos\alpha}}{{\|\text{{{down}}}\|}}"
        if onto == pair.onto:
            fraction = rf"\frac{{{short(above, 4)}\cdot{{}}}}{{{short(below, 4)}}}"
            numbers = one_minus(f"{cosine:.4f}", fraction)
            blocks.append(f"**→ {when}**\n\n$${general}={numbers}={short(pair.score)}$$")
        else:
            blocks.append(f":gray[{when}: ${general}$]")
    return "\n\n".join(blocks)


def standing(rows: Sequence[TermScores], row: TermScores, layer: int) -> str:
    """Write what the layer contributes to its term's score, and where it ranks."""
    scores = row.scores[PAPER]
    score, total = float(scores[layer]), float(scores.sum())
    if total == 0:
        reason = "it is null in this model and was frozen" if row.null and not row.trained else "no layer of it moved"
        return f"{latex(row.term)} scores 0 in every layer: {reason}."
    every = np.concatenate([one.scores[PAPER] for one in rows])
    return (
        f"The score of {latex(row.term)} is the mean of its {len(scores)} layers, **{short(float(scores.mean()))}**. "
        f"This layer gives {short(score / len(scores))} of it ({100 * score / total:.0f}%). It ranks "
        f"**{_place(scores, score)} of {len(scores)}** within {latex(row.term)} and **{_place(every, score)} of "
        f"{len(every)}** among all layers of all terms."
    )


def _place(scores: np.ndarray, score: float) -> str:
    rank = int((scores > score).sum()) + 1
    ending = "th" if 10 <= rank % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"


def table(rows: Sequence[TermScores]) -> pd.DataFrame:
    """Table of the numbers of the picture, one row per term and layer."""
    frames: list[dict[str, Any]] = [
        {
            "stack": row.stack,
            "term": row.term,
            "layer": layer,
            **{key: values[layer] for key, values in row.movement.geometry().items()},
            **{key: row.scores[key][layer] for key in APPROACHES if key in row.scores},
            "null": row.null,
            "trained": row.trained,
        }
        for row in rows
        for layer in range(len(row.scores[PAPER]))
    ]
    return pd.DataFrame(frames)
