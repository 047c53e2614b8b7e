"""The tab "Does the score predict performance?": the answer in words, what each rule loses, when probes settle."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from beft_core.evaluation import prediction
from beft_core.evaluation.pairing import At, pairs
from beft_core.evaluation.prediction import MEASURES as COLUMNS
from beft_core.evaluation.prediction import POOLED, RANDOM, RULES
from dashboard.components import page
from dashboard.components.evaluation_figures import null_terms
from dashboard.components.evaluation_view import View, in_figures, in_order, in_words, short_title
from dashboard.components.figure import show
from dashboard.components.text import plain
from dashboard.figures.evaluation import MEASURES, rule_dots, settling_curves
from dashboard.figures.style import latex

PAIRING, MEASURE, SIZE = "pairing", "measure", "size"
"""Keys of the controls, and their names in the URL."""
PAIRINGS: dict[str, At] = {"same learning rate": "same", "each term at its best": "best"}
EVERY = "all together"
LITTLE = 3.0
"""Points: where a random choice loses less, the three terms do about the same."""


@st.cache_data(max_entries=16, show_spinner=False)
def _cases(token: str, at: At, _results: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    return prediction.cases(_results, at), pairs(_results, at).left_out


@st.cache_data(max_entries=32, show_spinner=False)
def _panels(token: str, at: At, size: str, _table: pd.DataFrame) -> pd.DataFrame:
    """Summaries with a column ``panel``: all tasks together, then each task, its sizes pooled."""
    parts = [(in_figures(short_title(task)), _table[_table["task"] == task]) for task in in_order(_table["task"])]
    if len(parts) > 1:
        parts.insert(0, ("All tasks", _table))
    return pd.concat([_pooled(part).assign(panel=title) for title, part in parts], ignore_index=True)


def _pooled(table: pd.DataFrame) -> pd.DataFrame:
    rows = prediction.summary_of(table)
    return rows.iloc[-rows["rule"].nunique() :]  # the last ones: everything together


@st.cache_data(max_entries=16, show_spinner=False)
def _summary(token: str, at: At, _table: pd.DataFrame) -> pd.DataFrame:
    return prediction.summary_of(_table)


def does_the_score_predict(view: View) -> None:
    """Draw the tab."""
    answer = st.container()  # above the switches that it depends on
    with page.control("settings", "prediction", horizontal=True):
        pairing = st.segmented_control(
            "Learning rates", list(PAIRINGS), default=next(iter(PAIRINGS)), required=True, key=PAIRING,
            bind="query-params",
            help="“Same”: a probe is asked about fine-tunes at its own learning rate, or, where the grids differ, at "
            "that of the same position. “Best”: each term at the rate that served it best.",
        )  # fmt: skip
        at = PAIRINGS[str(pairing)]
        table, left_out = _cases(view.table.token, at, view.results)
        sizes = [EVERY, *table["regime"].unique()]
        if SIZE in st.session_state and st.session_state[SIZE] not in sizes:
            del st.session_state[SIZE]  # what another table had
        size = EVERY
        if len(sizes) > 2:
            size = str(st.selectbox("Training examples", sizes, key=SIZE, bind="query-params", width=180))
        measure = st.segmented_control(
            "Measure", list(MEASURES), default="regret", required=True, key=MEASURE, bind="query-params",
            format_func=lambda key: MEASURES[key].label,
        )  # fmt: skip
    shown = table if size == EVERY else table[table["regime"] == size]
    with answer, st.container(border=True):
        first, *rest = re.split(r"(?<=\.) (?=[A-Z])", prediction.verdict_of(shown))
        st.markdown(f"**{in_words(first)}** {in_words(' '.join(rest))}")
        if left_out:
            counts = "; ".join(f"{count:,} {why}" for why, count in left_out.items())
            st.caption(f":material/filter_alt: Left out: {in_words(counts)}.")
    if not shown.empty:
        panels = _panels(view.table.token, at, size, shown)
        show(
            rule_dots(panels, str(measure), view.dark), "rules",
            f"{MEASURES[str(measure)].label} of each rule, with 95 % intervals", data=lambda: panels,
        )  # fmt: skip
        _say_little(panels)
    _settling(view, size)
    if not shown.empty:
        _numbers(view, at, table)
    _computed(view)


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
    st.subheader("How much of a probe does it take?", anchor=False)
    if shares.empty:
        st.caption("The probes of this table did not keep when they settled.")
        return
    st.markdown(
        "A probe has *settled* when what it selects never changes again. A line that rises early means that a short "
        "probe would have selected the same term, right or wrong."
    )
    show(
        settling_curves(shares, view.dark), "settling",
        "Share of probes that have settled on a selection after each fraction of their steps, by approach",
        data=lambda: prediction.settling(view.results),
    )  # fmt: skip


def _numbers(view: View, at: At, table: pd.DataFrame) -> None:
    st.subheader("In numbers", anchor=False)
    rows = _summary(view.table.token, at, table)
    pooled = (rows["task"] == POOLED) & (rows.index >= len(rows) - rows["rule"].nunique())
    shown = pd.DataFrame(
        {
            "task": rows["task"].map(short_title).where(~pooled, "all tasks"),
            "examples": rows["regime"].where(~pooled, "all sizes"),
            "rule": rows["rule"].map(RULES),
            "cases": rows["n"],
            "points lost": _with_interval(rows, "regret"),
            "hits, %": _with_interval(rows, "hit", 100),
            "tau": _with_interval(rows, "tau"),
        }
    )
    shown = pd.concat([shown[pooled], shown[~pooled]])
    st.dataframe(shown, hide_index=True, alt="What each rule loses, by task and amount of data")
    with page.control("downloads", "prediction", horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "Download every case (CSV)", lambda: table.to_csv(index=False), "cases.csv", "text/csv", key="cases-csv",
            on_click="ignore", icon=":material/download:", type="tertiary",
        )  # fmt: skip
        st.download_button(
            "Download the table (CSV)", lambda: rows.to_csv(index=False), "prediction.csv", "text/csv",
            key="prediction-csv", on_click="ignore", icon=":material/download:", type="tertiary",
        )  # fmt: skip


def _with_interval(rows: pd.DataFrame, measure: str, factor: float = 1) -> Sequence[str]:
    digits = 0 if factor == 100 else 2
    texts = []
    for mean, low, high in rows[[COLUMNS[measure], f"{measure}_low", f"{measure}_high"]].to_numpy(float) * factor:
        known = f"{mean:.{digits}f}" if mean == mean else ""
        texts.append(known + (f" ({low:.{digits}f} to {high:.{digits}f})" if low == low else ""))
    return texts


def _computed(view: View) -> None:
    with page.control("details", "prediction"), st.expander("How was this computed?", icon=":material/function:"):
        st.markdown(
            f"A *case* is one probe beside the fine-tunes of {latex('q')}, {latex('k')} and {latex('v')} alone on the "
            "same task, examples and seed. A rule names one of the three; **points lost** is the metric of the best of "
            "the three minus that of the named one, after the last epoch, in percentage points. A **hit** is a named "
            "term that is the best, also together with others. **Tau** (Kendall's, variant b) compares the order of "
            "the three scores with that of the three metrics: 1 the same, −1 reversed; it is undefined where one side "
            "is all equal, and for a rule that ranks nothing.  \n"
            f"**Always** {latex('v')} needs no probe. **Random** is what drawing one of the three loses on average. "
            "Variants of an approach are drawn hollow.  \n"
            "Intervals are percentiles of 2,000 bootstrap means that draw whole seeds of a task and size, because the "
            "learning rates of a seed share examples and head; with few seeds they are rather too narrow.  \n"
            "*Each term at its best* takes the learning rate by the validation metric itself: a little too good, for "
            "all three."
        )
        null = null_terms(view.results)
        if null:
            names = ", ".join(latex(term) for term in null)
            st.markdown(
                f"{names} is null in this model: it scores 0 in a probe, and “alone” only the head and the pooler's "
                "bias learn. The choice is then between the other terms."
            )
