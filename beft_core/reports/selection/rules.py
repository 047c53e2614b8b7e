"""Rules that name one of b_q, b_k and b_v: those that read a probe, and those that any of them has to beat.

A rule orders the three terms by a score; the term with the highest is the named one (of equal ones the first of q, k,
v, as in ``scores.select_term``). A rule that cannot tell has no score. A term that is certified null is named by no
rule that reads scores or norms, also where a sweep trained it all the same (``train_null``), so that it moved by
rounding; yardsticks read the metrics alone. A term that started at zero has no score by which a rule that compares with
the start could name it (it is 1 wherever the term ends): it comes last, and the others are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from beft_core.reports.pairing import VALUES
from beft_core.scores.approaches import of_probes
from beft_core.terms import CANDIDATES

ALWAYS_V, FIXED_ORDER, SMALLEST_NORM, ORACLE, RANDOM = "always_v", "fixed_order", "smallest_norm", "oracle", "random"
YARDSTICKS = (ORACLE, RANDOM)
"""Rules that nobody can or would follow: how much there is to gain, and to lose."""

FIXED: dict[str, float] = {"v": 3.0, "q": 2.0, "k": 1.0}
"""Scores that give the constant order v > q > k."""
ONLY_V: dict[str, float] = {"v": 1.0, "q": 0.0, "k": 0.0}
"""Scores of "always b_v": v first, and nothing about the other two."""
_LAST = -np.finfo(float).max
"""Score below every other: a term that a rule never names, since it is null or has no score."""
_DIGITS = 9
"""Digits to which means of fractions that count as equal agree: sums in another order differ in the last ones."""


@dataclass(frozen=True)
class Rule:
    """Rule that names a term."""

    key: str
    label: str
    what: str
    """Words that continue a sentence after the rule's label: what it reads."""
    scores: Callable[[pd.DataFrame], np.ndarray] | None
    """Function from cases (``pairing.Pairs.rows``) to scores, float64 [cases, 3] in the order q, k, v, of which the
    highest is named; a row of NaN: it cannot tell. None: it draws one of the three.
    """


def _null(rows: pd.DataFrame) -> np.ndarray:
    """Find which of q, k and v are certified null: bool [cases, 3]."""
    kinds, words = pd.factorize(rows["null_terms"], use_na_sentinel=False)  # a few, of any number of rows
    null = [[term in str(joined).split("+") for term in CANDIDATES] for joined in words]
    return np.array(null, bool).reshape(-1, len(CANDIDATES))[kinds]


def _probe(rows: pd.DataFrame, approach: str) -> np.ndarray:
    scores = rows[[f"{approach}.{term}" for term in CANDIDATES]].to_numpy(float)
    null = _null(rows)
    scores = np.where(null & ~np.isnan(scores), 0.0, scores)  # what it scores where it stays frozen
    undefined = ~null & _from_zero(rows) if of_probes()[approach].from_start else np.zeros_like(null)
    scores = np.where(undefined & ~np.isnan(scores), _LAST, scores)
    # As in ScoreTable.selected: fewer than two rivals are no contest, and where none moved, or all alike, there is
    # nothing to tell by.
    rivals = ~null & ~undefined
    alike = np.ptp(np.where(rivals, scores, scores.max(axis=1, keepdims=True)), axis=1) == 0
    known = (~np.isnan(scores)).all(axis=1) & (scores > 0).any(axis=1) & (rivals.sum(axis=1) > 1) & ~alike
    return np.where(known[:, None], scores, np.nan)


def _from_zero(rows: pd.DataFrame) -> np.ndarray:
    """Find which of q, k and v started at zero: bool [cases, 3]; False where a table does not hold the norms."""
    return rows[[f"pre_norm.{term}" for term in CANDIDATES]].to_numpy(float) == 0


def _constant(rows: pd.DataFrame, order: dict[str, float]) -> np.ndarray:
    return np.tile([order[term] for term in CANDIDATES], (len(rows), 1))


def _smallest_norm(rows: pd.DataFrame) -> np.ndarray:
    norms = rows[[f"pre_norm.{term}" for term in CANDIDATES]].to_numpy(float)
    scores = np.where(_null(rows), _LAST, -norms)
    # Biases that were added to a model without any are all zero: their norms tell nothing.
    rivals = scores > _LAST
    lowest = np.min(scores, axis=1, where=rivals, initial=np.inf)
    highest = np.max(scores, axis=1, where=rivals, initial=-np.inf)
    alike = (rivals.sum(axis=1) > 1) & (lowest == highest)
    known = ~np.isnan(scores).any(axis=1) & ~alike
    return np.where(known[:, None], scores, np.nan)


def _oracle(rows: pd.DataFrame) -> np.ndarray:
    values = rows[list(VALUES)].to_numpy(float)
    if not len(rows):
        return values
    cell = rows.groupby(["model", "task", "regime", "n_train", "lr", "term_lr"], dropna=False).ngroup().to_numpy()
    count = np.bincount(cell)[cell]
    sums = np.stack([np.bincount(cell, column)[cell] for column in values.T], axis=1)
    with np.errstate(invalid="ignore"):  # without another seed 0/0, which is NaN
        return ((sums - values) / (count - 1)[:, None]).round(_DIGITS)


RULES: dict[str, Rule] = {
    rule.key: rule
    for rule in (
        *(
            Rule(key, approach.label, f"the probe's scores: {approach.formula}", partial(_probe, approach=key))
            for key, approach in of_probes().items()
        ),
        Rule(
            FIXED_ORDER,
            "Fixed order b_v, b_q, b_k",
            "nothing; it always ranks the three in this order",
            partial(_constant, order=FIXED),
        ),
        Rule(
            ALWAYS_V,
            "Always b_v",
            "nothing; b_v is first and the other two are equal, so its tau is at most 2/√6 = 0.82",
            partial(_constant, order=ONLY_V),
        ),
        Rule(
            SMALLEST_NORM,
            "Smallest pre-trained norm",
            "the model alone, no probe: the smaller the mean over layers of ‖pre‖, the better; null terms come last",
            _smallest_norm,
        ),
        Rule(
            ORACLE,
            "Oracle of the other seeds",
            "the metrics themselves: the best mean over the other seeds of the same task, size and learning rate; so "
            "much a rule could gain that knows all but the seed",
            _oracle,
        ),
        Rule(RANDOM, "Random (expected)", "nothing; the mean over the three terms, the floor", None),
    )
}
"""Rules by key, in the order of tables."""
