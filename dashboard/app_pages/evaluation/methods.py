"""Tab "Table 5": methods of fine-tuning against each other, ours and the paper's, as a picture and in two halves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from beft_core.reports import paper
from beft_core.reports import tables as of_sweeps
from beft_core.reports.methods import repeats
from beft_core.reports.methods.conditions import mixed
from beft_core.reports.methods.table import SETTINGS, Comparison
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
SHOW = "methods_half"
"""Keys of the lists of models, tasks, training examples and the paper's models, and of the choice of what is looked at;
and their names in the URL.
"""
PICTURE, OF_SWEEP = "the picture", "OPT in the sweep"
"""What can be looked at besides the halves of the table."""
PICTURES, NARROWEST = "methods-pictures", "17rem"
"""Key of the container of both pictures, and the width below which they stand below each other."""
PIXELS = (480, 190)
"""Widths of the marks of our picture and of the paper's in a window of 1280 pixels."""
SIZES: dict[str, float] = {"OPT-1.3B": 1.3e9, "OPT-6.7B": 6.7e9}
"""Parameters of the paper's models, of which it gives what each technique trains as a share."""


def table_5(view: View) -> None:
    """Draw the tab "Table 5"."""
    answer = st.container()  # above the lists that it depends on
    with st.container(horizontal=True, vertical_alignment="bottom"):
        lists = st.container(width="content")
        opener = st.container(width="content")
    with st.container():  # always there, so that what follows keeps its place
        opened = pick_comparison(opener)
    if opened is None:
        st.info(
            "No comparison of methods is here. One trains each method as often as the others and writes the table that "
            "this tab opens: `beft compare-methods --task sst2 --methods v q all lora prefix full --out methods`.",
            icon=":material/balance:",
        )
        show_table(of_sweeps.table5(view.whole.results, view.lr))
        return
    with lists, page.control("settings", "methods", horizontal=True):
        chosen = _chosen(opened.found)
    with answer:
        _verdicts(chosen)
    halves = {title: setting for setting, title in TITLES.items() if (chosen.own.rows["setting"] == setting).any()}
    with page.control("settings", "methods-shown"):
        shown = _shown([PICTURE, *halves, OF_SWEEP])
    if shown == OF_SWEEP:
        show_table(of_sweeps.table5(view.whole.results, view.lr))
    elif shown in halves:
        show_table(table5(chosen.own, chosen.model, halves[shown], chosen.beside or next(iter(SIZES))))
    else:
        _pictures(chosen, halves.values(), view.dark)


@dataclass(frozen=True)
class _Chosen:
    """Part of a comparison that is looked at."""

    own: Comparison
    """Rows of the model, and of one number of examples of the task."""
    model: str
    task: str
    beside: str | None
    """The paper's model; None where it has no number on the task."""

    @property
    def of_task(self) -> Comparison:
        """Rows of the task."""
        return Comparison(self.own.rows[self.own.rows["task"] == self.task], self.own.pairs)


def _chosen(found: Comparison) -> _Chosen:
    """Draw the lists of models, tasks, training examples and the paper's models, each where it has several."""
    model = _choose("Model", models_of(found), MODEL, 200)
    here = found.rows[found.rows["model"] == model]
    task = _choose("Task", list(dict.fromkeys(here["task"])), TASK, 200)
    own = Comparison(_of_size(here, task).reset_index(drop=True), found.pairs.iloc[:0], found.left_out)
    theirs = paper.table5()
    known = [one for one in SIZES if plain(task) in set(theirs.loc[theirs["model"] == one, "task"])]
    return _Chosen(own, model, task, _choose("The paper's model", known, BESIDE, 170) if known else None)


def _verdicts(chosen: _Chosen) -> None:
    """Draw whether LoRA collapses on the task; what the tab is about, where it was not trained."""
    said = [sentence for setting in TITLES for sentence in verdicts(chosen.of_task, setting)]
    st.markdown(
        "\n".join(f"- {in_words(as_written(sentence))}" for sentence in said)
        or "What each method is worth over the values that it trains: all at one learning rate, as in the paper, and "
        "each at its own best."
    )


def _pictures(chosen: _Chosen, settings: Iterable[str], dark: bool) -> None:
    """Draw what each method is worth over the values that it trains, ours and beside it the paper's."""
    theirs, task, beside = paper.table5(), chosen.task, chosen.beside
    # Where there is no room for both they stand below each other.
    st.html(f"<style>.st-key-{PICTURES} > div > .stHorizontalBlock > .stColumn {{ min-width: {NARROWEST}; }}</style>")
    with st.container(key=PICTURES):
        places = st.columns((2, 1) if beside is not None else 1)
    with places[0]:
        _ours(chosen.of_task.done, chosen.model, task, dark)
    if beside is not None:
        with places[1]:
            _papers(theirs[(theirs["model"] == beside) & (theirs["task"] == plain(task))], beside, task, dark)
    st.caption(
        "● biases, ◆ adapters, ⬢ single weights, ★ every weight, ✕ nothing. Bars: 95 % intervals over seeds and "
        "validation examples; one that ends in a triangle goes on."
    )
    with page.control("details", "methods"), st.expander("How was this computed?", icon=":material/function:"):
        notes = [SETTINGS[setting] for setting in settings]
        notes.append(
            "Each method has one place along the axis; those with equally many trained values stand beside each other, "
            "and at *none* what trains no more than a head."
        )
        notes += [f"Without a number: {in_words(one)}." for one in _without_number(chosen.of_task.rows)]
        for setting, title in TITLES.items():
            own = chosen.of_task.rows
            notes += [f"{in_words(one)}, {title}." for one in mixed(own[own["setting"] == setting])]
        if left_out := repeats.in_words(chosen.own.left_out):
            notes.append(f"Left out: {in_words(left_out)}.")
        st.markdown("\n".join(f"- {note}" for note in notes))


def _without_number(rows: pd.DataFrame) -> list[str]:
    """List the methods that do not apply, or of which every fine-tune was lost, each with its reason."""
    lost = rows[rows["state"] != "done"]
    return list(dict.fromkeys(f"{row['label']}, {row['reason'] or 'no number'}" for row in lost.to_dict("records")))


def _shown(titles: list[str]) -> str:
    """Draw the choice of what is looked at, the picture first."""
    if st.session_state.get(SHOW) not in (None, *titles):
        del st.session_state[SHOW]  # what another comparison had
    return str(st.segmented_control("Show", titles, default=titles[0], required=True, key=SHOW, bind="query-params"))


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
            same=True,
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
    if len(options) == 1:
        return options[0]
    return str(st.selectbox(label, options, key=key, bind="query-params", width=width))
