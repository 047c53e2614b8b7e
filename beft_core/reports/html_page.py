"""The page of a report: its sections, in order, from `Contents`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from beft_core.reports import html_parts, paper
from beft_core.reports.selection import prediction
from beft_core.reports.selection.rules import RULES
from beft_core.scores.table import APPROACHES
from beft_core.terms import CANDIDATES, TERM_KEYS

if TYPE_CHECKING:
    from beft_core.reports.report import Contents

TERMS_SHOWN: tuple[str, ...] = ("v", "q", "k", "all")
"""What section 3.4 compares."""


def html(found: Contents) -> str:
    """One document that fetches nothing."""
    return html_parts.page("BEFT: the paper's tables, measured again", _sections(found))


def _sections(found: Contents) -> Iterator[str]:
    yield html_parts.definitions(found.facts)
    yield html_parts.paragraph(
        "Every cell holds our number (mean over seeds, bold where it is the best of its block) and under it the "
        "paper's. Compare them with the two lines over each table in mind: model and data are rarely the same. Our "
        "learning rates, epochs and schedule are those above, the paper's are its own.",
    )
    yield html_parts.paragraph(paper.VERSIONS)
    yield html_parts.section("Which bias term performs best?", *map(html_parts.paper_table, found.tables["table1"]))
    yield html_parts.section("Does the score predict performance?", *_prediction(found))
    first, *others = map(html_parts.paper_table, found.tables["table2"])
    more = [html_parts.details("other tasks and regimes", *others)] if others else []
    yield html_parts.section("Cost and performance", first, *more)
    yield html_parts.section("Merging", *map(html_parts.paper_table, found.tables["table3"]))
    yield html_parts.section(
        "Other models", *map(html_parts.paper_table, found.tables["table4"] + found.tables["table5"])
    )
    yield html_parts.section("Ranks over data regimes (Figures 1 and 4)", *_figures(found.series["figure4"]))
    yield html_parts.section("Learning rate and score (section 3.4)", *_score_vs_lr(found.series["score_vs_lr"]))
    yield html_parts.section("Epochs (section 3.4)", *_metric_vs_epoch(found.series["metric_vs_epoch"]))
    yield html_parts.section("The authors' notebook", *map(html_parts.paper_table, found.tables["reference"]))


def interval(mean: float, low: float, high: float, decimals: int = 2) -> str:
    """``1.30 (0.40 to 2.10)``; without the interval where there is none, a dash without a mean."""
    if not math.isfinite(mean):
        return html_parts.NOTHING
    ends = f" ({low:.{decimals}f} to {high:.{decimals}f})" if math.isfinite(low) and math.isfinite(high) else ""
    return f"{mean:.{decimals}f}{ends}"


BASELINES = tuple(rule for key, rule in RULES.items() if key not in APPROACHES)
"""The rules that read no score of a probe."""
PREDICTION_HEAD = ("rule", "cases", "regret, points", "hit rate", "Kendall's tau")


def prediction_rows(summary: pd.DataFrame) -> list[tuple[str, ...]]:
    """The rows of one task and regime of ``prediction.summary`` as texts under :data:`PREDICTION_HEAD`.

    Rules that never differ share a row, that of the first; ``(+ 4)`` says how many others, :func:`shared_rows` which.
    """
    others = prediction.together(summary)
    return [
        (
            RULES[row.rule].label + (f" (+ {len(others[row.rule])})" if others[row.rule] else ""),
            str(row.n),
            interval(row.regret, row.regret_low, row.regret_high),
            interval(row.hit_rate, row.hit_low, row.hit_high),
            interval(row.tau, row.tau_low, row.tau_high),
        )
        for row in summary.itertuples(index=False)
        if row.rule in others
    ]


def shared_rows(summary: pd.DataFrame) -> list[str]:
    """A sentence for each row that several rules share. ``summary``: of ``prediction.summary``."""
    return [
        f"{RULES[rule].label} (+ {len(others)}): {'; '.join(others)} name{'s' * (len(others) == 1)} the same term with "
        "the same tau in every case; one row for all."
        for rule, others in prediction.together(summary).items()
        if others
    ]


DRAWS: dict[str, str] = {
    "tasks": "Intervals: 95 %, of 2,000 bootstrap means that draw tasks, then data sizes and seeds within them.",
    "seeds": "Intervals: 95 %, of 2,000 bootstrap means that draw data sizes and seeds of this one task.",
}
"""Column ``draws`` of ``prediction.summary`` -> in words."""


def _prediction(found: Contents) -> Iterator[str]:
    summary, settling = found.series["prediction"], found.series["settling"]
    yield html_parts.paragraph(found.verdict, "answer")
    if len(summary):
        yield html_parts.paragraph(
            "A case is one probe beside the fine-tunes of b_q, b_k and b_v alone. Regret: what the term that a rule "
            "names loses against the best of the three. Tau: how well the scores order the three. In parentheses: 95 % "
            f"bootstrap intervals. {DRAWS[summary['draws'].iloc[-1]]} Those of a single task draw only its sizes and "
            "seeds.",
            "notes",
        )
        yield html_parts.paragraph(" ".join(f"{rule.label} reads {rule.what}." for rule in BASELINES), "notes")
        for sentence in shared_rows(summary):
            yield html_parts.paragraph(sentence, "notes")
    # The pooled rows come last, and first are what a reader wants.
    pooled = (summary["task"] == prediction.POOLED) & (summary["regime"] == prediction.POOLED)
    if pooled.any():
        yield html_parts.frame_table(PREDICTION_HEAD, prediction_rows(summary[pooled]))
    for task, group in summary[~pooled].groupby("task", sort=False):
        rows = [
            (str(regime), *row) for regime, here in group.groupby("regime", sort=False) for row in prediction_rows(here)
        ]
        yield html_parts.details(
            f"{task}, by regime", html_parts.frame_table(("regime", *PREDICTION_HEAD), rows, words=2)
        )
    if len(settling):
        shares = [
            (
                str(row.task),
                str(row.regime),
                APPROACHES[str(row.approach)].label,
                str(row.n),
                f"{100 * row.median:.0f} %",
                f"{100 * row.q90:.0f} %",
            )
            for row in settling.itertuples(index=False)
        ]
        head = ("task", "regime", "approach", "probes", "median", "nine of ten")
        yield html_parts.paragraph(
            "How much of a probe it takes until its selection never changes again, as a share of its steps. Fisher is "
            "computed before the first step."
        )
        yield html_parts.details("by task, regime and approach", html_parts.frame_table(head, shares, words=3))


def _figures(figure: pd.DataFrame) -> Iterator[str]:
    if figure.empty:
        yield html_parts.paragraph("There is no finished probe (all biases trained) in the table.")
        return
    yield html_parts.paragraph(
        "Rank of b_q, b_k and b_v among all eight terms (1 is the highest score): mean over the seeds' probes, bars "
        "from the least to the largest. Last: what each term alone achieves, in percent, bars one standard deviation.",
        "notes",
    )
    for (model, task), group in figure.groupby(["model", "task"], sort=False):
        steps = [str(regime) for regime in group["regime"].unique()]
        of = group.set_index(["approach", "term", "regime"])
        charts = []
        for approach in group["approach"].unique():
            lines = {
                term: [_point(of, (approach, term, step), ("rank", "rank_min", "rank_max")) for step in steps]
                for term in CANDIDATES
            }
            charts.append(html_parts.chart(APPROACHES[str(approach)].label, steps, lines, len(TERM_KEYS)))
        first = group["approach"].iloc[0]
        values = {term: [_value(of, (first, term, step)) for step in steps] for term in CANDIDATES}
        charts.append(html_parts.chart("metric alone, %", steps, values, 0))
        yield f'<h3>{html_parts.escape(f"{task} on {model}")}</h3><div class="charts">{"".join(charts)}</div>'


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


def _score_vs_lr(table: pd.DataFrame) -> Iterator[str]:
    yield html_parts.paragraph(
        "At each learning rate: the metric of a term alone, in percent, and in parentheses the mean projection ratio "
        "that probes at that learning rate (or its counterpart in their own grid) give it. The paper's claim: a larger "
        "score goes with a better metric.",
        "notes",
    )
    for (model, task), group in table.groupby(["model", "task"], sort=False):
        lrs = sorted(group["lr"].unique())
        rows: list[list[str]] = []
        for (regime, term), here in group.groupby(["regime", "term"], sort=False):
            at = [here[here["lr"] == lr] for lr in lrs]
            values = [float(rows_at["value"].max()) if len(rows_at) else math.nan for rows_at in at]
            cells = [
                html_parts.text(value) + _scores(rows_at["score"].dropna())
                for value, rows_at in zip(values, at, strict=True)
            ]
            rows.append([str(regime), str(term), *cells, _spark(values, values, str(term))])
        head = ["regime", "trained", *(f"lr {lr:g}" for lr in lrs), "metric over lr"]
        yield html_parts.details(f"{task} on {model}", html_parts.frame_table(head, rows, words=2))


def _scores(scores: pd.Series) -> str:
    return f" ({', '.join(f'{score:.3f}' for score in scores)})" if len(scores) else ""


def _metric_vs_epoch(table: pd.DataFrame) -> Iterator[str]:
    yield html_parts.paragraph(
        "Mean metric over seeds, in percent, after the last epoch, and what it gained since the first. The lines of a "
        "row share one scale.",
        "notes",
    )
    shown = table[table["trains"].isin(TERMS_SHOWN)]
    for (model, task), group in shown.groupby(["model", "task"], sort=False):
        lrs = sorted(group["lr"].unique())
        rows: list[list[str]] = []
        for (regime, term), here in group.groupby(["regime", "trains"], sort=False):
            cells: list[str] = []
            for lr in lrs:
                curve = here.loc[here["lr"] == lr, "value"].tolist()
                gain = f"{curve[-1]:.1f} ({curve[-1] - curve[0]:+.1f})" if curve else html_parts.NOTHING
                cells += [gain, _spark(curve, here["value"].tolist(), str(term))]
            rows.append([str(regime), str(term), *cells])
        head = ["regime", "trained", *(name for lr in lrs for name in (f"lr {lr:g}", ""))]
        yield html_parts.details(f"{task} on {model}", html_parts.frame_table(head, rows, words=2))


def _spark(values: Sequence[float], shared: Sequence[float], term: str) -> str:
    finite = [value for value in shared if math.isfinite(value)]
    return html_parts.sparkline(values, min(finite), max(finite), term) if finite and len(values) else ""
