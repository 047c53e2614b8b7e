"""Checks of the paper's claims, a function for each: from the evidence of a result table to a finding."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from beft_core.reports import paper
from beft_core.reports.claims.evidence import Evidence, difference, estimate, gaps_follow, score_and_metric
from beft_core.reports.claims.verdicts import Estimate, Finding, Verdict, judged, together, untested
from beft_core.reports.merges import BASE, MERGED, Merge
from beft_core.reports.selection import contests, prediction
from beft_core.reports.selection.rules import ALWAYS_V, RANDOM, RULES, SMALLEST_NORM
from beft_core.scores.approaches import APPROACHES, PAPER

COMPARABLE = 1.0
"""Percentage points: what loses less than so many counts as comparable."""
COSTLIER: dict[str, str] = {"all": "all biases", "full": "every parameter"}
"""What trains more than one term, in words."""
PROBE_NEEDED = "it takes a finished probe (all biases) beside fine-tunes of b_q, b_k and b_v alone"

# --- selection ---------------------------------------------------------------------------------------------


def selects_the_best(evidence: Evidence) -> Finding:
    """Judge whether the projection ratio loses fewer points than a random choice among the three terms."""
    own = evidence.cases[evidence.cases["rule"] == PAPER]
    if own.empty:
        return untested(PROBE_NEEDED)
    hit = estimate(own, 100 * own["hit"].to_numpy(float))
    numbers = (
        f"names the best of the three in {hit.words('%', 0, sign=False)} of {len(own):,} cases and loses "
        f"{_loss(evidence, PAPER):.2f} points; a random choice loses {_loss(evidence, RANDOM):.2f}"
    )
    return Finding(judged(evidence.advantage[RANDOM]), numbers, _as_good(evidence))


def selects_better_than(other: str, evidence: Evidence) -> Finding:
    """Judge whether the projection ratio loses fewer points than another approach, case by case."""
    gain = evidence.advantage[other]
    label = APPROACHES[other].label.split(" (")[0]
    if not gain.count:
        return untested(f"no case has both the projection ratio's and {label}'s scores")
    same = _selections_agree(evidence, other)
    numbers = (
        f"{gain.words('points', 2)} against {label}, which loses {_loss(evidence, other):.2f}"
        if not same
        else f"both name the same term in every one of {gain.count:,} cases, and lose {_loss(evidence, PAPER):.2f} "
        "points each"
    )
    return Finding(judged(gain), numbers, _as_good(evidence))


def follows_the_data(evidence: Evidence) -> Finding:
    """Judge whether the gap between b_v and b_q in the score moves with that of their metrics, over data sizes."""
    own = gaps_follow(evidence.paired, PAPER)
    if not own.count:
        return untested("it takes probes, and the terms alone, on two sizes of data or more")
    others = [
        f"{APPROACHES[key].label.split(' (')[0]}'s in {found.mean:.0f} %"
        for key in ("magnitude", "fisher")
        if (found := gaps_follow(evidence.paired, key)).count
    ]
    numbers = (
        f"from one size to the next, the score's gap moves the way of the metrics' in "
        f"{own.words('%', 0, sign=False)} of {own.count:,} seeds and learning rates"
        + (f"; {', '.join(others)}" if others else "")
    )
    return Finding(judged(own, above=50), numbers)


def higher_score_better_result(evidence: Evidence) -> Finding:
    """Judge whether, over learning rates, a higher score of b_v comes with a better metric of b_v alone."""
    found = score_and_metric(evidence.paired, PAPER)
    if not found.count:
        return untested("it takes probes and b_v alone at two learning rates or more")
    numbers = f"Spearman's correlation {found.words(decimals=2)}, mean of {found.count} tasks and sizes"
    return Finding(judged(found), numbers, "both follow the learning rate, so this says nothing on which term to take")


def _loss(evidence: Evidence, rule: str) -> float:
    """Average what a rule loses, over the cases of the projection ratio."""
    return float(evidence.regret.loc[evidence.regret[PAPER].notna(), rule].mean())


def _selections_agree(evidence: Evidence, other: str) -> bool:
    named = evidence.named[[PAPER, other]].dropna()
    return bool((named[PAPER] == named[other]).all())


def _as_good(evidence: Evidence) -> str:
    """Name the rules without a probe that lose no more than the projection ratio does."""
    found = [
        f"{RULES[rule].label} ({_loss(evidence, rule):.2f})"
        for rule in (ALWAYS_V, SMALLEST_NORM)
        if (gain := evidence.advantage[rule]).count and gain.mean <= 100 * prediction.TIE
    ]
    return f"as good without a probe: {', '.join(found)}" if found else ""


# --- which term does best ----------------------------------------------------------------------------------


def beats(one: str, other: str, evidence: Evidence, low: bool = True) -> Finding:
    """Judge whether a term alone beats another, at the same learning rate and seed: with little data, or with more."""
    rows = evidence.done[evidence.done["is_low"] == low]
    found = difference(rows, one, other)
    if not found.count:
        size = "with little data" if low else "with more data"
        return untested(f"no fine-tunes of b_{one} and b_{other} alone {size}, at one learning rate and seed")
    cells = contests.contest(rows, one, other)
    numbers = f"{found.words('points')}"
    if cells.cells:
        numbers += f"; clearly better in {cells.wins} of {cells.cells} cells, clearly worse in {cells.losses or 'none'}"
    null = [term for term in (one, other) if _is_null(rows, term)]
    return Finding(judged(found), numbers, f"b_{null[0]} is certified null: it trains the head alone" if null else "")


def key_bias_is_idle(evidence: Evidence) -> Finding:
    """Judge whether b_k can be left out: it is certified null in every model, or worth no more than the head alone."""
    rows = evidence.done
    models = {name: _is_null(rows[rows["model"] == name], "k") for name in rows["model"].unique()}
    if models and all(models.values()):
        numbers = f"certified null in {', '.join(map(str, models))}: nothing that it can be changes an output"
        return Finding(Verdict.CONFIRMED, numbers)
    gain = difference(rows, "k", "head", lr="best")
    if not gain.count:
        return untested("b_k is not certified null, and no fine-tune of the head alone stands beside it")
    verdict = {Verdict.CONFIRMED: Verdict.CONTRADICTED, Verdict.CONTRADICTED: Verdict.CONFIRMED}
    found = judged(gain, above=COMPARABLE)
    return Finding(verdict.get(found, found), f"{gain.words('points')} against the head alone")


def _is_null(rows: pd.DataFrame, term: str) -> bool:
    """Say whether every fine-tune of a table names a term as certified null."""
    return len(rows) > 0 and all(term in str(terms).split("+") for terms in rows["null_terms"].unique())


# --- cost and other methods --------------------------------------------------------------------------------


def as_good_as(other: str, evidence: Evidence) -> Finding:
    """Judge whether b_v alone is comparable to what trains more, with little data: it loses less than a point."""
    found = difference(evidence.done[evidence.done["is_low"]], "v", other, lr="best")
    words = COSTLIER[other]
    if not found.count:
        return untested(f"no fine-tunes of b_v and of {words} with little data in the same seeds")
    numbers = f"{found.words('points')} against {words}; comparable is a loss below {COMPARABLE:g}"
    return Finding(judged(found, above=-COMPARABLE), numbers)


def beats_random(evidence: Evidence) -> Finding:
    """Judge whether b_v beats as many parameters drawn over the whole model."""
    found = difference(evidence.done, "v", "random", lr="best")
    if not found.count:
        return untested("no fine-tune of as many random parameters beside b_v")
    return Finding(judged(found), f"{found.words('points')}")


def is_faster(evidence: Evidence) -> Finding:
    """Judge whether b_v takes less time than all biases and than every parameter, each alone on its machine."""
    alone = evidence.measured[evidence.measured["bank_runs"] == 1]
    parts = [(words, difference(alone, other, "v", "best", "seconds")) for other, words in COSTLIER.items()]
    known = [(words, found) for words, found in parts if found.count]
    if not known:
        return untested("no fine-tunes of b_v and of more that had a machine for themselves")
    numbers = "beyond its seconds, " + ", ".join(f"{words} {found.words('s')}" for words, found in known)
    verdicts = [judged(found) if found.count else Verdict.UNTESTED for _, found in parts]
    return Finding(together(verdicts), numbers)


def keeps_improving(evidence: Evidence) -> Finding:
    """Judge whether, with little data, the second half of the epochs still improves b_v."""
    rows = evidence.done[evidence.done["is_low"] & (evidence.done["trains"] == "v")]
    curves = [_curve(text) for text in rows["curve"]]
    gains = [100 * (curve[-1] - curve[(len(curve) - 1) // 2]) if len(curve) > 1 else math.nan for curve in curves]
    found = estimate(rows, np.array(gains, float))
    if not found.count:
        return untested("no fine-tune of b_v with little data has a curve over epochs")
    return Finding(judged(found), f"{found.words('points')} in the second half of the epochs, over {found.count} runs")


def _curve(text: object) -> list[float]:
    """Read the metric after each epoch; empty where there is none, or a value of it was not finite."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return []
    fit = isinstance(values, list) and {*map(type, values)} <= {int, float} and all(map(math.isfinite, values))
    return values if fit and values is not None else []


