"""Causal test of the scores: does what a score calls important cost most when it is switched off?

Each rule orders the parts of a fine-tune (its layers, its terms, or its terms in each layer); Kendall's tau says how
far that is the order of what the metric loses when each is switched off. A tau needs something to be compared with, so
trivial rules that know nothing of the scores stand beside them: the number of the layer, and the length of the change.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.dials.bootstrap import interval
from beft_core.dials.parts import Part, Turned, moved
from beft_core.scores.approaches import APPROACHES, questions
from beft_core.scores.rank_correlation import kendall_tau
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot

DEPTH, LENGTH = "depth", "length"
"""Rules that know nothing of the scores."""
BASELINES: dict[str, str] = {DEPTH: "Layer index", LENGTH: "Length of the change (L2)"}
"""Names of these rules."""
FEWEST = 3
"""Fewest parts that can be in an order to speak of."""
EXACT = 8
"""Most parts of which every order is tried for the p-value; of more, :data:`ORDERS` random ones are."""
ORDERS, SEED = 20_000, 0


@dataclass(frozen=True)
class Rule:
    """Rule that orders parts, and how far its order is that of their losses."""

    key: str
    """Approach of :data:`beft_core.scores.approaches.APPROACHES`, or one of :data:`BASELINES`."""
    label: str
    baseline: bool
    """Whether the rule is a trivial one, to compare the scores with."""
    scores: tuple[float, ...]
    """Score of each part."""
    tau: float | None
    """Kendall's tau-b between scores and losses; None where all of one side are equal."""
    low: float | None
    """Lower end of its 95 % interval over resampled examples."""
    high: float | None
    p: float | None
    """Share of all orders of the losses whose tau is as far from 0, the two-sided permutation test."""
    above: tuple[float, float, float] | None = None
    """Its tau less that of the first baseline, and the ends of the interval of that; None for baselines."""


@dataclass(frozen=True)
class CausalTest:
    """Test of all rules on one kind of parts."""

    over: str
    """Kind of parts: ``layers``, ``terms`` or ``cells`` (terms in each layer)."""
    parts: tuple[Part, ...]
    losses: tuple[float, ...]
    """Loss of the metric when each part is switched off: the metric as trained less that without the part."""
    rules: tuple[Rule, ...]

    def rule(self, key: str) -> Rule | None:
        """Find a rule by its key."""
        return next((rule for rule in self.rules if rule.key == key), None)

    @property
    def baseline(self) -> Rule:
        """First of the trivial rules."""
        return next(rule for rule in self.rules if rule.baseline)


def tests(snapshot: Snapshot, what: Turned, losses: Mapping[Part, np.ndarray]) -> tuple[CausalTest, ...]:
    """Test the scores of a snapshot.

    Args:
        what: the parts that were switched off.
        losses: of each part [1 + resamples]: its loss on the examples, then on each resample.
    """
    kinds: list[tuple[str, Sequence[Part]]] = []
    if not what.terms:
        kinds.append(("layers", what.layers))
    kinds += [("terms", what.terms), ("cells", what.cells)]
    made = []
    for over, parts in kinds:
        known = [part for part in parts if part in losses]
        if len(known) >= FEWEST:
            made.append(_test(over, known, _scores(snapshot, over, known), np.stack([losses[part] for part in known])))
    return tuple(made)


def _scores(snapshot: Snapshot, over: str, parts: Sequence[Part]) -> dict[str, np.ndarray]:
    """Score parts by every approach that the snapshot allows, and by the baselines: rule -> float64 [parts].

    A variant of an approach that orders the parts as another one of its question does is left out.
    """
    table = score_snapshot(snapshot)
    rows = table.rows(table.stacks[0])
    sole = next(iter(moved(snapshot)), None)  # of parts that are whole layers, where it is the only term that moved

    def of(values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Pick the score of each part: of a term in all layers the mean over layers."""
        return np.array(
            [
                float(of_layers.mean() if part.layer is None else of_layers[part.layer])
                for part in parts
                for of_layers in [values[part.term or sole or next(iter(values))]]
            ]
        )

    found: dict[str, np.ndarray] = {}
    terms = {part.term or sole for part in parts}
    for variants in questions().values():
        orders: list[bytes] = []
        for approach in variants:
            scored = {term: row.scores[approach.key] for term, row in rows.items() if approach.key in row.scores}
            if not terms <= scored.keys():
                continue
            values = of(scored)
            order = np.unique(values, return_inverse=True)[1].tobytes()
            if order not in orders:
                orders.append(order)
                found[approach.key] = values
    if over != "terms":
        found[DEPTH] = np.array([float(part.layer or 0) for part in parts])
    found[LENGTH] = of({term: _lengths(snapshot, table.stacks[0], term) for term in rows})
    return found


def _lengths(snapshot: Snapshot, stack: str, term: str) -> np.ndarray:
    """Compute the length ``|post - pre|`` (L2) of the change of each layer of a term, float64 [layers]."""
    change = snapshot.post(stack, term).astype(np.float64) - snapshot.pre(stack, term)
    return np.asarray(np.linalg.norm(change, axis=1))


def _test(over: str, parts: Sequence[Part], scores: Mapping[str, np.ndarray], losses: np.ndarray) -> CausalTest:
    """Compare the order of each rule with that of the losses [parts, 1 + resamples]."""
    taus = {key: kendall_tau(np.broadcast_to(values, losses.T.shape), losses.T) for key, values in scores.items()}
    first = next(key for key in scores if key in BASELINES)
    rules = []
    for key, values in scores.items():
        low, high = interval(taus[key][1:])
        tau = _number(taus[key][0])
        above = None
        if key not in BASELINES:
            difference = taus[key] - taus[first]
            ends = [difference[0], *interval(difference[1:])]
            above = None if np.isnan(ends).any() else tuple(map(float, ends))
        rules.append(
            Rule(
                key,
                BASELINES.get(key) or APPROACHES[key].label,
                key in BASELINES,
                tuple(values.tolist()),
                tau,
                _number(low),
                _number(high),
                None if tau is None else permutation_p(values, losses[:, 0]),
                above,  # type: ignore[arg-type]
            )
        )
    return CausalTest(over, tuple(parts), tuple(losses[:, 0].tolist()), tuple(rules))


def permutation_p(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the two-sided p-value of Kendall's tau of x and y [items] under every order of y.

    Exact for at most :data:`EXACT` items; of more, from random orders, the one at hand counted among them.
    """
    found = abs(float(kendall_tau(x, y)))
    if len(x) <= EXACT:
        orders = np.array(list(itertools.permutations(range(len(x)))))
        return float(np.mean(np.abs(kendall_tau(np.broadcast_to(x, orders.shape), y[orders])) >= found - 1e-12))
    orders = np.argsort(np.random.default_rng(SEED).random((ORDERS, len(x))), axis=1)
    as_far = 0
    for some in np.array_split(orders, max(1, orders.size * len(x) // 2**22)):
        as_far += int((np.abs(kendall_tau(np.broadcast_to(x, some.shape), y[some])) >= found - 1e-12).sum())
    return (1 + as_far) / (1 + ORDERS)


def _number(value: float | np.ndarray) -> float | None:
    return float(value) if math.isfinite(value) else None
