"""Section on what an evaluated merge is worth: the form of the paper's Table 3, and the line along its parameter."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig
from beft_core.merging.result import BASE, MERGED, MergeResult, read_result
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import SUFFIX
from beft_core.terms import TERM_KEYS
from dashboard.app_pages.merge import evaluation
from dashboard.app_pages.merge.choice import Choice
from dashboard.figures.merging import along_the_line
from dashboard.figures.parts import style
from dashboard.run_watch import card
from dashboard.shared import page, tour
from dashboard.shared.figure import offer_table, show
from dashboard.shared.text import plain


def results(run: Run, choice: Choice | None, dark: bool) -> MergeResult | None:
    """Draw the result of an evaluation; None, after saying why, if it cannot be read."""
    config = evaluation.config_of(run)
    try:
        if config is None:
            raise UserError("the run's configuration is damaged", "a merge", "evaluating it again")
        result = read_result(run.result)
    except UserError as error:
        page.report(error, "This result cannot be read")
        return None
    tour.done("merge")
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"#### {plain(evaluation.title(config))}")
        st.button(
            "Close this result",
            key="merge-close",
            icon=":material/close:",
            on_click=card.dismiss,
            args=(evaluation.CARD,),
        )
    if choice is None or config.sources != choice.contents:
        names = " and ".join(f"*{plain(title)}*" for title in config.titles)
        st.info(f"This evaluation is of {names}, not of what is chosen above.", icon=":material/info:")
    for task, why in result.left_out.items():
        st.warning(f"**{plain(task)}** was left out: {plain(why)}", icon=":material/database_off:")
    st.markdown(_table(result))
    st.caption(_caption(result))
    with page.control("downloads", "merge-table", horizontal=True, horizontal_alignment="right"):
        offer_table("The table (CSV)", lambda: table(result), "merge-table.csv", "merge-table-csv")
        st.download_button(
            "The merged snapshot",
            run.snapshot.read_bytes,
            f"merged-{run.id[-6:]}{SUFFIX}",
            "application/octet-stream",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key="merge-evaluated-snapshot",
        )
    if result.line:
        st.markdown(f"**{plain(_upper(result.parameter or ''))} against the metric of each task**")
        figure = along_the_line(result, sources(result), _colour(config, dark), dark)
        show(figure, "merge-line", "Metric of each task along the parameter of the merge", data=lambda: line(result))
        st.caption(
            "The large point is the merge itself. Dashed: each fine-tune alone, on this task; dotted: the base model "
            "under the task's head."
        )
    return result


def sources(result: MergeResult) -> list[str]:
    """List the rows that are fine-tunes."""
    return [row for row in result.rows if row not in (BASE, MERGED)]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _colour(config: MergeConfig, dark: bool) -> str:
    """Colour of the one term that is merged; of several, that of the text."""
    terms = config.terms or TERM_KEYS
    return style.TERM_COLOURS[terms[0]] if len(terms) == 1 else style.ink(dark)


def _table(result: MergeResult) -> str:
    """Write the Markdown table of a result; the best of each column, among all rows, is bold."""
    tasks = list(result.tasks)
    head = ["", *(f"{plain(task)}  \n{plain(about.metric)}" for task, about in result.tasks.items())]
    best = {
        task: max((v for row in result.rows.values() if (v := result.value(row, task)) is not None), default=None)
        for task in tasks
    }

    def cell(row: str, task: str) -> str:
        value = result.value(result.rows[row], task)
        if value is None:
            return "not finite"
        text = f"{100 * value:.1f}"
        return f"**{text}**" if value == best[task] else text

    lines = [" | ".join(part.replace("  \n", " ") for part in head), " | ".join([":--", *["--:"] * len(tasks)])]
    for row in result.rows:
        name = {BASE: "Base model, nothing tuned", MERGED: "**Merged**"}.get(row, f"Fine-tuned on {plain(row)}")
        lines.append(" | ".join([name, *(cell(row, task) for task in tasks)]))
    return "\n".join(f"| {text} |" for text in lines)


def _caption(result: MergeResult) -> str:
    sizes = ", ".join(
        f"{plain(task)} {about.examples}" + (f" of {about.available}" if about.examples < about.available else "")
        for task, about in result.tasks.items()
    )
    return (
        f"In %, each row under each task's own head. Best of each column in bold. Validation examples: {sizes}. "
        f"{result.evaluations} evaluations in {card.duration(result.seconds)} on {plain(result.device)}."
    )


def table(result: MergeResult) -> pd.DataFrame:
    """Table of all metrics of all rows, one metric a row."""
    return pd.DataFrame(
        {"model": row, "task": task, "metric": metric, "value": value}
        for row, scores in result.rows.items()
        for task, metrics in scores.items()
        for metric, value in metrics.items()
    )


def line(result: MergeResult) -> pd.DataFrame:
    """Table of all metrics of all points of the line, one metric a row."""
    return pd.DataFrame(
        {"parameter": result.parameter, "position": x, "task": task, "metric": metric, "value": value}
        for x, scores in result.line
        for task, metrics in scores.items()
        for metric, value in metrics.items()
    )
