"""Curves of one run: loss, metric per epoch, and the scores of its terms growing step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from beft_core.scores.approaches import APPROACHES, score_words
from dashboard.figures.curves.progress import loss_curve, metric_curve, metric_names, score_lines
from dashboard.run_watch.live import live
from dashboard.shared import page
from dashboard.shared.figure import show
from dashboard.shared.text import plain

SCORE = "ft_score"
"""Name of the switch in the URL."""
if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

HALVES = "ft-curves"
"""Key of the container of two curves side by side; the page lets them wrap."""


def loss(records: Sequence[Mapping[str, Any]], run_id: str) -> None:
    """Draw the loss of a run at work, for cards that are a detail of their page."""
    if any(record["type"] == "step" for record in records):
        live(
            loss_curve(records, page.dark()), f"live-loss-{run_id}", "Training loss over the steps so far", page.dark()
        )


def everything(records: Sequence[Mapping[str, Any]], run_id: str, *, ended: bool) -> None:
    """Draw all curves that there are; once the run has ended, with their downloads."""
    kinds = {record["type"] for record in records}
    if "step" not in kinds:
        return
    dark = page.dark()

    def draw(figure: go.Figure, name: str, alt: str, data: Callable[[], pd.DataFrame]) -> None:
        if ended:
            show(figure, f"{name}-{run_id}", alt, data=data)
        else:
            live(figure, f"live-{name}-{run_id}", alt, dark)

    with st.container(key=HALVES):
        left, right = st.columns(2)
    with left:
        st.caption("Training loss")
        draw(
            loss_curve(records, dark),
            "loss",
            "Training loss over the steps so far",
            lambda: _table(records, "step", ("step", "loss")),
        )
    names = metric_names(records)
    with right:
        st.caption(
            f"Validation after each epoch: {', '.join(map(plain, names))}" if names else "Validation after each epoch"
        )
        if names:
            draw(
                metric_curve(records, dark),
                "metric",
                "Validation metrics after each epoch",
                lambda: _table(records, "epoch", ("epoch", "step", "train_loss", *names)),
            )
        else:
            st.caption(not_evaluated(records, ended))
    if "scores" not in kinds:
        return
    words = score_words()
    first = next(iter(words))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            "How far each bias term has come so far, mean over its layers: how much it *turned* (projection ratio) "
            "or how far it *moved* (Magnitude)."
        )
        chosen = st.segmented_control(
            "Score",
            list(words),
            default=first,
            required=True,
            key=SCORE,
            bind="query-params",
            label_visibility="collapsed",
            width="content",
        )
    approach = words.get(str(chosen), words[first])
    draw(
        score_lines(records, approach, dark),
        "scores",
        f"{APPROACHES[approach].label} of each bias term over the steps so far",
        lambda: _scores(records),
    )


def not_evaluated(records: Sequence[Mapping[str, Any]], ended: bool) -> str:
    """Write why there is no curve of a metric: a run may be evaluated once, after its last epoch, or never."""
    epochs = [record["epoch"] for record in records if record["type"] == "epoch"]
    if ended:
        return "Nothing was evaluated."
    if not epochs:
        return "No epoch has ended yet."
    count = f"{max(epochs)} epoch{'s have' if max(epochs) > 1 else ' has'} ended"
    return f"{count}. This run is scored after its last epoch only; one with `--evaluate epoch` has a curve here."


def _table(records: Sequence[Mapping[str, Any]], kind: str, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    rows = [record for record in records if record["type"] == kind]
    first = {"loss": lambda row: row["loss"][0]}
    return pd.DataFrame(
        [{name: first.get(name, lambda row, name=name: row.get(name))(row) for name in columns} for row in rows]
    )


def _scores(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {"step": record["step"], "term": term, "approach": approach, "score": score}
            for record in records
            if record["type"] == "scores"
            for term, scores in record["scores"].items()
            for approach, score in scores.items()
        ]
    )
