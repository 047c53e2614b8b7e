"""Statements of the paper that stand in its text and figures without a number, each looked for in our fine-tunes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from beft_core.reports.captions import symbol
from beft_core.reports.paper import task_labels
from beft_core.reports.seed_means import Runs
from beft_core.reports.series import figure4, metric_vs_epoch, score_vs_lr
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.terms import CANDIDATES

HEAD: tuple[str, ...] = ("the paper says", "of", "ours", "agrees")
"""Names of the columns of a table of statements."""


@dataclass(frozen=True)
class Statement:
    """Sentence of the paper, and what our fine-tunes say on it."""

    says: str
    of: str
    """Model, task and regime."""
    ours: str
    """Our numbers, in words; or why there are none."""
    agrees: bool | None
    """Whether ours agree; None: not measured."""

    def row(self) -> tuple[str, ...]:
        """Write it as a row under :data:`HEAD`."""
        return self.says, self.of, self.ours, {True: "yes", False: "no", None: "not measured"}[self.agrees]


SELECTIONS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    # Section 3.2 and Figure 4. Of CoLA and STS-B the text names no selection of Fisher.
    ("sst2", PAPER, "v", ("low", "medium", "high", "all")),
    ("sst2", "magnitude", "q", ("low", "medium", "high", "all")),
    ("sst2", "fisher", "v", ("low", "medium", "high", "all")),
    ("cola", PAPER, "v", ("low", "medium", "high", "all")),
    ("cola", "magnitude", "q", ("low", "medium", "high", "all")),
    ("stsb", PAPER, "v", ("low", "medium", "high")),
    ("stsb", "magnitude", "v", ("low",)),
    ("stsb", "magnitude", "q", ("medium", "high", "all")),
)
"""Selections that the paper reports: (task, approach, term, regimes)."""


def selections(runs: Runs, stand_ins: dict[str, str], regimes: Sequence[str]) -> list[Statement]:
    """Compare which term each approach selects with what the paper reports of Figures 1 and 4, on every model of a
    table.

    ``stand_ins``: task of the lab's own by the task of the paper; ``regimes``: those that were meant to be trained.
    """
    table = figure4(runs)
    found = []
    for model in runs.models:
        for task, approach, term, of in SELECTIONS:
            ours = stand_ins.get(task, task)
            for regime in (name for name in of if name in regimes):
                here = table[
                    (table["model"] == model)
                    & (table["task"] == ours)
                    & (table["regime"] == regime)
                    & (table["approach"] == approach)
                    & table["term"].isin(CANDIDATES)
                ]
                says = f"{APPROACHES[approach].label} selects {symbol(term)}"
                where = f"{_named(task, ours)}, {regime}, {model}"
                found.append(_selection(says, where, here, term))
    return found


def _selection(says: str, where: str, here: pd.DataFrame, term: str) -> Statement:
    if here.empty:
        return Statement(says, where, "no finished probe", None)
    votes = here.set_index("term")["selected"]
    probes = int(here["probes"].max())
    most = votes.max()
    first = [name for name in votes.index if votes[name] == most]
    ranks = ", ".join(f"{symbol(row.term)} {row.score:.3g}" for row in here.itertuples(index=False))
    said = f"{symbol(first[0])} by {int(most)} of {probes}" if len(first) == 1 and most else "none"
    return Statement(says, where, f"{said} ({ranks})", len(first) == 1 and bool(most) and first[0] == term)


def rates_and_epochs(runs: Runs, tasks: Iterable[str]) -> list[Statement]:
    """Look for what section 3.4 says about learning rates and epochs, on some tasks in the low regime."""
    scores, epochs = score_vs_lr(runs), metric_vs_epoch(runs)
    found = []
    for model in runs.models:
        for task in tasks:
            where = f"{_named(task, task)}, low, {model}"
            here = scores[(scores["model"] == model) & (scores["task"] == task) & (scores["regime"] == "low")]
            if here["lr"].nunique() > 1:
                found += [check(where, here) for check in (_first_at_all, *_GAPS, _beats_all_at_the_larger)]
            curves = epochs[(epochs["model"] == model) & (epochs["task"] == task) & (epochs["regime"] == "low")]
            if len(curves):
                found.append(_more_epochs(where, curves))
    return found


def _at(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Give a column of one regime by learning rate (rows, smallest first) and term."""
    return table.pivot_table(index="lr", columns="term", values=what, aggfunc="mean").sort_index()


