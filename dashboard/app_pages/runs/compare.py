"""Comparison of the ticked runs: curves, results, the settings in which they differ, the spread over seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from beft_core.runs.compare import differences, spreads
from beft_core.runs.curves import TRAIN_LOSS, CurveReader
from beft_core.runs.overview import Overview, overview
from beft_core.runs.run import Run
from beft_core.training.observer import NOT_METRICS
from dashboard.app_pages.runs.table import BUSY_SECONDS
from dashboard.figures.curves.runs import MAX_POINTS, Line, looks, overlay
from dashboard.shared import address, page
from dashboard.shared.figure import show
from dashboard.shared.picker import TRY_CHOICE, TRY_EXAMPLES, TRY_TAB
from dashboard.shared.sources import run_title
from dashboard.shared.text import plain

if TYPE_CHECKING:
    import pandas as pd

_NAMED = ("kind", "mode", "terms", "task", "train_file", "seed")
"""Settings that the name of a run says already."""
METRIC = "curve"
"""Key of the switch between metrics, and its name in the URL."""


@st.cache_resource(max_entries=256, show_spinner=False)
def _reader(path: str) -> CurveReader:
    return CurveReader(Run(Path(path)))


def labels(runs: Sequence[Overview]) -> list[str]:
    """Write a short and unique name for each run: what people call it, else what differs from the others.

    Runs that train the same on the same task with the same seed are told apart by a setting or two, else by their ids.
    """
    parts = [(one.trains, one.task, one.seed) for one in runs]
    telling = [i for i, values in enumerate(zip(*parts, strict=True)) if len(set(values)) > 1] or [0]
    names = [
        one.about.name or ", ".join(filter(None, (own[i] for i in telling)))
        for one, own in zip(runs, parts, strict=True)
    ]
    for name in [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        same = [at for at, other in enumerate(names) if other == name]
        fields = {k: v for k, v in differences([runs[at] for at in same]).items() if k not in _NAMED}
        for place, at in enumerate(same):
            settings = [f"{field} {_words(values[place])[:24]}" for field, values in list(fields.items())[:2]]
            names[at] = ", ".join([name, *settings])
    return [
        name if names.count(name) == 1 else f"{name} ({one.id[-6:]})" for one, name in zip(runs, names, strict=True)
    ]


def curves(runs: Sequence[Overview]) -> None:
    """Draw loss and metric of all ticked fine-tunes over their steps; again by themselves while one is at work."""
    runs = [one for one in runs if one.row.has_curves]
    if not runs:
        return
    busy = any(one.status.active for one in runs)
    address.fragment(BUSY_SECONDS if busy else None)(_curves)([one.run for one in runs], busy)


def _curves(folders: Sequence[Run], busy: bool) -> None:
    runs = [overview(run) for run in folders]
    if any(one.status.active for one in runs) != busy:
        st.rerun()  # one has ended: the tables below change too
    drawn = [_reader(str(one.run.path)).read() for one in runs]
    look = looks([one.terms for one in runs])
    names = labels(runs)
    dark = page.dark()
    metrics = list(dict.fromkeys(name for each in drawn for name in each.metrics if name != TRAIN_LOSS))
    with st.grid(2, min_column_width=400, gap="medium"):
        with st.container():
            st.markdown("**Training loss**")
            if any(each.loss.steps for each in drawn):
                lines = [Line(n, each.loss, k) for n, each, k in zip(names, drawn, look, strict=True)]
                show(
                    overlay(lines, "loss", dark),
                    "runs-loss",
                    "Training loss of the ticked runs over their steps",
                    data=partial(_numbers, lines, "loss"),
                )
            else:
                st.caption("No step was trained yet.")
        with st.container():
            metric = _choose(metrics)
            if metric is None:
                st.markdown("**Validation metric**")
                st.caption("No epoch was scored yet.")
                return
            lines = [
                Line(n, each.metrics[metric], k)
                for n, each, k in zip(names, drawn, look, strict=True)
                if metric in each.metrics
            ]
            show(
                overlay(lines, metric, dark, marks=True),
                "runs-metric",
                f"{metric} of the ticked runs on the validation set, over their steps",
                data=partial(_numbers, lines, metric),
            )


def _choose(metrics: Sequence[str]) -> str | None:
    """Draw the heading, which is a switch where there are several metrics; return the metric."""
    if not metrics:
        return None
    st.markdown(
        "**Validation metric**" if len(metrics) > 1 else f"**Validation {plain(metrics[0].replace('_', ' '))}**"
    )
    if len(metrics) == 1:
        return metrics[0]
    return str(
        st.selectbox(  # whose options are no Markdown
            "Metric", metrics, key=METRIC, bind="query-params", label_visibility="collapsed", width=240
        )
    )


def _numbers(lines: Sequence[Line], what: str) -> pd.DataFrame:
    import pandas as pd

    parts = [pd.DataFrame({"run": one.label, "step": one.curve.steps, what: one.curve.values}) for one in lines]
    return pd.concat(parts, ignore_index=True)


def results(runs: Sequence[Overview]) -> None:
    """Draw the result of each run: metrics of its last scored epoch, and what it cost."""
    import pandas as pd

    st.subheader("Results", anchor=False)
    now = time.time()
    metrics = list(dict.fromkeys(name for one in runs for name in one.last if name not in NOT_METRICS))
    rows = [
        {
            "run": name,
            "state": one.status.state,
            "selects": f"b_{one.selected}" if one.selected else None,
            "fine-tunes": one.summary or None,
            **{metric: one.last.get(metric) for metric in metrics},
            "training loss": one.last.get("train_loss"),
            "epochs": one.last.get("epoch"),
            "seconds": one.seconds(now),
            "expected seconds": (one.about.estimate or {}).get("seconds"),
        }
        for one, name in zip(runs, labels(runs), strict=True)
    ]
    table = pd.DataFrame(rows).dropna(axis="columns", how="all")
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        alt="Results of the ticked runs",
        height="content",
        column_config={
            "run": st.column_config.TextColumn(pinned=True),
            **{name: number(format="%.4f") for name in (*metrics, "training loss")},
            **{name: number(format="%.1f") for name in ("seconds", "expected seconds")},
        },
    )


def example_by_example(runs: Sequence[Overview]) -> None:
    """Draw the link to where the ticked fine-tunes of one task are compared on each validation example."""
    asked = [one for one in runs if one.row.single and one.run.snapshot.is_file()]
    if len(asked) > 1 and len({one.task for one in asked}) == 1:
        st.page_link(
            page.file_of("try_it"),
            label="Compare them example by example: which ones did one fix or break, and by chance?",
            icon=":material/rule:",
            query_params={
                **page.kept(),
                TRY_CHOICE: [run_title(one.run) for one in asked[:6]],
                TRY_TAB: TRY_EXAMPLES,
            },
        )


def settings(runs: Sequence[Overview]) -> None:
    """Draw the settings that are not the same in all ticked runs."""
    import pandas as pd

    st.subheader("What differs between them", anchor=False)
    fields = differences(runs)
    if not fields:
        st.caption("Nothing: these runs have equal settings, the seed included.")
        return
    shown = {"run": labels(runs), **{name: [_words(v) for v in values] for name, values in fields.items()}}
    st.dataframe(
        pd.DataFrame(shown),
        hide_index=True,
        height="content",
        alt="Settings in which the ticked runs differ",
        column_config={"run": st.column_config.TextColumn(pinned=True)},
    )
    st.caption("Settings that presets fill in are shown as they were used; every other setting is the same.")


def _words(value: Any) -> str:
    if value is None or value == []:
        return "–"
    return (
        " ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def seeds(runs: Sequence[Overview]) -> None:
    """Draw mean and spread of runs that are equal but for the seed."""
    import pandas as pd

    groups = spreads(runs)
    if not groups:
        return
    st.subheader("Spread over seeds", anchor=False)
    names = _group_names([group.runs[0] for group in groups])
    st.dataframe(
        pd.DataFrame(
            {
                "setting": names,
                "metric": [group.metric for group in groups],
                "mean": [group.mean for group in groups],
                "std": [group.std for group in groups],
                "n": [len(group.runs) for group in groups],
                "seeds": [", ".join(map(str, group.seeds)) for group in groups],
            }
        ),
        hide_index=True,
        height="content",
        alt="Mean and standard deviation over seeds",
        column_config={name: st.column_config.NumberColumn(format="%.4f") for name in ("mean", "std")},
    )
    st.caption(
        "Over ticked runs that are done and equal in every setting but the seed; std with n − 1 in the denominator. "
        "Of two runs with the same seed the newer one counts."
    )


def _group_names(first: Sequence[Overview]) -> list[str]:
    """Name groups by the settings that differ between them, else by what they train."""
    fields = {name: values for name, values in differences(first).items() if name != "seed"}
    names = [f"{one.trains} on {one.task}" for one in first]
    extra = {name: values for name, values in fields.items() if name not in ("terms", "mode", "task", "kind")}
    return [
        ", ".join([name, *(f"{field} {_words(values[i])}" for field, values in extra.items())])
        for i, name in enumerate(names)
    ]


def explained() -> None:
    """Draw how the numbers of the page came about."""
    with page.control("details", "runs"), st.expander("How was this computed?", icon=":material/function:"):
        st.markdown(
            "**Training loss**: mean over the steps since the point before, of the batches as they were trained "
            f"(dropout on). A curve shows at most {MAX_POINTS} points of a run: of each stretch of steps the smallest "
            "and the largest, so no peak is lost; the CSV has all.  \n"
            "**Result**: the task's first metric on its validation set, after the last epoch that was scored.  \n"
            "**Seconds**: from the run's turn on the device to its end, loading and scoring included.  \n"
            "**Spread**: mean and sample standard deviation over the seeds of runs that are equal in every other "
            "setting, among the ticked ones only.  \n"
            "Seed, versions and device of a run are in its snapshot and in the download."
        )
