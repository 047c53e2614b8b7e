"""Card of one cell of the heatmaps: the geometry of one layer and term, and its scores from their formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from beft_core.errors import UserError
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.scores.plane import Pair
from beft_core.scores.table import TermScores, is_noise, reason_without_score
from beft_core.terms import TERMS
from dashboard.figures.cell import cell as drawing
from dashboard.figures.heatmaps import clicked, heatmaps
from dashboard.figures.parts.numbers import one_minus, short
from dashboard.figures.parts.style import latex
from dashboard.shared import page, tour
from dashboard.shared.figure import show
from dashboard.shared.sources import Opened
from dashboard.shared.text import plain

LAYER, TERM = "layer", "term"
"""Names of the cell in the URL, and keys of the two lists."""
OPEN = "apart"
"""Name in the URL, and key, of whether the cell is taken apart."""
STRONGEST, SELECTED = "strongest", "selected"
"""Values that the lists begin with. They mean something in every snapshot, so a link without a cell does too."""
SIDE_BY_SIDE = {12: 270, 1000: 400}
"""Number of layers up to which -> pixels that a heatmap needs at least; with less, the next one goes below."""


@dataclass(frozen=True)
class Cell:
    """Cell of the heatmaps that is looked at."""

    layer: int
    term: str


def cell_box() -> Any:
    """Draw the box of the cell, which opens at a click on one or by a link to one, and computes nothing before."""
    if OPEN not in st.session_state and OPEN not in st.query_params and {LAYER, TERM} & set(st.query_params):
        st.session_state[OPEN] = True
    return st.expander(
        "One cell taken apart: the vector before and after, and its scores from their formulas",
        icon=":material/square_foot:",
        key=OPEN,
        on_change="rerun",
        bind="query-params",
    )


def choose(opened: Opened, stack: str) -> Cell:
    """Draw two lists that say the same as a click on a cell: for the keyboard, for links, and to see where one is."""
    rows = opened.scores.rows(stack)
    layers = len(next(iter(rows.values())).movement.magnitude())
    terms: list[str] = [SELECTED, *rows]
    places: list[str | int] = [STRONGEST, *range(layers)]
    for key, allowed in ((TERM, terms), (LAYER, places)):
        if key in st.session_state and st.session_state[key] not in allowed:
            del st.session_state[key]  # a cell that this snapshot does not have
    with page.control("settings", "cell", horizontal=True):
        wanted = st.selectbox(
            "Term",
            terms,
            key=TERM,
            bind="query-params",
            width=180,
            help="Or click a cell. “selected”: the term that the projection ratio selects.",
        )
        place = st.selectbox(
            "Layer",
            places,
            key=LAYER,
            bind="query-params",
            width=180,
            help="Or click a cell. “strongest”: where that term's projection ratio is highest.",
        )
    term = wanted if wanted in rows else opened.selected(stack).get(PAPER) or next(iter(rows))
    ratios = rows[term].movement.projection_ratio()
    return Cell(place if isinstance(place, int) and place < layers else int(np.argmax(ratios)), term)


def cell_maps(opened: Opened, stack: str, approaches: Sequence[str], at: Cell, dark: bool) -> None:
    """Draw a heatmap per approach, side by side where there is room; their cells can be clicked."""
    rows = opened.scores.rows(stack)
    layers = len(rows[at.term].movement.magnitude())
    width = next(width for most, width in SIDE_BY_SIDE.items() if layers <= most)
    grid = st.grid(len(approaches), min_column_width=width)
    for key in approaches:
        with grid.cell():
            cell_map(opened, stack, key, at, dark)


def cell_map(opened: Opened, stack: str, key: str, at: Cell, dark: bool) -> None:
    """Draw the heatmap of an approach; its cells can be clicked."""
    name = f"heatmap-{key}"
    show(
        heatmaps(opened.scores, [key], opened.selected(stack), stack, dark, (at.layer, at.term)),
        name,
        f"{APPROACHES[key].label} of every bias term in every layer",
        data=lambda: opened.scores.per_layer,
        on_select=partial(_on_click, name),
    )


def _on_click(name: str) -> None:
    """Set the lists, and through them the URL, to the cell that was clicked."""
    at = clicked(st.session_state.get(name))
    if at is None:
        return
    layer, term = at
    st.session_state[TERM] = term
    st.session_state[LAYER] = STRONGEST if layer is None else layer
    st.session_state[OPEN] = True
    tour.done("cell")


def cell_card(opened: Opened, stack: str, at: Cell, approaches: Sequence[str], dark: bool) -> None:
    """Draw the cell: what happened to its vector, and how its scores come out of the formulas."""
    row = opened.scores.rows(stack)[at.term]
    assert opened.source is not None
    try:
        snapshot = opened.source.read()
        pre, post = (part(stack, at.term)[at.layer].astype(np.float64) for part in (snapshot.pre, snapshot.post))
    except UserError as error:
        page.report(error)
        return
    pair = Pair.of(pre, post)
    st.markdown(f"**{latex(at.term)} in layer {at.layer}**")
    st.caption(f"The {TERMS[at.term].label} bias: {TERMS[at.term].where}. {_what_happened(row, pair)}")
    grid = st.grid(2, min_column_width=320, vertical_alignment="center")
    with grid.cell():
        show(
            drawing(pair, at.term, dark),
            "cell",
            f"{TERMS[at.term].label} bias of layer {at.layer} before and after, in the plane that they span",
            downloads=False,
        )
    with grid.cell():
        _numbers(row, at, pair, pre, post, approaches)
    which = {"geo_stack": stack} if len(opened.scores.stacks) > 1 else {}
    st.page_link(
        page.file_of("geometry"),
        label="Open in Geometry",
        icon=":material/square_foot:",
        query_params=page.kept(
            geo="Every layer", geo_snapshot=opened.title, geo_layer=str(at.layer), geo_term=at.term, **which
        ),
    )


def _what_happened(row: TermScores, pair: Pair) -> str:
    if is_noise(row, PAPER):
        return ":yellow[⚠ It is null in this model: what moved is rounding noise.]"
    reason = reason_without_score(row, PAPER)
    if reason is not None and not pair.magnitude:
        return f"{'It is null, so it was frozen' if row.null else 'It was not trained'}: both vectors are the same."
    if not pair.pre_norm or not pair.post_norm:
        return "One of the two is zero, so there is no angle: the projection ratio is 1 by convention."
    longer = "longer" if pair.ratio > 1 else "shorter"
    some = f" {row.null_elements} of its {row.width} elements are null." if row.null_elements else ""
    turned = " It turned by more than 90°, so its projection ratio exceeds 1." if pair.angle > 90 else ""
    return f"The fine-tune turned it by {pair.angle:.1f}° and made it {longer}, × {short(pair.ratio)}.{turned}{some}"


def _numbers(
    row: TermScores, at: Cell, pair: Pair, pre: np.ndarray, post: np.ndarray, approaches: Sequence[str]
) -> None:
    """Draw each score of the cell with its formula and the numbers in it."""
    longest = max(pair.pre_norm, pair.post_norm)
    if longest and pair.magnitude:
        shrink = min(pair.pre_norm, pair.post_norm) / longest
        fraction = rf"\frac{{{{}}}}{{{_tex(longest**2)}}}"
        st.markdown(
            rf"$1-\frac{{\mathrm{{pre}}\cdot\mathrm{{post}}}}{{\max(\|\mathrm{{pre}}\|,\|\mathrm{{post}}\|)^2}}"
            rf"={one_minus(_tex(pre @ post), fraction)}=$ **{short(pair.score)}**, the projection ratio"
        )
        st.markdown(
            rf"$=1-\cos({pair.angle:.1f}^\circ)\cdot\frac{{{_tex(min(pair.pre_norm, pair.post_norm))}}}"
            rf"{{{_tex(longest)}}}={one_minus(f'{np.cos(np.radians(pair.angle)):.3f}')}\cdot{shrink:.3f}$"
        )
    for key in approaches:
        if key == PAPER:
            continue
        if key not in row.scores:
            st.caption(f"{APPROACHES[key].label}: not measured in this snapshot.")
            continue
        st.markdown(
            f"{plain(APPROACHES[key].formula)} = **{short(float(row.scores[key][at.layer]))}**, {APPROACHES[key].label}"
        )
    st.caption(
        f"‖pre‖ = {short(pair.pre_norm)}, ‖post‖ = {short(pair.post_norm)}, {pre.size} elements each; computed in "
        "float64 from the snapshot's tensors."
    )


def _tex(value: float) -> str:
    """Write a number for a formula, with the power of ten written out."""
    digits, _, power = f"{value:.4g}".partition("e")
    return rf"{digits}\cdot10^{{{int(power)}}}" if power else digits
