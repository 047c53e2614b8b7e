"""Sections of the HTML report; ``templates/report.html`` holds the words and the order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from beft_core.reports import paper, pictures
from beft_core.reports.claims.table import headline
from beft_core.reports.claims.verdicts import RULE
from beft_core.reports.contents import Contents
from beft_core.reports.html_parts import ENVIRONMENT, NOTHING
from beft_core.reports.selection import in_words, prediction
from beft_core.scores.approaches import APPROACHES
from beft_core.terms import CANDIDATES, TERM_KEYS

TITLE = "BEFT: the paper's tables, measured again"
TERMS_SHOWN: tuple[str, ...] = ("v", "q", "k", "all")
"""Trained terms that section 3.4 compares."""

Texts = Sequence[str]
"""Row of a table: plain texts, which the template escapes, and pictures (Markup)."""
Titled = tuple[str, Texts, list[Texts]]
"""Table with its title: (title, names of the columns, rows)."""


def html(found: Contents) -> str:
    """Render a report as one document that fetches nothing."""
    return ENVIRONMENT.get_template("report.html").render(
        title=TITLE,
        facts=found.facts,
        versions=paper.VERSIONS,
        claims={
            "headline": headline(found.claims),
            "rule": RULE,
            "rows": [
                (one.claim.says, one.claim.paper, str(one.finding.verdict), one.finding.numbers, one.finding.trivial)
                for one in found.claims
            ],
        },
        tables=found.tables,
        halves=[*found.tables.get("table5-same", ()), *found.tables.get("table5-best", ())],
        collapse=found.collapse,
        verdict=found.verdict,
        prediction=_prediction(found.series["prediction"]),
        settling=_settling(found.series["settling"]),
        figures=rank_charts(found.series["figure4"]),
        score_vs_lr=rate_tables(found.series["score_vs_lr"]),
        metric_vs_epoch=epoch_tables(found.series["metric_vs_epoch"]),
    )


def _prediction(summary: pd.DataFrame) -> dict[str, Any]:
    """Make the notes, the rows of all cases together, and those of each task with the regime first."""
    pooled = (summary["task"] == prediction.POOLED) & (summary["regime"] == prediction.POOLED)
    return {
        "draws": in_words.DRAWS[summary["draws"].iloc[-1]] if len(summary) else "",
        "baselines": " ".join(in_words.BASELINE_NOTES),
        "shared": in_words.shared_rows(summary),
        "head": in_words.HEAD,
        "pooled": in_words.rows(summary[pooled]),
        "tasks": [
            (
                task,
                [
                    (str(regime), *row)
                    for regime, here in group.groupby("regime", sort=False)
                    for row in in_words.rows(here)
                ],
            )
            for task, group in summary[~pooled].groupby("task", sort=False)
        ],
    }


def _settling(table: pd.DataFrame) -> list[Texts]:
    return [
        (
            str(row.task),
            str(row.regime),
            APPROACHES[str(row.approach)].label,
            str(row.n),
            f"{100 * row.median:.0f} %",
            f"{100 * row.q90:.0f} %",
        )
        for row in table.itertuples(index=False)
    ]


def rank_charts(figure: pd.DataFrame) -> list[tuple[str, list[Markup]]]:
    """Draw the charts of ranks by approach, and last of what each term alone achieves, for each task and model."""
    found = []
    for (model, task), group in figure.groupby(["model", "task"], sort=False):
        steps = [str(regime) for regime in group["regime"].unique()]
        of = group.set_index(["approach", "term", "regime"])
        charts = []
        for approach in group["approach"].unique():
            lines = {
                term: [_point(of, (approach, term, step), ("rank", "rank_min", "rank_max")) for step in steps]
                for term in CANDIDATES
            }
            charts.append(pictures.chart(APPROACHES[str(approach)].label, steps, lines, len(TERM_KEYS)))
        first = group["approach"].iloc[0]
        values = {term: [_value(of, (first, term, step)) for step in steps] for term in CANDIDATES}
        charts.append(pictures.chart("metric alone, %", steps, values, 0))
        found.append((f"{task} on {model}", charts))
    return found


def _point(of: pd.DataFrame, at: tuple[str, str, str], names: tuple[str, str, str]) -> tuple[float, float, float]:
    if at not in of.index:
        return (math.nan,) * 3
    value, low, high = (float(of.loc[at, name]) for name in names)
    return value, low, high


def _value(of: pd.DataFrame, at: tuple[str, str, str]) -> tuple[float, float, float]:
    if at not in of.index:
        return (math.nan,) * 3
    value, spread = float(of.loc[at, "value"]), float(of.loc[at, "value_std"])
    spread = 0.0 if math.isnan(spread) else spread
    return value, value - spread, value + spread


def rate_tables(table: pd.DataFrame) -> list[Titled]:
    """Make a table with the metric of a term at each learning rate, its scores, and a line over the learning rates."""
    found: list[Titled] = []
    for (model, task), group in table.groupby(["model", "task"], sort=False):
        lrs = sorted(group["lr"].unique())
        rows: list[Texts] = []
        for (regime, term), here in group.groupby(["regime", "term"], sort=False):
            at = [here[here["lr"] == lr] for lr in lrs]
            values = [float(rows_at["value"].max()) if len(rows_at) else math.nan for rows_at in at]
            cells = [
                _percent(value) + _scores(rows_at["score"].dropna()) for value, rows_at in zip(values, at, strict=True)
            ]
            rows.append([str(regime), str(term), *cells, _spark(values, values, str(term))])
        head = ["regime", "trained", *(f"lr {lr:g}" for lr in lrs), "metric over lr"]
        found.append((f"{task} on {model}", head, rows))
    return found


def _percent(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:,.1f}"


def _scores(scores: pd.Series) -> str:
    return f" ({', '.join(f'{score:.3f}' for score in scores)})" if len(scores) else ""


def epoch_tables(table: pd.DataFrame) -> list[Titled]:
    """Make a table, per learning rate, of the metric after the last epoch and its gain since the first, with a line
    over epochs.
    """
    found: list[Titled] = []
    shown = table[table["trains"].isin(TERMS_SHOWN)]
    for (model, task), group in shown.groupby(["model", "task"], sort=False):
        lrs = sorted(group["lr"].unique())
        rows: list[Texts] = []
        for (regime, term), here in group.groupby(["regime", "trains"], sort=False):
            cells: list[str] = []
            for lr in lrs:
                curve = here.loc[here["lr"] == lr, "value"].tolist()
                gain = f"{curve[-1]:.1f} ({curve[-1] - curve[0]:+.1f})" if curve else NOTHING
                cells += [gain, _spark(curve, here["value"].tolist(), str(term))]
            rows.append([str(regime), str(term), *cells])
        head = ["regime", "trained", *(name for lr in lrs for name in (f"lr {lr:g}", ""))]
        found.append((f"{task} on {model}", head, rows))
    return found


def _spark(values: Sequence[float], shared: Sequence[float], term: str) -> str:
    finite = [value for value in shared if math.isfinite(value)]
    return pictures.sparkline(values, min(finite), max(finite), term) if finite and len(values) else ""
