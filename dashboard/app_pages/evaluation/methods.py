"""Tab "Table 5": methods of fine-tuning against each other, ours and the paper's, as a picture and in two halves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from beft_core.reports import paper
from beft_core.reports import tables as of_sweeps
from beft_core.reports.methods.table import Comparison
from beft_core.reports.methods.table5 import TECHNIQUES, TITLES, models_of, plain, table5, verdicts
from beft_core.tasks.metrics import metric_in_words
from dashboard.app_pages.evaluation.tables import show_table
from dashboard.app_pages.evaluation.view import View
from dashboard.figures.methods import MethodMark, value_by_size
from dashboard.figures.parts.labels import as_written
from dashboard.result_tables.comparisons import pick_comparison
from dashboard.shared import page
from dashboard.shared.figure import show
from dashboard.shared.text import in_words

MODEL, TASK, SIZE, BESIDE = "methods_model", "methods_task", "methods_size", "methods_beside"
HALF, OPT = "methods_half", "methods_opt"
"""Keys of the lists of models, tasks, training examples and the paper's models, of the choice of a half and of the
switch for the sweep's own table; and their names in the URL.
"""
WHOLE_OPT = "whole_opt"
"""Key of the switch of that table for what only the paper has, and its name in the URL."""
PICTURES, NARROWEST = "methods-pictures", "17rem"
"""Key of the container of both pictures, and the width below which they stand below each other."""
PIXELS = (480, 190)
"""Widths of the marks of our picture and of the paper's in a window of 1280 pixels."""
SIZES: dict[str, float] = {"OPT-1.3B": 1.3e9, "OPT-6.7B": 6.7e9}
"""Parameters of the paper's models, of which it gives what each technique trains as a share."""


def table_5(view: View) -> None:
    """Draw the tab "Table 5"."""
    st.markdown(
        "What each method is worth over the values that it trains: all at one learning rate, as in the paper, and each "
        "at its own best, chosen on examples held out of the training set."
    )
    opened = pick_comparison()
    if opened is None:
        st.info(
            "No comparison of methods is here. One trains each method as often as the others and writes the table that "
            "this tab opens: `beft compare-methods --task sst2 --methods v q all lora prefix full --out methods`.",
            icon=":material/balance:",
        )
        show_table(of_sweeps.table5(view.whole.results, view.lr))
        return
    _comparison(opened.found, view.dark)
    with page.control("settings", "methods-opt"):
        also = st.toggle("Also OPT in the chosen sweep", key=OPT, bind="query-params")
    if also:
        show_table(of_sweeps.table5(view.whole.results, view.lr), WHOLE_OPT)


def _comparison(found: Comparison, dark: bool) -> None:
    models = models_of(found)
    with page.control("settings", "methods", horizontal=True):
        model = _choose("Model", models, MODEL, 230)
        here = found.rows[found.rows["model"] == model]
        task = _choose("Task", list(dict.fromkeys(here["task"])), TASK, 230)
        here = _of_size(here, task)
        theirs = paper.table5()
        known = [one for one in SIZES if plain(task) in set(theirs.loc[theirs["model"] == one, "task"])]
        beside = _choose("The paper's model", known, BESIDE, 170) if known else None
    own = Comparison(here.reset_index(drop=True), found.pairs.iloc[:0])
    for setting in TITLES:
        for sentence in verdicts(Comparison(own.rows[own.rows["task"] == task], own.pairs), setting):
            st.markdown(f"- {in_words(as_written(sentence))}")
    rows = own.done[own.done["task"] == task]
    # Where there is no room for both they stand below each other.
    st.html(f"<style>.st-key-{PICTURES} > div > .stHorizontalBlock > .stColumn {{ min-width: {NARROWEST}; }}</style>")
    with st.container(key=PICTURES):
        places = st.columns((2, 1) if beside is not None else 1)
    with places[0]:
        _ours(rows, model, task, dark)
    if beside is not None:
        with places[1]:
            _papers(theirs[(theirs["model"] == beside) & (theirs["task"] == plain(task))], beside, task, dark)
    st.caption(
        "Each method has one place along the axis; those with equally many trained values stand beside each other, and "
        "at *none* what trains no more than a head. ● biases, ◆ adapters, ⬢ single weights, ★ every weight, ✕ nothing. "
        "Bars are 95 % intervals over seeds and validation examples."
    )
    if lost := _without_number(own.rows[own.rows["task"] == task]):
        st.caption(f"Without a number: {in_words('; '.join(lost))}.")
    halves = {title: setting for setting, title in TITLES.items() if (own.rows["setting"] == setting).any()}
    with page.control("settings", "methods-half"):
        half = _half(list(halves))
    if half in halves:
        show_table(table5(own, model, halves[half], beside or next(iter(SIZES))))


