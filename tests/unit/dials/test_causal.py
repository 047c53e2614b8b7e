"""The causal test: taus and p-values of rules whose order is known, with baselines beside them."""

from __future__ import annotations

import numpy as np
import pytest
from example_snapshots import base, example
from scipy.stats import kendalltau

from beft_core.dials import causal
from beft_core.dials.causal import DEPTH, LENGTH, permutation_p
from beft_core.dials.parts import Part, turned
from beft_core.scores.formulas import Movement

RESAMPLES = 50


def losses(values: dict[Part, float], spread: float = 0.0) -> dict[Part, np.ndarray]:
    rng = np.random.default_rng(0)
    return {part: value + spread * np.concatenate([[0], rng.normal(size=RESAMPLES)]) for part, value in values.items()}


def test_layers_of_one_term_are_ordered_by_every_score_and_by_trivial_rules() -> None:
    snapshot = example(pre=base(terms=("v",)), full=True)
    what = turned(snapshot)
    ratio = Movement(snapshot.pre("encoder", "v"), snapshot.post("encoder", "v")).projection_ratio()
    found = {Part(layer=layer): float(ratio[layer]) for layer in range(3)}
    (test,) = causal.tests(snapshot, what, losses(found))
    assert test.over == "layers" and test.parts == tuple(found)
    assert test.rules[0].key == "projection_ratio"
    assert [rule.key for rule in test.rules if rule.baseline] == [DEPTH, LENGTH]
    paper = test.rule("projection_ratio")
    assert paper is not None and paper.scores == tuple(ratio) and paper.tau == 1.0
    assert (paper.low, paper.high) == (1, 1)  # the losses do not vary
    assert paper.p == pytest.approx(2 / 6)  # of six orders this one and its reverse are as far from 0
    depth = test.rule(DEPTH)
    assert depth is not None and depth.scores == (0, 1, 2) and test.baseline == depth
    assert depth.tau == pytest.approx(kendalltau([0, 1, 2], ratio).statistic)
    assert paper.above is not None and paper.above[0] == pytest.approx(1 - (depth.tau or 0))
    length = test.rule(LENGTH)
    change = snapshot.post("encoder", "v") - snapshot.pre("encoder", "v")
    assert length is not None and length.scores == pytest.approx(np.linalg.norm(change, axis=1), rel=1e-6)
    # The mean of |change| orders the layers as the sum does: it is not told twice.
    assert "magnitude" in [r.key for r in test.rules] and "magnitude_mean_abs" not in [r.key for r in test.rules]


def test_of_several_terms_terms_and_cells_are_tested() -> None:
    snapshot = example(full=True)
    what = turned(snapshot)
    cells = {part: float(number) for number, part in enumerate(what.cells)}
    terms = {Part("q"): 3.0, Part("k"): 1.0, Part("v"): 2.0}
    by_term, by_cell = causal.tests(snapshot, what, losses(cells | terms, spread=0.1))
    assert (by_term.over, by_cell.over) == ("terms", "cells")
    assert by_term.rule(DEPTH) is None and by_term.baseline.key == LENGTH
    assert by_cell.baseline.key == DEPTH and len(by_cell.parts) == 9
    paper = by_term.rule("projection_ratio")
    ratio = Movement(snapshot.pre("encoder", "q"), snapshot.post("encoder", "q")).projection_ratio()
    assert paper is not None and paper.scores[0] == pytest.approx(ratio.mean())
    assert by_cell.rule("projection_ratio").scores[:3] == pytest.approx(ratio)  # type: ignore[union-attr]


def test_noise_in_the_losses_widens_the_interval() -> None:
    snapshot = example(pre=base(terms=("v",)))
    found = {Part(layer=layer): float(layer) for layer in range(3)}
    sure, unsure = (
        causal.tests(snapshot, turned(snapshot), losses(found, spread))[0].baseline for spread in (0.01, 3.0)
    )
    assert (sure.tau, sure.low, sure.high) == (1, 1, 1)
    assert unsure.tau == 1 and unsure.low is not None and unsure.low < 0


def test_no_order_no_tau() -> None:
    snapshot = example(pre=base(terms=("v",)))
    (test,) = causal.tests(snapshot, turned(snapshot), losses(dict.fromkeys(turned(snapshot).layers, 0.0)))
    assert {rule.tau for rule in test.rules} == {None} and {rule.p for rule in test.rules} == {None}
    two = {Part(layer=layer): float(layer) for layer in range(2)}
    assert causal.tests(snapshot, turned(snapshot), losses(two)) == ()  # two parts have no order to speak of


def test_p_values_are_exact_for_few_parts_and_sampled_for_many() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random(7), rng.random(7)
    assert permutation_p(x, y) == pytest.approx(kendalltau(x, y, method="exact").pvalue)
    x, y = rng.random(12), rng.random(12)
    assert permutation_p(x, y) == pytest.approx(kendalltau(x, y, method="exact").pvalue, abs=0.015)
    assert permutation_p(np.arange(30.0), np.arange(30.0)) == 1 / 20_001  # never 0: it is a sample
