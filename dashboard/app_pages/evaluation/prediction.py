"""Tab "Does the score predict performance?": the answer in words, what each rule loses, when probes settle."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from beft_core.reports.pairing import At, pairs, with_regimes
from beft_core.reports.selection import contests, prediction
from beft_core.reports.selection.in_words import BASELINES, DRAWS
from beft_core.reports.selection.prediction import MEASURES as COLUMNS
from beft_core.reports.selection.prediction import POOLED, RANDOM, RULES
from beft_core.reports.selection.pretrained import with_norms
from beft_core.terms import CANDIDATES
from dashboard.app_pages.evaluation.figures import null_terms
from dashboard.app_pages.evaluation.view import View, in_order, on_demand, short_title
from dashboard.figures.evaluation import MEASURES, rule_dots, settling_curves
from dashboard.figures.parts.labels import in_figures
from dashboard.figures.parts.style import latex
from dashboard.shared import page
from dashboard.shared.figure import offer_table, show
from dashboard.shared.text import in_words, plain

PAIRING, MEASURE, SIZE = "pairing", "measure", "size"
"""Keys of the controls, and their names in the URL."""
TASKS, SETTLED, NUMBERS = "by_task", "settled", "predicted"
"""Keys of the boxes that open on demand, and their names in the URL."""
PAIRINGS: dict[str, At] = {"same learning rate": "same", "each term at its best": "best"}
EVERY = "all together"
LITTLE = 3.0
"""Percentage points: where a random choice loses less, the three terms do about the same."""


@st.cache_data(max_entries=16, show_spinner=False)
def _cases(token: str, at: At, _results: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int], str]:
    """Collect the cases, the number of those left out by reason, and where pre-trained norms come from."""
    filled, norms = with_norms(_results)
    return prediction.cases(filled, at), pairs(filled, at).left_out, norms


@st.cache_data(max_entries=32, show_spinner=False)
def _panels(token: str, at: At, size: str, _table: pd.DataFrame) -> pd.DataFrame:
    """Summarise the rules per ``panel``: all tasks together, then each task, its sizes pooled.

    Rules that never differ in any of them share a row; ``shared`` has the labels of those without one of their own.
    """
    parts = [(in_figures(short_title(task)), _table[_table["task"] == task]) for task in in_order(_table["task"])]
    if len(parts) > 1:
        parts.insert(0, ("All tasks", _table))
    first = prediction.alike(_table)
    rows = pd.concat(
        [prediction.pooled_of(part, first).assign(panel=title) for title, part in parts], ignore_index=True
    )
    others = prediction.together(rows)
    rows = rows[rows["rule"].isin(others)]
    return rows.assign(shared=rows["rule"].map({rule: "; ".join(labels) for rule, labels in others.items()}))


@st.cache_data(max_entries=32, show_spinner=False)
def _verdict(token: str, at: At, size: str, _table: pd.DataFrame) -> str:
    return prediction.verdict_of(_table)


@st.cache_data(max_entries=16, show_spinner=False)
def _summary(token: str, at: At, _table: pd.DataFrame) -> pd.DataFrame:
    return prediction.summary_of(_table)


@st.cache_data(max_entries=16, show_spinner=False)
def _contests(token: str, size: str, _results: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Compare b_v with the other two terms, in words and cell by cell."""
    named = with_regimes(_results)
    of_size = _results if size == EVERY else named[named["regime"] == size]
    rows = [contests.paired(of_size, "v", other) for other in CANDIDATES if other != "v"]
    return contests.sentence(of_size), pd.concat(rows, ignore_index=True)


