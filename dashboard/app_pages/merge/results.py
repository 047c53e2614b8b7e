"""What an evaluated merge is worth: a line, the form of the paper's Table 3, and the metrics along its parameter."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig
from beft_core.merging.kept import explained, in_words, kept
from beft_core.merging.result import BASE, MERGED, MergeResult, read_result
from beft_core.merging.shipped import read_evaluations
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import SUFFIX
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import TERM_KEYS
from dashboard.app_pages.merge import evaluation
from dashboard.app_pages.merge.choice import Choice
from dashboard.app_pages.merge.plane_scene import examples
from dashboard.content.samples import samples_folder
from dashboard.figures.merging import along_the_line
from dashboard.figures.parts import style
from dashboard.figures.parts.labels import as_written
from dashboard.figures.parts.style import latex
from dashboard.run_watch import card
from dashboard.shared import page, tour
from dashboard.shared.figure import offer_table, show
from dashboard.shared.text import plain


@dataclass(frozen=True)
class Shown:
    """Evaluation that the page shows: a run of this machine, or one that came with the samples."""

    config: MergeConfig
    result: MergeResult
    run: Run | None = None

    def is_of(self, choice: Choice | None) -> bool:
        """Say whether it is of the chosen fine-tunes, and of the chosen terms of them."""
        return self.is_of_others(choice) == ""

    def is_of_others(self, choice: Choice | None) -> str:
        """Write, as Markdown, what it is of, where that is not what is chosen; else empty."""
        if choice is None or self.config.sources != choice.contents:
            return " and ".join(f"*{plain(title)}*" for title in self.config.titles)
        merged = self.config.terms or choice.common
        return "" if set(merged) == set(choice.terms) else ", ".join(latex(term) for term in merged)


def found(run: Run | None, choice: Choice | None) -> Shown | None:
    """Find what to show: the evaluation that is watched, or that of the samples which fits the choice, or their first
    one. None where there is none, after saying why one cannot be read.
    """
    if run is not None:
        config = evaluation.config_of(run)
        try:
            if config is None:
                raise UserError("the run's configuration is damaged", "a merge", "evaluating it again")
            return Shown(config, read_result(run.result), run)
        except UserError as error:
            page.report(error, "This result cannot be read")
            return None
    try:
        shipped = _shipped()
    except UserError as error:
        page.report(error, "The evaluations of the samples cannot be read")
        return None
    fitting = [one for one in shipped if one.is_of(choice)]
    return next(iter(fitting or shipped), None)


def _shipped() -> list[Shown]:
    return [Shown(one.config, one.result) for one in read_evaluations(samples_folder())]


def with_plane(own: MergeResult | None, choice: Choice) -> MergeResult | None:
    """Find an evaluation of the choice that scored the plane: the one that is shown, else one of the samples."""
    if own is not None and own.plane:
        return own
    try:
        return next((one.result for one in _shipped() if one.is_of(choice) and one.result.plane), None)
    except UserError:
        return None  # reported above the choice


def answer(shown: Shown, choice: Choice | None) -> None:
    """Draw what a merge keeps of its fine-tunes: in a line, and in the form of the paper's Table 3."""
    config, result, run = shown.config, shown.result, shown.run
    if run is not None:
        tour.done("merge")
    shares = kept(result)
    keeps = as_written(in_words(shares))
    title = plain(as_written(evaluation.title(config)))
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"#### {title} {plain(keeps)}" if keeps else f"#### {title}", width="content")
        with st.container(horizontal=True, width="content"):
            _downloads(result, run)
            if run is not None:
                st.button(
                    "Close this result",
                    key="merge-close",
                    icon=":material/close:",
                    type="tertiary",
                    on_click=card.dismiss,
                    args=(evaluation.CARD,),
                )
    if others := shown.is_of_others(choice):
        st.info(f"This evaluation is of {others}, not of what is chosen below.", icon=":material/info:")
    for task, why in result.left_out.items():
        st.warning(f"**{plain(as_written(task))}** was left out: {plain(why)}", icon=":material/database_off:")
    st.markdown(_table(result))
    st.caption(f"{plain(as_written(explained(shares)), 900)} {_caption(result)}" if shares else _caption(result))


def _downloads(result: MergeResult, run: Run | None) -> None:
    with page.control("downloads", "merge-table", horizontal=True, width="content"):
        offer_table("The table (CSV)", lambda: table(result), "merge-table.csv", "merge-table-csv")
        if run is not None:
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


def along(shown: Shown | None, dark: bool) -> None:
    """Draw the metric of each task along the parameter of the merge, or how to have it scored."""
    if shown is None or not shown.result.line:
        st.caption("No line was scored. Choose one under *Mix and score*, and evaluate the merge.")
        return
    result = shown.result
    st.markdown(f"**{plain(as_written(_upper(result.parameter or '')))} against the metric of each task**")
    figure = along_the_line(result, sources(result), _colour(shown.config, dark), dark)
    show(figure, "merge-line", "Metric of each task along the parameter of the merge", data=lambda: line(result))
    st.caption(
        "The large point is the merge itself. Dashed: each fine-tune alone, on this task; dotted: the base model "
        "under the task's head."
    )


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
    head = [
        "",
        *(
            f"{plain(as_written(task))}  \n{plain(metric_in_words(about.metric))}"
            for task, about in result.tasks.items()
        ),
    ]
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
        name = {BASE: "Base model, nothing tuned", MERGED: "**Merged**"}.get(
            row, f"Fine-tuned on {plain(as_written(row))}"
        )
        lines.append(" | ".join([name, *(cell(row, task) for task in tasks)]))
    return "\n".join(f"| {text} |" for text in lines)


def _caption(result: MergeResult) -> str:
    return (
        f"In %, each row under each task's own head. Best of each column in bold. {examples(result)} "
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
