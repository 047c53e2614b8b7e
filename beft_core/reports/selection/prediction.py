"""Does the score predict which bias type performs best? (The paper leaves this as future work.)

A *case* is one probe (all biases trained) beside the fine-tunes of b_q, b_k and b_v alone, on the same model, task,
examples and seed. A *rule* (:mod:`beft_core.reports.selection.rules`) names one of the three; what it loses is the
*regret*: the metric of the best of the three minus that of the named one, in percentage points. Metrics are those after
the last epoch. Intervals: :mod:`beft_core.reports.selection.intervals`.

Probes and fine-tunes are put together by :mod:`beft_core.reports.pairing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from beft_core.counted import counted
from beft_core.reports.pairing import VALUES, At, match_grids, pairs, with_regimes
from beft_core.reports.selection import contests
from beft_core.reports.selection.intervals import GROUP, Bootstrap
from beft_core.reports.selection.rules import ALWAYS_V, FIXED_ORDER, RANDOM, RULES, SMALLEST_NORM, YARDSTICKS
from beft_core.scores.approaches import PAPER, of_probes
from beft_core.scores.rank_correlation import kendall_tau, spearman_rho
from beft_core.terms import CANDIDATES

__all__ = [
    "ALWAYS_V",
    "MEASURES",
    "POOLED",
    "RANDOM",
    "RULES",
    "At",
    "advantage",
    "alike",
    "cases",
    "cases_of",
    "match_grids",
    "pairs",
    "score_with_metric",
    "settled_shares",
    "settling",
    "summary",
    "summary_of",
    "together",
    "verdict",
    "verdict_of",
]

POOLED = "all"
"""Name, as task and regime, of the rows over all cases."""

TIE = 1e-9
"""Largest difference of two metrics that count as equal: any of them is the best."""

MEASURES: dict[str, str] = {"regret": "regret", "hit": "hit_rate", "tau": "tau"}
"""Columns of :func:`cases` -> the names of their means in :func:`summary`; ``_low`` and ``_high`` follow the first
name.
"""
CASE_COLUMNS = (
    "task",
    "regime",
    "n_train",
    "lr",
    "seed",
    "rule",
    "selected",
    "best",
    "regret",
    "hit",
    "tau",
    "model",
    "term_lr",
    "case",
)
SUMMARY_COLUMNS = (
    "task",
    "regime",
    "rule",
    "n",
    *(name for short, mean in MEASURES.items() for name in (mean, f"{short}_low", f"{short}_high")),
    "tau_n",
    "draws",
    "same_as",
)
NAMED = (*CANDIDATES, "any")
"""Words for what a rule names, the last for one that draws."""
_BITS = 2 ** np.arange(len(CANDIDATES))
_BEST = ["+".join(term for term, bit in zip(CANDIDATES, _BITS, strict=True) if at & bit) for at in range(2 * _BITS[-1])]
"""Words for the terms that are best, where the sum of their :data:`_BITS` says."""
SETTLING_COLUMNS = ("task", "regime", "approach", "n", "median", "q90")

# --- what rules lose -----------------------------------------------------------------------------------------------


def cases(results: pd.DataFrame, at: At = "same") -> pd.DataFrame:
    """List what each rule selects in each case and what that costs: :data:`CASE_COLUMNS`.

    ``best``: the best term, or several that tie, joined by +. ``regret``: percentage points, at least 0. ``hit``: 1 if
    the selected term is the best; of the random rule the chance of that. ``tau``: Kendall's tau-b between the scores
    and the metrics of the three terms, NaN where either are all equal; ties on one side alone bound it below 1, so a
    rule that puts one term first and the other two level has at most 0.82. ``lr``: of the probe. A rule has no row
    where it cannot tell: a probe without its scores or with all three 0, a table without norms, a seed without others.
    """
    return cases_of(pairs(results, at).rows)


def cases_of(rows: pd.DataFrame) -> pd.DataFrame:
    """List the :func:`cases` of probes beside the three terms alone. ``rows``: of ``pairing.Pairs``."""
    values = rows[list(VALUES)].to_numpy(float)  # [cases, 3]
    top = values.max(axis=1, initial=-np.inf)
    is_best = values >= top[:, None] - TIE
    followed = [_follow(rule, rows, values) for rule in RULES]
    chance, tau, selected = (np.stack(of_rules) for of_rules in zip(*followed, strict=True))  # [rules, cases, ...]
    rule, case = np.nonzero(~np.isnan(chance).any(axis=2))
    table = rows[[name for name in CASE_COLUMNS if name in rows.columns]].iloc[case].reset_index(drop=True)
    of_case = {
        "case": case,
        "rule": pd.Series(list(RULES)).take(rule).array,
        "selected": pd.Series(NAMED).take(selected[rule, case]).array,
        "best": pd.Series(_BEST).take(is_best[case] @ _BITS).array,
        "regret": 100 * (top - (chance * values).sum(axis=2)).clip(0)[rule, case],
        "hit": (chance * is_best).sum(axis=2)[rule, case],
        "tau": tau[rule, case],
    }
    return table.assign(**of_case)[list(CASE_COLUMNS)]


def _follow(rule: str, rows: pd.DataFrame, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute how likely a rule takes each term (float64 [cases, 3]; NaN: it cannot tell), tau, and where in
    :data:`NAMED` the term is.
    """
    read = RULES[rule].scores
    if read is None:
        # A random order agrees with any other as often as not; with no order at all tau stays undefined.
        return np.full(values.shape, 1 / 3), 0 * kendall_tau(values, values), np.full(len(rows), len(CANDIDATES))
    scores = read(rows)
    known = ~np.isnan(scores).any(axis=1)
    at = np.where(known, np.nan_to_num(scores).argmax(axis=1), 0)  # of equal scores the first
    return np.where(known[:, None], np.eye(3)[at], np.nan), kendall_tau(scores, values), at