def does_the_score_predict(view: View) -> None:
    """Draw the tab "Does the score predict performance?"."""
    answer = st.container()  # above the switches that it depends on
    with page.control("settings", "prediction", horizontal=True):
        pairing = st.segmented_control(
            "Learning rates",
            list(PAIRINGS),
            default=next(iter(PAIRINGS)),
            required=True,
            key=PAIRING,
            bind="query-params",
            help="“Same”: a probe is asked about fine-tunes at its own learning rate, or, where the grids differ, at "
            "that of the same position. “Best”: each term at the rate that served it best.",
        )
        at = PAIRINGS[str(pairing)]
        table, left_out, norms = _cases(view.table.token, at, view.results)
        sizes = [EVERY, *table["regime"].unique()]
        if SIZE in st.session_state and st.session_state[SIZE] not in sizes:
            del st.session_state[SIZE]  # what another table had
        size = EVERY
        if len(sizes) > 2:
            size = str(st.selectbox("Training examples", sizes, key=SIZE, bind="query-params", width=180))
        measure = st.segmented_control(
            "Measure",
            list(MEASURES),
            default="regret",
            required=True,
            key=MEASURE,
            bind="query-params",
            format_func=lambda key: MEASURES[key].label,
        )
    shown = table if size == EVERY else table[table["regime"] == size]
    against, cells = _contests(view.table.token, size, view.results)
    with answer, st.container(border=True):
        first, *rest = re.split(
            r"(?<=\.) (?=[A-Z])", f"{_verdict(view.table.token, at, size, shown)} {against}".strip()
        )
        st.markdown(f"**{in_words(first)}** {in_words(' '.join(rest))}")
        if left_out:
            counts = "; ".join(f"{count:,} {why}" for why, count in left_out.items())
            st.caption(f":material/filter_alt: Left out: {in_words(counts)}.")
    if not shown.empty:
        panels = _panels(view.table.token, at, size, shown)
        first_panel = panels[panels["panel"] == panels["panel"].iloc[0]]
        _rules(first_panel, str(measure), view.dark, "rules")
        _say_shared(panels)
        _say_little(panels)
        if len(first_panel) < len(panels):
            on_demand(TASKS, "Task by task", lambda: _rules(panels, str(measure), view.dark, "rules-by-task"))
    on_demand(SETTLED, "How much of a probe does it take?", lambda: _settling(view, size))
    if not shown.empty:
        on_demand(NUMBERS, "In numbers", lambda: _numbers(view, at, table, cells))
    _computed(view, norms)


def _rules(panels: pd.DataFrame, measure: str, dark: bool, name: str) -> None:
    """Draw what each rule loses in some panels."""
    show(
        rule_dots(panels, measure, dark),
        name,
        f"{MEASURES[measure].label} of each rule, with 95 % intervals",
        data=lambda: panels,
    )


def _say_shared(panels: pd.DataFrame) -> None:
    """Name the rules that one row of the figure stands for."""
    shared = dict(zip(panels["rule"], panels["shared"], strict=True))
    sentences = [f"{RULES[rule].label}: also {others}" for rule, others in shared.items() if others]
    if sentences:
        st.caption(
            ":material/equal: One row for rules that name the same term, with the same tau, in every case. "
            + " ".join(f"{in_words(sentence)}." for sentence in sentences)
        )


def _say_little(panels: pd.DataFrame) -> None:
    """Name the tasks that cannot tell rules apart, so that nobody takes a small loss there for a merit."""
    chance = panels[panels["rule"] == RANDOM]
    alike = list(chance.loc[chance["regret"] < LITTLE, "panel"])
    if alike:
        st.caption(
            f":material/info: Even a random choice loses less than {LITTLE:g} points on "
            f"{', '.join(plain(name, 60) for name in alike)}: the three terms do about the same there, for example "
            "because none of them learns much, so such tasks say little about any rule."
        )


def _settling(view: View, size: str) -> None:
    shares = prediction.settled_shares(view.results)
    shares = shares if size == EVERY else shares[shares["regime"] == size]
    if shares.empty:
        st.caption("The probes of this table did not keep when they settled.")
        return
    st.markdown(
        "A probe has *settled* when what it selects never changes again. A line that rises early means that a short "
        "probe would have selected the same term, right or wrong."
    )
    show(
        settling_curves(shares, view.dark),
        "settling",
        "Share of probes that have settled on a selection after each fraction of their steps, by approach",
        data=lambda: prediction.settling(view.results),
    )


