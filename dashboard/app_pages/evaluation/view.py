"""Parts that the tabs of the evaluation share: the choices above them, lists of tasks and regimes, words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from beft_core.models.source import BUNDLED
from beft_core.reports import paper
from beft_core.reports.seed_means import LrChoice, Runs
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import TERMS
from dashboard.content.trained_alone import task_title
from dashboard.figures.parts.style import symbol
from dashboard.result_tables.source import OpenTable, of_model
from dashboard.shared import page
from dashboard.shared.text import exact, plain

MODEL, RATE, TASK, REGIME = "of_model", "rate", "on_task", "on_regime"
"""Keys of the controls, and their names in the URL."""
UNRATED = "unrated"
"""Key of the container of the list of learning rates where the open tab does not depend on it; page.css hides it."""
RATES: dict[str, str] = {"best": "each at its best", "same": "the best for b_v"}
"""Choices of the learning rate, in words. Every learning rate of the table can be chosen too."""


NARROW = 170
"""Width in pixels of the lists beside that of the tables."""


@dataclass(frozen=True)
class View:
    """Result table, and the choices that the tabs show it by."""

    whole: OpenTable
    """Result table of all models."""
    table: OpenTable
    """Result table of the chosen model."""
    model: str
    lr: LrChoice
    dark: bool

    @property
    def results(self) -> pd.DataFrame:
        """Rows of the chosen model."""
        return self.table.results

    @property
    def runs(self) -> Runs:
        """Fine-tunes of the chosen model."""
        return _runs(self.table.token, self.results)

    def metric(self, task: str) -> str:
        """Name the metric that counts for a task."""
        return metric_in_words(self.runs.metric(task)) or "metric"


@st.cache_resource(max_entries=8, show_spinner=False)
def _runs(token: str, _results: pd.DataFrame) -> Runs:
    """Make the means of a table once for all sessions and reruns; nobody changes them."""
    return Runs(_results)


def choose_view(opened: OpenTable, rated: bool) -> View:
    """Draw the lists of models, where the table has several, and of learning rates.

    ``rated``: whether the open tab depends on the learning rate; else the list is not to be seen, but there, so that
    the URL keeps it.

    Raises:
        UserError: not a result table.
    """
    models = _runs(opened.token, opened.results).models
    rates = [*RATES, *map(exact, sorted(set(opened.results["lr"])))]
    with page.control("settings", "evaluation", horizontal=True):
        model = models[0]
        if len(models) > 1:
            model = _list("Model", models, MODEL, width=NARROW)
        with st.container(key="rated" if rated else UNRATED, width="content"):
            rate = _list(
                "Learning rate",
                rates,
                RATE,
                words=lambda rate: RATES.get(rate, rate),
                help="Which fine-tunes stand in the figures and tables of the first tabs. The best is chosen on the "
                "validation set, so those numbers are a little too good, for all alike.",
                width=NARROW,
            )
    lr: LrChoice = "best" if rate == "best" else "same" if rate == "same" else float(rate)
    return View(opened, of_model(opened, model), model, lr, page.dark())


def choose_task(view: View) -> str:
    """Draw the list of tasks, the same by its key in every tab; return the chosen one."""
    return _list("Task", in_order(view.runs.tasks(view.model)), TASK, words=task_title, width=320)


def in_order(tasks: Iterable[str]) -> list[str]:
    """Sort tasks: those of the paper in its order, SST-2 (Fig. 1) first, then the others as they come."""
    given = list(dict.fromkeys(tasks))
    known = [task for task in paper.tasks("table1") if task in given]
    return known + [task for task in given if task not in known]


def short_title(task: str) -> str:
    """Write a task as the paper does, ``SST-2`` for ``sst2``; others keep their registered name."""
    return paper.task_labels().get(task, task)


def choose_regime(view: View, task: str) -> str:
    """Draw the list of the task's regimes; return the chosen one."""
    return _list("Training examples", view.runs.regimes(view.model, task), REGIME)


def _list(
    label: str,
    options: list[str],
    key: str,
    words: Callable[[str], str] = str,
    help: str | None = None,
    width: int = 230,
) -> str:
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]  # what another table had
    return str(st.selectbox(label, options, key=key, bind="query-params", width=width, help=help, format_func=words))


def on_demand(key: str, title: str, draw: Callable[[], None]) -> None:
    """Draw a box with more of a tab, drawn once it is open. ``key``: of the box, and its name in the URL."""
    with st.expander(title, key=key, on_change="rerun", bind="query-params") as box:
        if box.open:
            draw()


def model_in_words(name: str) -> str:
    """Write the name of a model as Markdown; of the one that comes with the lab, that it is a model."""
    return f"{plain(name, 60)}{' model' * (name == BUNDLED)}"


def in_html(text: str) -> str:
    """Set symbols such as b_q in a sentence of HTML that is escaped already."""
    for term, about in TERMS.items():
        text = text.replace(about.symbol, symbol(term))
    return text