def alike(table: pd.DataFrame) -> dict[str, str]:
    """Map a rule to the first rule (of :data:`RULES`) with the same selection and the same tau in every case, or
    itself.

    ``table``: of :func:`cases`. Rules that never differ are one rule, and their agreement is no evidence for any. The
    yardsticks, which nobody can follow, stay apart.
    """
    first: dict[tuple[object, ...], str] = {}
    found = {}
    for rule in (rule for rule in RULES if (table["rule"] == rule).any()):
        own = table[table["rule"] == rule].sort_values("case")
        answers = (*own["case"], *own["selected"], *own["tau"].round(9).astype(str))
        found[rule] = rule if rule in YARDSTICKS else first.setdefault(answers, rule)
    return found


def together(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Map a rule that has a row of its own to the labels of those that share it, because they never differ.

    ``rows``: of :func:`summary`.
    """
    shared: dict[str, list[str]] = {}
    for rule, first in dict(zip(rows["rule"], rows["same_as"], strict=True)).items():
        shared.setdefault(first, []).extend([RULES[rule].label] * (rule != first))
    return shared


def score_with_metric(rows: pd.DataFrame, approach: str, terms: Sequence[str] = CANDIDATES) -> dict[str, float]:
    """Compute for each of some terms Spearman's correlation of its score in the probe and its metric alone, over
    learning rates and seeds.

    ``rows``: of ``pairing.Pairs``, of one task and size (section 3.4 of the paper). Both follow the learning rate, so
    this says how movement and result go together for one term, not which term to take. NaN for fewer than three pairs
    and where one side is constant, as that of a frozen null term.
    """
    found = {}
    for term in terms:
        both = rows[[f"{approach}.{term}", f"value.{term}"]].to_numpy(float)
        both = both[~np.isnan(both).any(axis=1)]
        found[term] = spearman_rho(*both.T) if len(both) > 2 else np.nan  # NaN too where one side is constant
    return found


# --- means and intervals -------------------------------------------------------------------------------------------


def summary(results: pd.DataFrame, at: At = "same") -> pd.DataFrame:
    """Average over cases with 95 % intervals: :data:`SUMMARY_COLUMNS`, a row per task, regime and rule.

    The last rows, task "all" and regime "all", pool everything; there is no pooled row of one task, since a regime may
    be called "all" too. ``n``: cases of the rule; ``tau_n``: those of them where tau is defined. ``draws``: what the
    intervals resample, "tasks" (and sizes and seeds within them) or, of one task, "seeds" (and sizes); NaN for a single
    group. ``same_as``: see :func:`alike`, over all cases of the table.
    """
    return summary_of(cases(results, at))


def summary_of(table: pd.DataFrame) -> pd.DataFrame:
    """Make the `summary` of cases that were computed before."""
    rows = []
    for (task, regime), group in table.groupby(["task", "regime"], sort=False):
        rows += _summarised(group, str(task), str(regime))
    if len(table):
        rows += _summarised(table, POOLED, POOLED)
    return _framed(rows, alike(table))


def pooled_of(table: pd.DataFrame, first: Mapping[str, str]) -> pd.DataFrame:
    """Make of the `summary` of cases only the last rows, which pool them all. ``first``: of :func:`alike`."""
    return _framed(_summarised(table, POOLED, POOLED) if len(table) else [], first)


def _framed(rows: Sequence[dict[str, Any]], first: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame([row | {"same_as": first[row["rule"]]} for row in rows], columns=list(SUMMARY_COLUMNS))


def _summarised(table: pd.DataFrame, task: str, regime: str) -> list[dict[str, Any]]:
    draw = Bootstrap(table)
    of_rule = table["rule"].to_numpy()
    measured = [table[measure].to_numpy(float) for measure in MEASURES]
    rows = []
    for rule in (rule for rule in RULES if (of_rule == rule).any()):
        here = of_rule == rule
        row: dict[str, Any] = {"task": task, "regime": regime, "rule": rule, "n": int(here.sum())}
        means = draw.means([np.where(here, values, np.nan) for values in measured])
        for (measure, mean), found in zip(MEASURES.items(), means, strict=True):
            row |= dict(zip((mean, f"{measure}_low", f"{measure}_high"), found, strict=True))
        rows.append(row | {"tau_n": int(table.loc[here, "tau"].notna().sum()), "draws": draw.draws})
    return rows


def advantage(table: pd.DataFrame, rule: str = PAPER, other: str = ALWAYS_V) -> tuple[float, float, float]:
    """Compute how many points fewer ``rule`` loses than ``other``, case by case: mean and its 95 % interval.

    ``table``: of :func:`cases`. Cases that only one of the two can decide are left out. NaN without a case.
    """
    regret = table.pivot(index="case", columns="rule", values="regret").reindex(columns=[rule, other])
    gain = regret[other] - regret[rule]
    first = table.drop_duplicates("case").set_index("case")
    return Bootstrap(first).mean(gain.reindex(first.index).to_numpy()) if len(first) else (np.nan, np.nan, np.nan)


# --- when probes make up their mind --------------------------------------------------------------------------------


def settling(results: pd.DataFrame) -> pd.DataFrame:
    """Compute after which share of a probe (0 to 1) its selection never changed again: :data:`SETTLING_COLUMNS`.

    One row per task, regime and approach, over the n probes that say so; ``q90``: nine of ten probes are settled by
    then (linear between probes). Failed probes are left out.
    """
    long = settled_shares(results)
    rows = [
        (task, regime, approach, len(shares), float(shares.median()), float(shares.quantile(0.9)))
        for (task, regime, approach), shares in long.groupby(["task", "regime", "approach"], sort=False)["share"]
    ]
    return pd.DataFrame(rows, columns=list(SETTLING_COLUMNS))


def settled_shares(results: pd.DataFrame) -> pd.DataFrame:
    """Make one row per finished probe and approach that says when it settled: task, regime, n_train, lr, seed,
    approach, share.
    """
    named_apart = with_regimes(results)
    probes = named_apart[(named_apart["trains"] == "all") & (named_apart["state"] == "done")]
    named = probes.rename(columns={f"settled.{key}": key for key in of_probes()})
    long = named.melt(
        ["task", "regime", "n_train", "lr", "seed"], list(of_probes()), var_name="approach", value_name="share"
    )
    long["share"] = pd.to_numeric(long["share"])
    return long.dropna(subset=["share"]).reset_index(drop=True)


# --- in words ------------------------------------------------------------------------------------------------------


def verdict(results: pd.DataFrame, at: At = "same") -> str:
    """Write the answer in a few sentences of plain text, every number of it from the table."""
    return " ".join(filter(None, (verdict_of(cases(results, at)), contests.sentence(results))))


def verdict_of(table: pd.DataFrame) -> str:
    """Write the `verdict` of cases that were computed before, without how the terms stand against each other."""
    ratio, trivial = (table[table["rule"] == rule] for rule in (PAPER, ALWAYS_V))
    if ratio.empty:
        return (
            "There is no answer yet: it takes a finished probe (all biases) with projection ratios, and beside it "
            "finished fine-tunes of b_q, b_k and b_v alone on the same task, examples and seed."
        )
    # Both rules on the same cases, so that neither is helped by those that the other could not decide.
    both = table[table["case"].isin(ratio["case"]) & table["rule"].isin([PAPER, ALWAYS_V])]
    draw = {str(row["rule"]): row for row in _summarised(both, POOLED, POOLED)}
    ours, theirs = draw[PAPER], draw[ALWAYS_V]
    seeds = len(ratio.drop_duplicates(list(GROUP)))
    first = (
        f"Over {counted(len(ratio), 'case')} ({counted(ratio['task'].nunique(), 'task')}, "
        f"{counted(seeds, 'group')} of data size and seed), following the projection ratio loses {_points(ours)} "
        f"against the best of b_q, b_k and b_v; always taking b_v loses {_points(theirs)}."
    )
    same = (ratio.set_index("case")["selected"] == "v").all()
    second = (
        " The projection ratio selected b_v every time, so here the two rules are one and the score adds nothing to "
        f"the rule of thumb.{_without_probe(table)}"
        if same
        else _compared(both, ours, theirs)
    )
    tied = int((trivial["best"] == "+".join(CANDIDATES)).sum())
    third = f" In {counted(tied, 'case')} all three terms end equal, so that no rule can lose." if tied else ""
    return first + second + third


def _without_probe(table: pd.DataFrame) -> str:
    """Find the rules that train nothing and give the ratio's answer, order included, in every case."""
    first = alike(table)
    names = {FIXED_ORDER: "the fixed order b_v, b_q, b_k", SMALLEST_NORM: "the smallest pre-trained norm"}
    same = [name for rule, name in names.items() if first.get(rule) == first[PAPER]]
    if not same:
        return ""
    words, s = " and ".join(same), "s" * (len(same) == 1)
    return f" {words[0].upper()}{words[1:]} need{s} no probe and never differ{s} from it, tau included."


def _compared(both: pd.DataFrame, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    gain, low, high = advantage(both)
    better = "fewer" if gain > 0 else "more"
    if abs(gain) <= 100 * TIE:
        return " Both lose equally much on average, though they do not always select the same term."
    if np.isnan(low):
        return f" That is {abs(gain):.2f} points {better} for the ratio, in one group, so chance cannot be judged."
    ends = sorted((abs(low), abs(high))) if low * high > 0 else (low, high)
    apart = ours["regret_high"] < theirs["regret_low"] or theirs["regret_high"] < ours["regret_low"]
    overlap = "The intervals do not overlap" if apart else "The intervals overlap"
    if low * high > 0:
        return (
            f" {overlap}; case by case, the ratio loses {abs(gain):.2f} points {better} ({ends[0]:.2f} to "
            f"{ends[1]:.2f}), more than chance between groups explains."
        )
    return (
        f" {overlap}; case by case, the ratio loses {abs(gain):.2f} points {better}, but the interval of its advantage "
        f"({low:.2f} to {high:.2f}) includes 0: the data do not tell the two rules apart."
    )


def _points(row: dict[str, Any]) -> str:
    low, high = row["regret_low"], row["regret_high"]
    interval = "one group, no interval" if np.isnan(low) else f"95 % interval {low:.2f} to {high:.2f}"
    return f"{row['regret']:.2f} points on average ({interval})"
