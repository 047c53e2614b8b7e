"""Tab of the shift: a constant moves from the bias of the attention output into b_v, and no output changes."""

from __future__ import annotations

import numpy as np
import streamlit as st

from beft_core.errors import UserError
from beft_core.scores.rewriting import (
    DIRECTIONS,
    Rewriting,
    Rewritten,
    Shifts,
    output_gap,
    outputs_here,
)
from beft_core.snapshots.snapshot import Snapshot
from dashboard.app_pages.rewrite import parts
from dashboard.figures.parts.style import latex
from dashboard.figures.rewriting import over_shift
from dashboard.shared import address, page
from dashboard.shared.figure import show
from dashboard.shared.sources import Opened

LENGTH, DIRECTION, SEED = "shift", "shift_direction", "shift_seed"
"""Keys of the controls, and their names in the URL."""
LONGEST, FIRST = 10.0, 5.0
"""End of the slider, and where it stands at first: behind the flip of the sample that opens."""
SEEDS = range(20)
"""Seeds of the random directions that the band is made of."""


@address.fragment()
def shift(opened: Opened) -> None:
    """Draw what a shift does to the scores: the verdict, the slider, the ratio over its length, the bars."""
    answer = st.container()  # above the controls that it depends on
    picture = page.stage("picture")
    with picture:
        rewriting = _chosen()
    assert opened.source is not None
    try:
        snapshot = opened.source.read()
        outputs = outputs_here(snapshot)
        result = Rewritten.of(snapshot, rewriting, outputs)
        shifts = Shifts(snapshot, rewriting.direction, rewriting.seed, result.before)
        gap = None if outputs is None else _gap(snapshot, rewriting)
    except UserError as error:
        page.report(error, "This snapshot cannot be shifted")
        return
    with answer:
        with page.stage("answer"):
            parts.verdict(result)
        st.markdown(_why_outputs_stay(gap))
    r = np.linspace(0, LONGEST, 201)
    band = None
    if rewriting.direction == "random":
        every = np.array([Shifts(snapshot, "random", seed, result.before).scores(r) for seed in SEEDS])
        band = every.min(axis=0), every.max(axis=0)
    with picture:
        show(
            over_shift(r, shifts.scores(r), band, shifts.others, rewriting.shift, shifts.flip(), page.dark()),
            "over-shift",
            "Projection ratio of the value bias over the length of the shift, the level of its rivals, and the flip",
            data=lambda: parts.table(result),
        )
        with page.aside("legend"):
            st.caption(_legend(rewriting))
    parts.bars(result, "shift")
    parts.without_a_probe(snapshot, result)


def _chosen() -> Rewriting:
    with page.control("settings", "shift", horizontal=True, vertical_alignment="bottom", gap="medium"):
        length = st.slider(
            "Length of the constant, relative to $b_v$",
            0.0,
            LONGEST,
            FIRST,
            0.1,
            key=LENGTH,
            bind="query-params",
            width=420,
            help="It moves from the output bias into b_v; in each layer it is so many times as long as b_v there.",
        )
        with page.aside("direction"), st.container(horizontal=True, vertical_alignment="bottom"):
            direction = st.segmented_control(
                "Direction",
                list(DIRECTIONS),
                default=next(iter(DIRECTIONS)),
                required=True,
                key=DIRECTION,
                bind="query-params",
                help="; ".join(f"{name}: {words}" for name, words in DIRECTIONS.items()),
            )
            seed = 0
            if direction == "random":
                seed = st.number_input(
                    "Seed", 0, 10_000, 0, key=SEED, bind="query-params", width=140, help="Draws the direction."
                )
    return Rewriting(float(length), str(direction), int(seed))


def _gap(snapshot: Snapshot, rewriting: Rewriting) -> float | None:
    """Measure what is left of the shift in the outputs; None where the snapshot has no b_o."""
    outputs = outputs_here(snapshot)
    stack = snapshot.keys()[0][0]
    if outputs is None or (stack, "o") not in snapshot.keys():  # noqa: SIM118
        return None
    return output_gap(snapshot, rewriting, outputs)


def _why_outputs_stay(gap: float | None) -> str:
    """Write why no output changes, and what was measured where the model's weights are here."""
    text = (
        "Rows of attention sum to one, so $b_v + c$ adds $W_o c$ to every token, and $b_o - W_o c$ takes it away: "
        "the same outputs, the same gradients, the same fine-tune step by step (without attention dropout)."
    )
    if gap is not None:
        what = "not at all" if gap == 0 else f"by {gap:.0e} of its largest element: rounding"
        text += f" Computed here with the model's weights, $W_o b_v + b_o$ changes {what}."
    return text


def _legend(rewriting: Rewriting) -> str:
    line = f"Line: {latex('v')} in this direction. Dashed: its rivals, which no shift changes. Dotted: the flip."
    if rewriting.direction == "random":
        return f"{line} Band: from the lowest to the highest of {len(SEEDS)} random directions."
    return f"{line} Here {DIRECTIONS[rewriting.direction].replace('b_v', latex('v'))}."
