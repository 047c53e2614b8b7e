"""Tab "Over data sizes": everything on the shelf that repeats the chosen probe on more or less data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from beft_core.errors import UserError
from beft_core.methods import method_of
from beft_core.scores.regimes import (
    Measured,
    last_metric,
    metrics_alone,
    metrics_of,
    one_per_seed,
    only_term,
    over_regimes,
    same_experiment,
    same_task,
)
from beft_core.scores.table import FROM_ZERO
from beft_core.snapshots.snapshot import SnapshotMeta, read_snapshot
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import TERMS
from dashboard.content.trained_alone import kept_alone, task_title
from dashboard.figures.parts.labels import in_figures
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex
from dashboard.figures.regimes import ALT, regimes
from dashboard.shared import page
from dashboard.shared.answer_card import variant_switches
from dashboard.shared.figure import show
from dashboard.shared.sources import Opened, Source, open_source, shelf
from dashboard.shared.text import plain

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("rank", "score")
"""Quantities that a point's height can mean."""
FEW = 2
"""Most data sizes beside which the names of lines are written out."""
HEIGHT = "height"
"""Key of the choice between them, and its name in the URL."""


@dataclass(frozen=True)
class Family:
    """Probe with its relatives on the shelf."""

    probes: list[Opened]
    """Probes by the same fine-tune on other data sizes and seeds, the chosen one included."""
    alone: list[SnapshotMeta]
    """Fine-tunes of one candidate alone, of the same model and task."""
    others: int
    """Probes of all biases, of the same model and task that were left out, because other settings differ."""


def family(opened: Opened) -> Family:
    """Find the relatives of a probe; of a fine-tune of one term, those of the first probe of its model and task."""
    known = [(source, meta) for source, meta in _metas() if same_task(meta, opened.meta)]
    alone = kept_alone(meta for _, meta in known)
    everything = [(source, meta) for source, meta in known if method_of(meta.mode).every_bias]
    like = opened.meta if method_of(opened.meta.mode).every_bias else next((meta for _, meta in everything), None)
    if like is None:
        return Family([], alone, 0)
    same = [(source, meta) for source, meta in everything if same_experiment(meta, like)]
    kept = [same[at][0] for at in one_per_seed([meta for _, meta in same])]
    return Family(list(_readable(kept)), alone, len(everything) - len(same))


def on_shelf() -> list[SnapshotMeta]:
    """Read what everything on the shelf says of itself."""
    return [meta for _, meta in _metas()]


def over_data_sizes(opened: Opened, stack: str, dark: bool) -> None:
    """Draw the tab "Over data sizes"."""
    relatives = family(opened)
    task = plain(task_title(opened.meta.task))
    rows = over_regimes([(probe.meta, probe.scores) for probe in relatives.probes], stack)
    if rows.empty:
        st.info(
            f"There is no all-bias probe of {task} with this model on the shelf. Run one, or open its snapshots: what "
            "repeats one experiment on more or less data is drawn here by itself.",
            icon=":material/info:",
        )
        return
    sizes = sorted(set(rows["n_train"]))
    seeds = {size: int(rows[rows["n_train"] == size]["seeds"].max()) for size in sizes}
    st.markdown(
        f"**{task}** on "
        + ", ".join(f"{size:,} ({seeds[size]} seed{'s' * (seeds[size] > 1)})" for size in sizes)
        + " training examples. Strong lines are the three terms that can be selected, pale ones the others; bars and "
        "bands show the spread over seeds. A good approach ranks highest the term that does best alone."
    )
    with page.control("settings", "regimes", horizontal=True):
        approaches, y = switches()
    probes, alone = metrics_of([probe.meta for probe in relatives.probes]), metrics_alone(relatives.alone)
    null = [term for term in opened.meta.null_terms if term in TERMS]
    metric = in_figures(metric_in_words(opened.meta.metric or "metric"))
    draw("regimes", rows, approaches, y, metric, probes, alone, null, dark)
    if len(sizes) == 1:
        st.caption(
            ":material/info: Only one data size so far. Fine-tune all biases on other regimes with the same settings, "
            "and lines grow here."
        )
    if relatives.others:
        st.caption(
            f":material/filter_alt: {relatives.others} more of this task left out: their settings differ in more than "
            "seed and data size."
        )
    notes = (note for probe in relatives.probes for note in probe.scores.notes if FROM_ZERO in note)
    for note in dict.fromkeys(notes):
        st.caption(f":material/info: Not drawn: {plain(note, 300)}.")
    _say_alone(alone, opened.meta.metric or "metric")
    _computed(relatives, null)