def _numbers(view: View, at: At, table: pd.DataFrame, cells: pd.DataFrame) -> None:
    rows = _summary(view.table.token, at, table)
    others = prediction.together(rows)
    rows = rows[rows["rule"].isin(others)].reset_index(drop=True)
    pooled = (rows["task"] == POOLED) & (rows.index >= len(rows) - rows["rule"].nunique())
    shown = pd.DataFrame(
        {
            "task": rows["task"].map(short_title).where(~pooled, "all tasks"),
            "examples": rows["regime"].where(~pooled, "all sizes"),
            "rule": rows["rule"].map(lambda rule: "; ".join([RULES[rule].label, *others[rule]])),
            "cases": rows["n"],
            "points lost": _with_interval(rows, "regret"),
            "hits, %": _with_interval(rows, "hit", 100),
            "tau": _with_interval(rows, "tau"),
        }
    )
    shown = pd.concat([shown[pooled], shown[~pooled]])
    st.dataframe(shown, hide_index=True, alt="What each rule loses, by task and amount of data")
    with page.control("downloads", "prediction", horizontal=True, horizontal_alignment="right"):
        offer_table("Download every case (CSV)", lambda: table, "cases.csv", "cases-csv")
        offer_table("Download the paired tests (CSV)", lambda: cells, "contests.csv", "contests-csv")
        offer_table("Download the table (CSV)", lambda: rows, "prediction.csv", "prediction-csv")


def _with_interval(rows: pd.DataFrame, measure: str, factor: float = 1) -> Sequence[str]:
    digits = 0 if factor == 100 else 2
    texts = []
    for mean, low, high in rows[[COLUMNS[measure], f"{measure}_low", f"{measure}_high"]].to_numpy(float) * factor:
        known = f"{mean:.{digits}f}" if mean == mean else ""
        texts.append(known + (f" ({low:.{digits}f} to {high:.{digits}f})" if low == low else ""))
    return texts


def _computed(view: View, norms: str) -> None:
    with page.control("details", "prediction"), st.expander("How was this computed?", icon=":material/function:"):
        st.markdown(
            f"A *case* is one probe beside the fine-tunes of {latex('q')}, {latex('k')} and {latex('v')} alone on the "
            "same task, examples and seed. A rule names one of the three; **points lost** is the metric of the best of "
            "the three minus that of the named one, after the last epoch, in percentage points. A **hit** is a named "
            "term that is the best, also together with others. **Tau** (Kendall's, variant b) compares the order of "
            "the three scores with that of the three metrics: 1 the same, −1 reversed; it is undefined where one side "
            "is all equal. Variants of an approach are drawn hollow.\n"
            + "".join(f"- **{in_words(rule.label)}** reads {in_words(rule.what)}.\n" for rule in BASELINES)
            + f"\nPre-trained norms: {in_words(norms)}.  \n"
            f"{DRAWS['tasks']} Those of a single task draw only its sizes and seeds. Learning rates of a seed share "
            "examples and head and are drawn together; with few tasks or seeds intervals are rather too narrow.  \n"
            "*Each term at its best* takes the learning rate by the validation metric itself: a little too good, for "
            "all three.  \n"
            f"Cell by cell: t of the differences between {latex('v')} and another term over the seeds of a task, size "
            f"and learning rate; p below {contests.LEVEL:g} on both sides (five seeds: |t| above 2.78), not corrected "
            "for the number of cells."
        )
        null = null_terms(view.results)
        if null:
            names = ", ".join(latex(term) for term in null)
            st.markdown(
                f"{names} is null in this model: it scores 0 in a probe, and “alone” only the head and the pooler's "
                "bias learn. The choice is then between the other terms."
            )
