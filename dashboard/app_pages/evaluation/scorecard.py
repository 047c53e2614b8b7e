"""Scorecard: every claim of the paper with the verdict of the chosen result table, and the way to where that stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from beft_core.errors import UserError
from beft_core.reports import paper
from beft_core.reports.claims.evidence import LOW
from beft_core.reports.claims.table import Judged, headline, judge
from beft_core.reports.claims.verdicts import RULE, Verdict
from beft_core.reports.merges import Merge
from beft_core.reports.selection.pretrained import with_norms
from dashboard.app_pages.evaluation.view import View
from dashboard.figures.parts.labels import as_written
from dashboard.result_tables.source import OpenTable
from dashboard.shared import in_view, page
from dashboard.shared.text import in_words

_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
PART = "part"
"""Key of the tabs, and its name in the URL."""
ROWS = "claims"
"""Key of the container of all rows: page.css rules lines between them, and on a phone puts the buttons below."""
BADGES: dict[Verdict, str] = {
    Verdict.CONFIRMED: ":green-badge[:material/check: confirmed]",
    Verdict.CONTRADICTED: ":violet-badge[:material/close: contradicted]",
    Verdict.UNDECIDED: ":primary-badge[:material/balance: undecided]",
}
"""Verdicts as Markdown: in the colours at the ends of every scale, and a neutral one; none is that of a term."""


@st.cache_data(max_entries=8, show_spinner="Judging the claims of the paper")
def _judged(token: str, merged: str, _results: pd.DataFrame, _merges: Sequence[Merge] | None) -> tuple[Judged, ...]:
    """Judge all claims, once per content of the table and of its merges."""
    return judge(with_norms(_results)[0], _merges)


def _of(opened: OpenTable) -> tuple[Judged, ...]:
    return _judged(opened.token, repr(opened.merges), opened.results, opened.merges)


def answer(opened: OpenTable) -> None:
    """Draw the verdicts in a sentence; why there are none, where the claims cannot be judged."""
    try:
        found = _of(opened)
    except UserError as error:
        page.report(error, "The claims cannot be judged")
        return
    with page.stage("answer"):
        st.markdown(f"#### {in_words(headline(found))}")
    if page.stop() is not None:
        _at_a_glance(found)
        return
    confirmed = [one.finding for one in found if one.finding.verdict is Verdict.CONFIRMED]
    if plainer := sum(bool(finding.trivial) for finding in confirmed):
        st.markdown(
            f"{plainer} of the confirmed {'has' if plainer == 1 else 'have'} a simpler explanation, which stands in "
            "brackets: it does as well without the score, or without what the claim says."
        )


def claims(view: View) -> None:
    """Draw the tab "Claims": a row for each claim that the table tests.

    Raises:
        UserError: the claims cannot be judged.
    """
    found = _of(view.whole)
    with st.container(gap=None, key=ROWS):
        for one in found:
            if one.finding.verdict is not Verdict.UNTESTED:
                _row(one)
    open_claims = [one for one in found if one.finding.verdict is Verdict.UNTESTED]
    if open_claims:
        said = "; ".join(f"{one.claim.says} ({one.finding.numbers})" for one in open_claims)
        st.caption(f"**Untested here**: {in_words(said)}.")
    with page.control("details", "claims"), st.expander("How is a claim judged?", icon=":material/function:"):
        st.markdown(
            f"{in_words(RULE)} Intervals of differences draw tasks, then data sizes and seeds within them, as those of "
            "the tab *Does the score predict?*; those of merges are Student's over seeds. *Little data* is the paper's "
            f"low regime, or at most {LOW:,} examples. A claim that a rule without a probe fulfils as well is still "
            "confirmed, and the rule stands beside it.\n\n" + in_words(paper.VERSIONS)
        )


def _at_a_glance(found: Sequence[Judged]) -> None:
    """Draw all verdicts on one screen: two columns of claims, without their numbers."""
    with page.stage("picture"):
        grid = st.grid(2, min_column_width=400, gap="medium")
    half = -(-len(found) // 2)
    for part in (found[:half], found[half:]):
        with grid.cell(), st.container(gap="xsmall"):
            for one in part:
                badge = BADGES.get(one.finding.verdict, ":gray-badge[untested]")
                st.markdown(f"{badge} {in_words(one.claim.says)}")


def _row(one: Judged) -> None:
    claim, finding = one.claim, one.finding
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        words = f"{BADGES[finding.verdict]} **{in_words(claim.says)}:** "
        words += f":small[{_numbers(finding.numbers)}]"
        if finding.trivial:
            words += f" :small[({_numbers(finding.trivial)})]"
        with st.container(width="stretch"):
            st.markdown(words)
        st.button(
            claim.place,
            key=f"claim-{claim.key}",
            type="tertiary",
            icon=":material/arrow_forward:",
            on_click=_go,
            args=(claim.place,),
            help=f"Our numbers on this; the paper: {claim.paper}",
        )


def _numbers(text: str) -> str:
    """Set numbers of the engine in Markdown, with the minus of the other pages."""
    return in_words(as_written(_MINUS.sub("−", text)))


def _go(place: str) -> None:
    """Open a tab, and have the page scroll to it."""
    st.session_state[PART] = place
    in_view.call(f"Opened {place}")