# --- merges ------------------------------------------------------------------------------------------------


def merging_keeps_both(evidence: Evidence) -> Finding:
    """Judge whether averages of two fine-tunes of b_v are, on each task, worth more than the base model.

    Only tasks on which the own fine-tune is worth more than the base model can tell.
    """
    here = [m for m in evidence.merges or () if (m.term, m.method) == ("v", "mean") and len(m.tasks) == 2]
    if not here:
        return untested("no averages of two fine-tunes of b_v: beft sweep --merges makes them")
    verdicts, numbers = [], []
    for tasks in dict.fromkeys(merge.tasks for merge in here):
        group = [merge for merge in here if merge.tasks == tasks]
        for task in tasks:
            learnt, kept = (_above_base(group, row, task) for row in (task, MERGED))
            if judged(learnt) is not Verdict.CONFIRMED:
                verdicts.append(Verdict.UNTESTED)
                numbers.append(f"{task}: its own fine-tune is not clearly above the base model, so nothing can be kept")
                continue
            verdicts.append(judged(kept))
            share = 100 * kept.mean / learnt.mean
            numbers.append(f"{task} keeps {share:.0f} % of {learnt.words('points')}")
    return Finding(together(verdicts), "; ".join(numbers))


def _above_base(merges: Sequence[Merge], row: str, task: str) -> Estimate:
    """Average over seeds how many points a row is above the base model, with Student's interval."""
    pairs = [(merge.value(row, task), merge.value(BASE, task)) for merge in merges]
    values = np.array([one - base for one, base in pairs if one is not None and base is not None])
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean, math.nan, math.nan, 1)
    half = contests.critical_t(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


# --- other models ------------------------------------------------------------------------------------------


def holds_on(decoders: bool, evidence: Evidence) -> Finding:
    """Judge whether b_v beats b_q on models that the paper goes on to: its decoders, or more encoders than one."""
    of_paper = set(paper.table5()["model"])
    models = [name for name in evidence.models if (paper.model_of(name) in of_paper) == decoders]
    if decoders and not models:
        return untested("needs a sweep of OPT-1.3B or OPT-6.7B")
    if not decoders and len(models) < 2:
        return untested("needs sweeps of two encoders or more in one table")
    found = {name: difference(evidence.done[evidence.done["model"] == name], "v", "q") for name in models}
    known = {name: one for name, one in found.items() if one.count}
    if not known or (not decoders and len(known) < 2):
        return untested("b_v and b_q alone stand beside each other on too few models")
    numbers = "; ".join(f"{name} {one.words('points')}" for name, one in known.items())
    return Finding(together([judged(one) for one in known.values()]), numbers)