def _without_number(rows: pd.DataFrame) -> list[str]:
    """List the methods that do not apply, or of which every fine-tune was lost, each with its reason."""
    lost = rows[rows["state"] != "done"]
    return list(dict.fromkeys(f"{row['label']}, {row['reason'] or 'no number'}" for row in lost.to_dict("records")))


def _half(titles: list[str]) -> str:
    """Draw the choice of a half of the table, the last one first."""
    if st.session_state.get(HALF) not in (None, *titles):
        del st.session_state[HALF]  # what another comparison had
    return str(
        st.segmented_control(
            "Table 5", titles, default=titles[-1] if titles else None, required=True, key=HALF, bind="query-params"
        )
    )


def _of_size(rows: pd.DataFrame, task: str) -> pd.DataFrame:
    """Keep the rows of one number of training examples, chosen where the task has several."""
    sizes = rows.loc[rows["task"] == task, "n_train"]
    if len(known := list(dict.fromkeys(map(_examples, sizes)))) < 2:
        return rows
    wanted = _choose("Training examples", known, SIZE, 150)
    return rows[(rows["task"] != task) | (rows["n_train"].map(_examples) == wanted)]


def _examples(count: float) -> str:
    return "all" if pd.isna(count) else f"{count:,.0f}"


def _ours(rows: pd.DataFrame, model: str, task: str, dark: bool) -> None:
    st.markdown(f"**Ours: {in_words(as_written(task))}, {in_words(model)}**")
    if rows.empty:
        st.caption("No method has a number.")
        return
    constants = rows["constant"].dropna()
    metric = metric_in_words(str(next(iter(rows["metric"].dropna()), "metric")))
    show(
        value_by_size(
            [_mark(row) for row in rows.to_dict("records")],
            metric,
            float(constants.iloc[0]) if len(constants) else None,
            dark,
            width=PIXELS[0],
        ),
        "methods",
        f"{metric} on {as_written(task)} of each method over the values that it trains",
        data=lambda: rows,
    )


def _mark(row: Mapping[str, Any]) -> MethodMark:
    known = not (pd.isna(row["low"]) or pd.isna(row["high"]))
    rate = "" if pd.isna(row["lr"]) else f"learning rate {row['lr']:g}, "
    seeds = 0 if pd.isna(row["seeds"]) else int(row["seeds"])
    return MethodMark(
        str(row["trains"]),
        0 if pd.isna(row["trained_parameters"]) else int(row["trained_parameters"]),
        float(row["value"]),
        float(row["low"]) if known else None,
        float(row["high"]) if known else None,
        row["setting"] == "same",
        f"{rate}{seeds} seed{'s' * (seeds != 1)}",
        str(row["label"] or ""),
    )


def _papers(rows: pd.DataFrame, model: str, task: str, dark: bool) -> None:
    st.markdown(f"**The paper's: {in_words(as_written(plain(task)))}, {model}**")
    marks = [
        MethodMark(
            TECHNIQUES.get(row["technique"], row["technique"]),
            0 if pd.isna(share := row["parameters_percent"]) else round(share / 100 * SIZES[model]),
            row["value"] / 100,
            paper=True,
            about="" if pd.isna(share) else f"{share:g} % of the model, as the paper has it",
            label=row["technique"],
        )
        for row in rows.dropna(subset=["value"]).to_dict("records")
    ]
    show(
        value_by_size(marks, "the paper's metric", None, dark, width=PIXELS[1]),
        "methods-paper",
        f"The paper's results on {as_written(plain(task))} with {model}, over the values that each technique trains",
        data=lambda: rows,
    )


def _choose(label: str, options: list[str], key: str, width: int) -> str:
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]  # what another comparison had
    return str(st.selectbox(label, options, key=key, bind="query-params", width=width))
