"""What a dial found: the verdict, the curve with its slider, and costs beside scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from beft_core.dials import in_words
from beft_core.dials.result import Dial
from beft_core.tasks.metrics import metric_in_words
from dashboard.app_pages.dial.source import Found
from dashboard.app_pages.dial.words import (
    ABOUT_PARTS,
    ABOUT_TAU,
    STEP,
    first_that_orders,
    number_at,
    rules,
    rules_by_label,
    tau,
)
from dashboard.figures.curves.dial import costs_beside_scores, costs_over_scores, over_lambda
from dashboard.run_watch.card import duration
from dashboard.shared import address, page
from dashboard.shared.figure import show
from dashboard.shared.text import in_words as with_symbols
from dashboard.shared.text import plain

LAMBDA, PART, RULE, VIEW = "dial_lambda", "dial_part", "dial_rule", "dial_view"
TURN, OFF = "Turn it", "Switched off, one at a time"
_BESIDE = 340
"""Width in pixels below which the two halves stand below each other."""


def results(found: Found, dark: bool) -> None:
    """Draw a dial, answer first."""
    dial = found.dial
    height, *more = in_words.sentences(dial)
    with page.stage("answer"):
        st.markdown(f"#### {with_symbols(height)}")
    if more:
        st.markdown(with_symbols(" ".join(more)))
    if dial.terms:
        turned, off = st.tabs([TURN, OFF], key=VIEW, bind="query-params")
        with turned:
            _turning(dial, dark)
        with off:  # drawn too where it is not open, so that its choice stays in the address
            _switched_off(dial, dark)
    with page.control("details", "dial"):
        _computed(found)


@address.fragment()
def _turning(dial: Dial, dark: bool) -> None:
    """Draw the slider, what is turned, and the curve. Alone, when one of them is moved."""
    names = {in_words.part_words(curve.part): curve.part for curve in dial.curves}
    low, high = dial.lambdas[0], dial.lambdas[-1]
    held = st.session_state.get(LAMBDA)
    if isinstance(held, int | float) and not low <= held <= high:
        st.session_state[LAMBDA] = float(np.clip(held, low, high))
    if st.session_state.get(PART) not in (None, *names):
        del st.session_state[PART]
    picture = page.stage("picture")
    with picture:
        row = st.container(horizontal=True, gap="medium", vertical_alignment="center")
    with row:
        number = st.container(width=310)  # beside what moves it; of one width, so that the slider stays under the hand
    with row, page.control("settings", "dial", horizontal=True, gap="medium", vertical_alignment="bottom"):
        named = st.selectbox(
            "What to turn",
            list(names),
            key=PART,
            bind="query-params",
            width=220,
            help="All else stays as it was trained; the head too.",
        )
        factor = st.slider("λ", low, high, 1.0, STEP, key=LAMBDA, bind="query-params", format="%.2f")
    part = names[str(named)]
    with number:
        page.number(*number_at(dial, part, factor))
    with picture:
        show(
            over_lambda(dial, part, factor, dark),
            "dial-curve",
            f"{metric_in_words(dial.metric)} over λ for {in_words.part_words(part)}",
            data=lambda: curve_table(dial),
        )


def _switched_off(dial: Dial, dark: bool) -> None:
    """Draw what each layer and term costs, beside the score that is chosen."""
    rule_key = _choose_rule(dial)
    kinds = [kind for kind in ("terms", "layers") if dial.off_parts(kind)]
    grid = st.grid(len(kinds) + bool(dial.test("cells")), min_column_width=_BESIDE)
    for kind in kinds:
        test = dial.test(kind)
        rule = test.rule(rule_key) if test is not None else None
        with grid.cell():
            st.markdown(f"**Each {in_words.ONE[kind]}**{tau(test, rule)}")
            show(
                costs_beside_scores(dial, dial.off_parts(kind), test, rule, dark),
                f"dial-{kind}",
                f"Cost of each {in_words.ONE[kind]} when switched off, beside its score",
                data=lambda: off_table(dial),
            )
    cells = dial.test("cells")
    chosen = cells.rule(rule_key) if cells is not None else None
    if cells is not None and chosen is not None:
        with grid.cell():
            st.markdown(f"**Each term in each layer**{tau(cells, chosen)}")
            show(
                costs_over_scores(cells, chosen, dark),
                "dial-cells",
                "Cost of each term in each layer when switched off, over its score",
                data=lambda: off_table(dial),
            )
    st.markdown(rules(dial))
    st.caption(ABOUT_TAU)


def _choose_rule(dial: Dial) -> str:
    known = rules_by_label(dial)
    if not known:
        return ""
    if st.session_state.get(RULE) not in (None, *known):
        del st.session_state[RULE]
    with page.control("settings", "dial-rule"):
        chosen = st.segmented_control(
            "Score beside the cost",
            list(known),
            default=first_that_orders(dial),
            required=True,
            key=RULE,
            bind="query-params",
            help="Scores of the snapshot, and two trivial rules that know none.",
        )
    return known[str(chosen)]


def curve_table(dial: Dial) -> pd.DataFrame:
    """Table of all curves, one point a row."""
    return pd.DataFrame(
        {
            "part": curve.part.name,
            "lambda": factor,
            dial.metric: value,
            "difference_low": low,
            "difference_high": high,
        }
        for curve in dial.curves
        for factor, value, low, high in zip(dial.lambdas, curve.values, curve.low, curve.high, strict=True)
    )


def off_table(dial: Dial) -> pd.DataFrame:
    """Table of what was switched off, with the scores of each part."""
    rows = []
    for one in dial.off:
        scores = {
            rule.label: rule.scores[test.parts.index(one.part)]
            for test in dial.tests
            if one.part in test.parts
            for rule in test.rules
        }
        rows.append(
            {
                "part": one.part.name,
                dial.metric: one.value,
                "cost": one.loss,
                "cost_low": one.low,
                "cost_high": one.high,
                **scores,
            }
        )
    return pd.DataFrame(rows)


def _computed(found: Found) -> None:
    dial = found.dial
    with st.expander("How was this computed?", icon=":material/function:"):
        st.markdown(
            f"{plain(in_words.settings_line(dial), 900)}  \n{found.origin}, in {plain(duration(dial.seconds))} on "
            f"{plain(dial.device)}."
        )
        st.markdown(ABOUT_PARTS)
