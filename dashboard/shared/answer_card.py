"""The answer of one approach: the term it selects, the ranking, and the switch between its variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from beft_core.scores.approaches import APPROACHES
from beft_core.terms import CANDIDATES
from dashboard.figures.heatmaps import noise
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex
from dashboard.figures.ranking import ranking
from dashboard.shared.figure import CONFIG
from dashboard.shared.sources import Opened


@dataclass(frozen=True)
class Way:
    """A way to score a term, with the variants that an approach has."""

    key: str
    """Name of the switch in the URL."""
    asks: str
    variants: dict[str, str]
    """Words on the switch -> key in APPROACHES; the first is the paper's."""
    help: str = ""


WAYS: tuple[Way, ...] = (
    Way("turn", "How far did it turn?", {"": "projection_ratio"}),
    Way(
        "magnitude",
        "How far did it move?",
        {"sum (L1)": "magnitude", "mean": "magnitude_mean_abs"},
        "The paper sums |post − pre| over the elements of a layer. The authors' code takes the mean, which is fair to "
        "terms of different widths.",
    ),
    Way(
        "fisher",
        "How much did the loss depend on it?",
        {"per example": "fisher", "per batch": "fisher_batch"},
        "Squared gradients before the fine-tune: of every example, or, as in the authors' code, of the mean over "
        "batches of 8.",
    ),
)


def answer_card(opened: Opened, way: Way, stack: str, dark: bool) -> str:
    """Draw the card; returns the approach that it shows."""
    answer = st.container()  # above the switch that it depends on
    key = _variant(way)
    with answer:
        _answer(opened, key, way, stack, dark)
    return key


def variant_switches() -> list[str]:
    """The switches of all ways, for where there are no cards; returns the approach of each way."""
    return [_variant(way, labelled=True) for way in WAYS]


def _variant(way: Way, labelled: bool = False) -> str:
    """The approach that the way's switch names; the same switch, by its key, wherever it is drawn."""
    key = next(iter(way.variants.values()))
    if len(way.variants) == 1:
        return key
    choice = st.segmented_control(
        way.key.capitalize(),
        way.variants,
        default=next(iter(way.variants)),
        required=True,
        key=way.key,
        bind="query-params",
        help=way.help,
        label_visibility="visible" if labelled else "collapsed",
        width="content",
    )
    return way.variants.get(str(choice), key)


def _answer(opened: Opened, key: str, way: Way, stack: str, dark: bool) -> None:
    label = APPROACHES[key].label
    scores = opened.scores.mean_scores(key, stack)
    term = opened.selected(stack).get(key)
    rivals = opened.scores.contestants(key, stack)
    if term is None:
        st.markdown(f"#### {label}")
        st.caption(f"{way.asks} " + (_nobody(rivals) if scores else "Not measured in this snapshot."))
    else:
        st.markdown(f"#### {label}: {latex(term)}")
        contest = sorted((t for t in scores if t in CANDIDATES), key=lambda t: (t != term, -scores[t]))
        st.caption(f"{way.asks} " + ", ".join(f"{latex(t)} {short(scores[t])}" for t in contest))
    for row in opened.scores.terms:
        if row.stack == stack and noise(row, key):
            said = f"{latex(row.term)} is null in this model: its score is rounding noise, and it cannot be selected."
            st.markdown(f":orange[⚠ {said}]")
    if not rivals:
        return
    st.plotly_chart(
        ranking(opened.scores, key, term, stack, dark),
        theme=None,
        key=f"ranking-{way.key}",
        config=CONFIG,
        alt=f"Ranking of the bias terms by {label}",
    )


def _nobody(rivals: Sequence[str]) -> str:
    """Why no term is selected, in a sentence."""
    names = ", ".join(latex(candidate) for candidate in CANDIDATES)
    if len(rivals) > 1:
        return f"{' and '.join(map(latex, rivals))} did not move, so none is selected."
    if rivals:
        return f"No contest: of {names} only {latex(rivals[0])} took part, so none is selected."
    return f"None of {names} took part."
