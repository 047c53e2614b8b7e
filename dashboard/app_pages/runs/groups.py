"""Groups of fine-tunes by task or by what is trained: the best and the mean of each, in a sentence and in a table."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from beft_core.runs.compare import Group, groups
from beft_core.runs.overview import Overview
from beft_core.tasks.metrics import metric_in_words
from dashboard.figures.parts.labels import as_written
from dashboard.figures.parts.style import latex, tinted
from dashboard.shared.text import in_words, plain

GROUP = "group"
"""Key of the choice of groups, and its name in the URL."""
TASK, TERM = "Task", "What is trained"
"""Values of the choice, on the page and in the URL."""
MAX_SAID = 3
"""Most tasks that the sentence names; the table has all."""


def choose() -> None:
    """Draw the choice of groups."""
    st.segmented_control("Group by", [TASK, TERM], key=GROUP, bind="query-params")


def answer(runs: Sequence[Overview]) -> None:
    """Draw what is best on each task, in one sentence; nothing where no fine-tune of a task was scored."""
    with st.container():  # always there, so that what follows keeps its place
        if text := sentence(runs, trained=st.session_state.get(GROUP) == TERM):
            st.markdown(text)


def sentence(runs: Sequence[Overview], *, trained: bool = False) -> str:
    """Write, as Markdown, how many fine-tunes of these are done, and on each task the best of them and their mean.

    With ``trained`` the sentence names the trained term with the highest mean instead of the best run.
    """
    found = groups(runs, trained=trained)
    if not found:
        return ""
    number = sum(len(group.runs) for group in found)
    tasks = len({(group.task, group.table) for group in found})
    kinds = f" of {_count(len({group.trains for group in found}), 'kind')}" if trained else ""
    first: dict[tuple[str, str, str], Group] = {}
    for group in found:  # the first of a task has the highest mean
        first.setdefault((group.task, group.metric, group.table), group)
    said = [(_best_term if trained else _best_run)(group) for group in list(first.values())[:MAX_SAID]]
    more = len(first) - len(said)
    return (
        f"**{_count(number, 'fine-tune')}{kinds} on {_count(tasks, 'task')}.** "
        + f"{'Highest mean' if trained else 'Best'} {'; '.join(said)}"
        + (f"; and {more} more." if more else ".")
    )


def _best_run(group: Group) -> str:
    mean = f" (mean of {len(group.runs)}{_apart(group)}: {group.mean:.3f})" if len(group.runs) > 1 else ""
    return f"{_on_task(group, group.best.value)}{mean}"


def _best_term(group: Group) -> str:
    best = f" over {len(group.runs)}{_apart(group)}, best {group.best.value:.3f}" if len(group.runs) > 1 else ""
    return f"{_on_task(group, group.mean)}{best}"


def _apart(group: Group) -> str:
    """Name the base models, where a mean is over several: whatever else it is over stands in the table."""
    models = dict.fromkeys(str(one.config.get("model", "")) for one in group.runs)
    return f" on {len(models)} models" if len(models) > 1 else ""


def _on_task(group: Group, value: float | None) -> str:
    metric = plain(metric_in_words(group.metric), 40)
    return f"on {plain(as_written(group.task), 60)}: {_trains(group.best)} {value:.3f} {metric}"


def _trains(one: Overview) -> str:
    """Write what a run trains; a single term in its colour."""
    return tinted(one.terms[0], latex(one.terms[0])) if len(one.terms) == 1 else in_words(one.trains_briefly)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def table(runs: Sequence[Overview]) -> None:
    """Draw a row for each group, where groups are chosen."""
    import pandas as pd

    by = st.session_state.get(GROUP)
    with st.container():  # always there, so that the table of runs keeps its place
        found = groups(runs, trained=by == TERM) if by in (TASK, TERM) else []
        if not found:
            return
        number = st.column_config.NumberColumn
        st.dataframe(
            pd.DataFrame(
                {
                    "task": [group.task for group in found],
                    **({"trained": [group.trains for group in found]} if by == TERM else {}),
                    "metric": [group.metric for group in found],
                    "runs": [len(group.runs) for group in found],
                    "mean": [group.mean for group in found],
                    "best": [group.best.value for group in found],
                    "best run": [_of(group.best) for group in found],
                    "averaged over": [", ".join(group.varied) for group in found],
                }
            ),
            hide_index=True,
            placeholder="–",
            alt=f"Mean and best of fine-tunes by {str(by).lower()}",
            height=(min(len(found), 6) + 1) * 35 + 3,
            column_config={
                "runs": number(help="Fine-tunes that are done and scored, of those that the filters let through."),
                "mean": number(format="%.3f"),
                "best": number(format="%.3f"),
                "averaged over": st.column_config.TextColumn(
                    help="Settings that differ between the runs of the group."
                ),
            },
        )


def _of(one: Overview) -> str:
    return f"{one.id[-6:]} {one.about.name or one.trains_briefly}"
