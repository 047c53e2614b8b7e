"""Two fine-tunes on the same examples: exact tests by scipy, weighted metrics by those that evaluations use."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from beft_core.errors import UserError
from beft_core.reports import paired
from beft_core.reports.paired import (
    WEIGHTED,
    binomial_p,
    difference,
    difference_in_words,
    flip_p,
    in_words,
    match,
    sign_test,
)
from beft_core.tasks import resamples
from beft_core.tasks.metrics import METRICS
from beft_core.tasks.predictions import MISSING, Predictions


def predictions(said: np.ndarray, labels: np.ndarray, keys: np.ndarray | None = None, classes: int = 2) -> Predictions:
    logits = said[:, None] if classes == 1 else np.eye(classes)[said.astype(int)]
    keys = np.arange(len(said)) if keys is None else keys
    return Predictions("t", keys.astype(np.int64), labels.astype(np.float64), logits.astype(np.float32))


@pytest.mark.parametrize(
    ("first", "second"), [(47, 12), (12, 47), (0, 0), (5, 5), (0, 1), (0, 9), (700, 640), (1, 2000)]
)
def test_the_probability_is_the_binomial_one(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert binomial_p(first, second) == pytest.approx(expected, rel=1e-9)


def test_the_published_example_of_mcnemar() -> None:
    # Fagerland, Lydersen, Laake 2013, table 1: 1 and 7 discordant pairs of 21, exact conditional p = 0.0703.
    assert binomial_p(1, 7) == pytest.approx(0.0703, abs=5e-5)


def test_examples_about_one_text_share_a_coin() -> None:
    """Every way in which the coins may fall, written out."""
    rng = np.random.default_rng(3)
    better, groups = rng.integers(-1, 2, 40), rng.integers(0, 9, 40)
    by_text = np.bincount(groups, better)
    sums = [np.dot(by_text, signs) for signs in itertools.product((-1, 1), repeat=9)]
    expected = np.mean(np.abs(sums) >= abs(better.sum()))
    assert flip_p(better, groups) == pytest.approx(expected)
    assert flip_p(better, np.arange(40)) == pytest.approx(flip_p(better))
    assert flip_p(np.zeros(4, int), np.array([0, 0, 1, 1])) == 1.0


def test_of_very_many_texts_the_probability_is_nearly_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    better, groups = rng.choice([-1, 1], 3000, p=[0.49, 0.51]), np.arange(3000) // 2
    exact = flip_p(better, groups)
    monkeypatch.setattr(paired, "EXACT_STEPS", 0)
    assert 0.05 < exact < 0.9 and flip_p(better, groups) == pytest.approx(exact, abs=0.02)


def test_intervals_and_tests_draw_passages_and_not_questions() -> None:
    """Ten questions on each of 30 passages, which are all answered alike: as sure as of 30 questions."""
    rng = np.random.default_rng(7)
    one, other = (np.repeat((rng.random(30) < share).astype(int), 10) for share in (0.8, 0.6))
    labels, groups = np.ones(300), np.repeat(np.arange(30), 10)
    a, b = predictions(one, labels), predictions(other, labels)
    few = match(predictions(one[::10], labels[::10]), predictions(other[::10], labels[::10]))
    apart = match(a, b)
    together = match(dataclasses.replace(a, groups=groups), b)
    assert sign_test(together).p == pytest.approx(sign_test(few).p) and sign_test(together).p > sign_test(apart).p
    widths = [found.high - found.low for found in (difference(each, "accuracy") for each in (together, few, apart))]
    assert widths[0] == pytest.approx(widths[1]) and widths[0] > 2.5 * widths[2]


def test_who_is_right_where_the_other_is_wrong() -> None:
    labels = np.array([0, 0, 1, 1, 1, 0])
    a = predictions(np.array([0, 0, 1, 0, 1, 1]), labels)
    b = predictions(np.array([0, 1, 0, 1, 0, 1]), labels)
    found = sign_test(match(a, b))
    assert (found.first, found.second, found.alike) == (3, 1, 2)
    assert match(a, b).better.tolist() == [0, 1, 1, -1, 1, 0]
    assert sign_test(match(b, a)).p == found.p == pytest.approx(0.625)


def test_of_a_regression_the_nearer_one_is_better() -> None:
    labels = np.array([1.0, 2, 3, 4])
    a, b = (predictions(np.float64(said), labels, classes=1) for said in ([1, 2.5, 0, 5], [2, 2, 3, 3]))
    found = sign_test(match(a, b))
    assert (found.first, found.second, found.alike) == (1, 2, 1)


def test_examples_are_matched_by_their_keys() -> None:
    labels = np.array([0, 1, 0, 1])
    a = predictions(np.array([0, 1, 1, 1]), labels, np.array([30, 10, 20, 40]))
    b = predictions(np.array([1, 1, 0]), np.array([1, 1, 0]), np.array([40, 10, 30]))
    both = match(a, b)
    assert both.a.keys.tolist() == both.b.keys.tolist() == [30, 10, 40] and both.left_out == 1
    assert both.b.predicted.tolist() == [0, 1, 1]
    for other, says in (
        (predictions(np.array([1]), np.array([1]), np.array([99])), "no example that both"),
        (predictions(np.array([1]), np.array([0]), np.array([40])), "other labels"),
        (predictions(np.array([1]), np.array([1]), np.array([40]), classes=3), "outputs for the same examples"),
    ):
        with pytest.raises(UserError, match=says):
            match(a, other)


def test_runs_whose_examples_have_other_numbers_of_candidates_are_matched() -> None:
    """ReCoRD: as many outputs are stored as the example with most candidates has, of those that a run was scored on."""
    few = np.array([[0.5, 0.1], [0.2, 0.4]])
    more = np.array([[0.1, 0.5, MISSING], [0.3, 0.4, MISSING], [0.0, 0.1, 0.7]])
    a = Predictions("record", np.array([10, 20]), np.zeros(2), few.astype(np.float32))
    b = Predictions("record", np.array([30, 10, 20]), np.zeros(3), more[[2, 0, 1]].astype(np.float32))
    for both in (match(a, b), match(b, a)):
        assert both.left_out == 1 and both.a.logits.shape == both.b.logits.shape == (2, 2)
    assert match(a, b).better.tolist() == [1, 0]
    other = dataclasses.replace(b, logits=np.where(b.logits < -1, np.float32(0.2), b.logits))
    with pytest.raises(UserError, match="got 2 and 3 outputs for the same examples of record"):
        match(a, other)


@pytest.mark.parametrize("metric", METRICS)
def test_a_weighted_metric_is_that_of_repeated_examples(metric: str) -> None:
    rng = np.random.default_rng(5)
    n = 60
    if metric in ("pearson", "spearman"):
        labels = rng.integers(0, 6, n) / 2  # with ties
        said = np.round(labels + rng.normal(size=n), 1)
    else:
        classes = 2 if metric == "f1" else 4
        labels = rng.integers(0, classes, n).astype(float)
        said = np.where(rng.random(n) < 0.6, labels, rng.integers(0, classes, n)).astype(float)
    drawn = rng.integers(0, n, (25, n))
    drawn[1] = 3  # all the same example
    drawn[2] = np.where(labels[drawn[2]] == labels[0], drawn[2], 0)  # one class only
    weights = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(float)
    expected = [METRICS[metric](said[row], labels[row]) for row in drawn]
    np.testing.assert_allclose(WEIGHTED[metric](said, labels, weights), expected, atol=1e-9)
    assert set(WEIGHTED) == set(METRICS)


def test_the_interval_is_that_of_a_bootstrap_done_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(size=80)
    a, b = (predictions(labels + noise * rng.normal(size=80), labels, classes=1) for noise in (0.5, 1.5))
    both = match(a, b)
    found = difference(both, "spearman")
    monkeypatch.setattr(resamples, "BLOCK", 80 * 7)  # in blocks of other resamples, whose quantiles are near
    again = difference(both, "spearman")
    assert found.low == pytest.approx(again.low, abs=0.02) and found.high == pytest.approx(again.high, abs=0.02)
    drawn = np.random.default_rng(9).integers(0, 80, (600, 80))
    spearman = METRICS["spearman"]
    shares = [
        spearman(both.a.predicted[rows], labels[rows]) - spearman(both.b.predicted[rows], labels[rows])
        for rows in drawn
    ]
    assert found.low == pytest.approx(np.quantile(shares, 0.025), abs=0.04)
    assert found.high == pytest.approx(np.quantile(shares, 0.975), abs=0.04)
    assert found.sure and found.value == pytest.approx(found.first - found.second)
    assert difference(both, "spearman", seed=3) != found and difference(match(a, a), "pearson").high == 0.0


def test_the_words() -> None:
    def test(first: int, second: int) -> paired.SignTest:
        return paired.SignTest(first, second, 100, binomial_p(first, second))

    assert (
        in_words(test(47, 12), "b_v", "b_q")
        == "b_v is right where b_q is wrong 47 times, the reverse 12 times: more than chance, p = 0.000005."
    )
    assert in_words(test(1, 2), "b_v", "b_q").endswith(
        "1 time, the reverse 2 times: no more than chance may do, p = 1.00."
    )
    assert "nearer to the label than b_q 30 times" in in_words(test(30, 2), "b_v", "b_q", regression=True)
    assert in_words(test(0, 0), "b_v", "b_q") == "b_v and b_q are right and wrong on the same examples."
    found = paired.Difference("f1_macro", 0.8, 0.7, 0.05, 0.15)
    assert (
        difference_in_words(found, "b_v", "b_q") == "b_v against b_q: f1 macro 0.800 against 0.700, a difference of "
        "+0.100 (95 % interval +0.050 to +0.150: 0 is outside)."
    )
    assert [paired.p_in_words(p) for p in (1.0, 0.034, 0.0042, 1e-5, 2.3e-12)] == [
        "1.00",
        "0.03",
        "0.004",
        "0.00001",
        "2e-12",
    ]


def test_what_is_rounded_says_nothing_else_than_the_verdict() -> None:
    """Of two splits whose p is 0.05 rounded, one is more than chance and the other is not."""
    verdicts = {}
    for first, second in ((21, 37), (26, 13), (0, 0), (4000, 1000)):
        test = paired.SignTest(first, second, 10, paired.binomial_p(first, second))
        verdicts[first] = in_words(test, "A", "B")
    assert verdicts[21].endswith("more than chance, p = 0.048.")
    assert verdicts[26].endswith("no more than chance may do, p = 0.053.")
    assert verdicts[4000].endswith("more than chance, p = 2e-308 or less.")
    assert [paired.p_in_words(p) for p in (0.0496, 0.05, 0.0504, 0.0449)] == ["0.0496", "0.05", "0.0504", "0.04"]
    found = paired.Difference("accuracy", 0.8012, 0.8, 0.0002, 0.0022)
    said = difference_in_words(found, "A", "B")
    assert "accuracy 0.8012 against 0.8000, a difference of +0.0012 (95 % interval +0.0002 to +0.0022: 0 is out" in said
    same = difference_in_words(paired.Difference("accuracy", 0.1 + 0.2, 0.3, -0.01, 1e-17), "A", "B")
    assert "a difference of +0.000 (95 % interval -0.010 to +0.000: 0 is inside" in same


def test_of_several_right_answers_either_counts() -> None:
    labels = np.array([0, 0, 1])
    a, b = (
        dataclasses.replace(predictions(said, labels, classes=3), golds=((0, 2), (0,), (1, 2)))
        for said in (np.array([2, 0, 2]), np.array([0, 2, 0]))
    )
    both = match(a, b)
    assert both.better.tolist() == [0, 1, 1]
    found = difference(both, "accuracy", resamples=10)
    assert (found.first, found.second) == (1.0, pytest.approx(1 / 3))