def switches() -> tuple[list[str], str]:
    """Draw the variants of the approaches and what a point's height means; return the approaches and the latter."""
    approaches = variant_switches()
    y = st.segmented_control("Height", LEVELS, default=LEVELS[0], required=True, key=HEIGHT, bind="query-params")
    return list(approaches), str(y)


def draw(
    name: str,
    rows: pd.DataFrame,
    approaches: Sequence[str],
    y: str,
    metric: str,
    probes: Sequence[Measured],
    alone: Sequence[Measured],
    null: Sequence[str],
    dark: bool,
) -> None:
    """Draw ranks or scores over data sizes with the metric beside them, of snapshots and of result tables alike.

    ``name``: key of the chart on the page and name of its files; the others: of ``dashboard.figures.regimes.regimes``.
    """
    shown = [key for key in approaches if key in set(rows["approach"])]
    figure = regimes(rows, shown, metric, probes, alone, null, y, dark)
    if rows["n_train"].nunique() > FEW:  # then there is no room for words beside the lines
        figure.for_each_annotation(lambda one: one.update(text=str(one.text).removesuffix(" alone")))
    show(figure, name, ALT, data=lambda: rows)


def _say_alone(alone: Sequence[Measured], metric: str) -> None:
    for size in sorted({m.n_train for m in alone}):
        here = sorted((m for m in alone if m.n_train == size), key=lambda m: -m.mean)
        values = ", ".join(f"{latex(m.term or '')} {short(m.mean)}{' (frozen)' * m.frozen}" for m in here)
        st.caption(f"Trained alone on {size:,} examples, {plain(metric_in_words(metric))}: {values}.")


def _computed(relatives: Family, null: Sequence[str]) -> None:
    with page.control("details", "regimes"), st.expander("How was this computed?", icon=":material/function:"):
        st.markdown(
            "Each point is the mean over seeds of a term's score (the mean over layers); its rank is that of the mean "
            "among all terms that were scored, as in Fig. 1 and Fig. 4 of the paper. Bars and bands reach from the "
            "best to the worst rank of a seed; with *Score*, one standard deviation over seeds (n − 1) each way; for "
            "the metric, from the lowest to the highest seed. Metrics are those after the last epoch. Probes belong "
            "together when base model, task, mode, trained terms and all settings but the seed and the amount of data "
            "agree. A term trained alone may have a learning rate of its own."
        )
        if null:
            names = ", ".join(latex(term) for term in null)
            st.markdown(f"{names} is null in this model (dotted): it stays frozen in a probe and scores 0.")
        metas = [*(probe.meta for probe in relatives.probes), *relatives.alone]
        titles = [*(probe.title for probe in relatives.probes), *("" for _ in relatives.alone)]
        values = [last_metric(meta) for meta in metas]
        st.dataframe(
            {
                "snapshot": titles,
                "trained": [only_term(meta) or meta.mode for meta in metas],
                "examples": [meta.n_train for meta in metas],
                "seed": [meta.seed for meta in metas],
                "learning rate": [meta.hyperparameters.get("lr") for meta in metas],
                "metric": [None if value is None else round(value, 4) for value in values],
                "device": [meta.device for meta in metas],
                "beft-lab": [meta.versions.get("beft-lab") for meta in metas],
            },
            hide_index=True,
            alt="Snapshots behind the figure",
            height="content",
        )


def _metas() -> Iterator[tuple[Source, SnapshotMeta]]:
    """Read the header of everything on the shelf; what cannot be read is passed over."""
    for source in shelf()[0]:
        try:
            if source.path is None:
                yield source, source.read().meta
            else:
                stat = source.path.stat()
                yield source, _meta(str(source.path), stat.st_mtime_ns, stat.st_size)
        except (UserError, OSError):
            continue  # the list of snapshots reports what is wrong with it when it is chosen


@st.cache_data(max_entries=1000, show_spinner=False)
def _meta(path: str, mtime: int, size: int) -> SnapshotMeta:
    return read_snapshot(path).meta


def _readable(sources: Sequence[Source]) -> Iterator[Opened]:
    for source in sources:
        try:
            yield open_source(source)
        except UserError:
            continue