def _first_at_all(where: str, here: pd.DataFrame) -> Statement:
    says = "b_v is ranked first at every learning rate"
    table = _at(here, "score").reindex(columns=list(CANDIDATES)).dropna()
    if len(table) < 2:
        return Statement(says, where, "no scores at two learning rates", None)
    first = table.idxmax(axis="columns")
    numbers = "; ".join(f"{symbol(str(term))} at {lr:g}" for lr, term in first.items())
    return Statement(says, where, numbers, bool((first == "v").all()))


def _gap(what: str, says: str, factor: str) -> Callable[[str, pd.DataFrame], Statement]:
    def check(where: str, here: pd.DataFrame) -> Statement:
        table = _at(here, what).reindex(columns=["v", "q"]).dropna()
        if len(table) < 2:
            return Statement(says, where, "not at two learning rates", None)
        gaps = table["v"] - table["q"]
        numbers = f"{gaps.iloc[-1]:{factor}} at {table.index[-1]:g}, {gaps.iloc[0]:{factor}} at {table.index[0]:g}"
        return Statement(says, where, numbers, bool(gaps.iloc[-1] > gaps.iloc[0]))

    return check


_GAPS = (
    _gap("value", "b_v is further ahead of b_q at the larger learning rate", "+.1f"),
    _gap("score", "The scores of b_v and b_q are further apart at the larger learning rate", "+.3f"),
)


def _beats_all_at_the_larger(where: str, here: pd.DataFrame) -> Statement:
    says = "b_v alone beats all biases at the larger learning rate and not at the smaller"
    table = _at(here, "value").reindex(columns=["v", "all"]).dropna()
    if len(table) < 2:
        return Statement(says, where, "not at two learning rates", None)
    lead = table["v"] - table["all"]
    numbers = f"{lead.iloc[-1]:+.1f} at {table.index[-1]:g}, {lead.iloc[0]:+.1f} at {table.index[0]:g}"
    return Statement(says, where, numbers, bool(lead.iloc[-1] > 0 >= lead.iloc[0]))


def _more_epochs(where: str, curves: pd.DataFrame) -> Statement:
    says = "b_v improves with more epochs"
    own = curves[curves["trains"] == "v"]
    if own.empty or own["epoch"].max() < 3:
        return Statement(says, where, "no curve of b_v over three epochs", None)
    at = own.loc[own["value"].idxmax(), "lr"]
    curve = own[own["lr"] == at].sort_values("epoch")["value"].tolist()
    third = curve[max(0, len(curve) // 3 - 1)]
    numbers = f"{third:.1f} after a third of {len(curve)} epochs, {curve[-1]:.1f} after all, at {at:g}"
    return Statement(says, where, numbers, curve[-1] > third)


def _named(task: str, ours: str) -> str:
    name = task_labels().get(task, task)
    return name if task == ours else f"{ours} for {name}"


def in_words(statements: Sequence[Statement]) -> str:
    """Count what agrees as a sentence."""
    measured = [one for one in statements if one.agrees is not None]
    agree = sum(bool(one.agrees) for one in measured)
    return (
        f"{agree:,} of {len(measured):,} statements that were measured hold here ({len(statements):,} are looked for)."
    )


def frame(statements: Sequence[Statement]) -> pd.DataFrame:
    """Make a tidy table, a row for each statement."""
    rows = [(one.says, one.of, one.ours, one.agrees) for one in statements]
    table = pd.DataFrame(rows, columns=["says", "of", "ours", "agrees"])
    return table.astype({"agrees": "boolean"})
