"""Intervals over seeds and examples, beside a plain loop, and corrections beside those of statistics books."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from beft_core.errors import UserError
from beft_core.reports.methods.resampling import Resampled, holm, metric_in
from beft_core.reports.paired import WEIGHTED, binomial_p
from beft_core.tasks.predictions import Predictions

EXAMPLES = 60


def made(right: float, seed: int, *, labels: np.ndarray | None = None, keys: np.ndarray | None = None) -> Predictions:
    """Predictions of two classes that are right with a probability."""
    rng = np.random.default_rng(seed)
    labels = np.arange(EXAMPLES) % 3 % 2 if labels is None else labels
    said = np.where(rng.random(len(labels)) < right, labels, 1 - labels)
    keys = np.arange(len(labels)) if keys is None else keys
    return Predictions("t", keys, labels.astype(np.float64), np.eye(2, dtype=np.float32)[said])


@pytest.fixture(scope="module")
def several() -> Resampled:
    runs = {
        "good": {0: made(0.9, 1), 1: made(0.9, 2), 2: made(0.95, 3)},
        "fair": {0: made(0.75, 4), 1: made(0.7, 5), 2: made(0.8, 6)},
        "once": {0: made(0.6, 7)},
        "constant": {0: made(1.0, 8, labels=np.zeros(EXAMPLES, int))},
    }
    runs["constant"] = {0: Predictions("t", runs["good"][0].keys, runs["good"][0].labels, runs["constant"][0].logits)}
    return Resampled(runs, "accuracy", resamples=400, untrained=["once"])


def test_the_mean_over_seeds_is_the_plain_one_and_lies_in_its_interval(several: Resampled) -> None:
    runs = [made(0.9, 1), made(0.9, 2), made(0.95, 3)]
    expected = np.mean([(one.predicted == one.labels).mean() for one in runs])
    found = several.interval("good")
    assert found.value == pytest.approx(expected) and found.low < expected < found.high


def test_resamples_of_one_seed_are_those_of_a_plain_bootstrap() -> None:
    one = made(0.8, 3)
    found = Resampled({"a": {0: one}}, "accuracy", resamples=4000).interval("a")
    right = (one.predicted == one.labels).astype(float)
    rng = np.random.default_rng(99)
    plain = [rng.choice(right, len(right)).mean() for _ in range(4000)]
    assert (found.low, found.high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.02)


def test_seeds_widen_the_interval_where_they_disagree() -> None:
    alike = Resampled({"a": {0: made(0.75, 1), 1: made(0.75, 1)}}, "accuracy", resamples=500).interval("a")
    apart = Resampled({"a": {0: made(1.0, 1), 1: made(0.5, 2)}}, "accuracy", resamples=500).interval("a")
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_that_disagree_have_an_interval_like_students(seeds: int) -> None:
    """Of many examples seeds alone matter: t of one, two and four degrees of freedom from a table."""
    student = {2: 12.706, 3: 4.303, 5: 2.776}[seeds]
    labels = np.arange(4000) % 2
    shares = np.linspace(0.47, 0.53, seeds)
    runs = {}
    for number, share in enumerate(shares):
        said = np.where(np.arange(4000) < share * 4000, labels, 1 - labels)
        runs[number] = Predictions("t", np.arange(4000), labels.astype(float), np.eye(2, dtype=np.float32)[said])
    found = Resampled({"a": runs}, "accuracy", resamples=2000).interval("a")
    half = student * shares.std(ddof=1) / np.sqrt(seeds)
    assert 0.7 * half < (found.high - found.low) / 2 < 1.3 * half


def test_a_difference_is_paired_by_example_and_seed(several: Resampled) -> None:
    found = several.difference("good", "fair")
    values = {name: several.interval(name).value for name in ("good", "fair")}
    assert found.value == pytest.approx(values["good"] - values["fair"]) and found.low > 0
    assert several.difference("good", "good") == several.difference("fair", "fair")  # 0, 0 and 0
    assert several.difference("fair", "good").value == pytest.approx(-found.value)
    # Pairing takes out how hard the drawn examples are: unpaired, the two intervals would add up.
    hard = Resampled({"a": {0: made(0.6, 1)}, "b": {0: made(0.6, 1)}}, "accuracy", resamples=300)
    assert hard.difference("a", "b").high == 0 < hard.interval("a").high - hard.interval("a").low


def test_what_trains_nothing_stands_beside_every_seed(several: Resampled) -> None:
    found = several.difference("good", "once")
    assert found.value == pytest.approx(several.interval("good").value - several.interval("once").value)
    first, second, alike = several.split("good", "once")
    assert first > second and first + second + alike == EXAMPLES
    assert 0 < several.p("good", "once") < 0.01 and several.p("once", "once") == 1.0
    assert several.count_pairs("good", "once") == 1 and several.count_pairs("good", "fair") == 3


def test_a_method_of_which_one_seed_is_left_is_compared_by_that_seed() -> None:
    a = {0: made(0.95, 1), 1: made(0.6, 2), 2: made(0.95, 3)}
    found = Resampled({"a": a, "b": {1: made(0.6, 2)}}, "accuracy", resamples=50)
    assert found.difference("a", "b").value == 0 and found.split("a", "b")[:2] == (0, 0)
    assert found.p("a", "b") == 1.0 and found.count_pairs("a", "b") == 1
    with pytest.raises(UserError, match="seed in common"):
        Resampled({"a": a, "b": {7: made(0.6, 2)}}, "accuracy", resamples=10).difference("a", "b")


def test_the_test_of_one_seed_is_mcnemars() -> None:
    a, b = made(0.9, 1), made(0.6, 2)
    right = [one.predicted == one.labels for one in (a, b)]
    found = Resampled({"a": {0: a}, "b": {0: b}}, "accuracy", resamples=10)
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert found.split("a", "b")[:2] == only and found.p("a", "b") == binomial_p(*only)


def shares(shares_right: Sequence[float], examples: int = 2000) -> dict[int, Predictions]:
    """Predictions of several seeds, each right on the first so many of the same examples."""
    labels = np.arange(examples) % 2
    return {
        number: Predictions(
            "t",
            np.arange(examples),
            labels.astype(float),
            np.eye(2, dtype=np.float32)[np.where(np.arange(examples) < share * examples, labels, 1 - labels)],
        )
        for number, share in enumerate(shares_right)
    }


def test_the_test_of_several_seeds_is_students_by_both_variances() -> None:
    """Beside the variance of a mean of examples, and scipy's t with the degrees of freedom of the two parts."""
    a, b = [0.72, 0.80, 0.75], [0.70, 0.71, 0.69]
    found = Resampled({"a": shares(a), "b": shares(b)}, "accuracy", resamples=4000)
    right = [np.mean([one.predicted == one.labels for one in shares(each).values()], axis=0) for each in (a, b)]
    examples = np.var(right[0] - right[1], ddof=1) / 2000
    seeds = np.var(np.subtract(a, b), ddof=1) / 3
    freedom = (examples + seeds) ** 2 / (examples**2 / 1999 + seeds**2 / 2)
    expected = 2 * stats.t.sf(np.subtract(a, b).mean() / np.sqrt(examples + seeds), int(freedom))
    assert found.p("a", "b") == pytest.approx(expected, rel=0.05) and found.p("b", "a") == found.p("a", "b")


def test_seeds_that_disagree_are_no_proof_however_many_the_examples() -> None:
    """Of 20,000 examples a sign test would be sure, though one of three seeds is the worse one."""
    found = Resampled(
        {"a": shares([0.8, 0.8, 0.65], 20_000), "b": shares([0.7, 0.7, 0.7], 20_000)}, "accuracy", resamples=200
    )
    first, second, _ = found.split("a", "b")
    assert binomial_p(first, second) < 1e-9 and found.p("a", "b") > 0.3
    low, high = (getattr(found.difference("a", "b"), end) for end in ("low", "high"))
    assert low < 0 < high


def test_seeds_that_agree_leave_examples_alone() -> None:
    """The same predictions in every seed: Student's t of so many examples."""
    found = Resampled({"a": shares([0.8, 0.8]), "b": shares([0.798, 0.798])}, "accuracy", resamples=4000)
    expected = 2 * stats.norm.sf(0.002 / np.sqrt(0.002 * 0.998 / 2000))
    assert found.p("a", "b") == pytest.approx(expected, rel=0.15)
    always = Resampled({"a": shares([1.0, 1.0]), "b": shares([0.0, 0.0])}, "accuracy", resamples=10)
    assert always.p("a", "b") == 0.0 and always.p("a", "a") == 1.0


def test_questions_on_one_passage_are_drawn_together() -> None:
    """Five questions on each of 12 passages, all answered alike: intervals and p are those of 12 questions."""
    groups = np.repeat(np.arange(12), 5)

    def runs(share: float, seed: int) -> dict[int, Predictions]:
        one = made(share, seed, labels=np.arange(12) % 2)
        return {0: dataclasses.replace(one.take(np.repeat(np.arange(12), 5)), keys=np.arange(60), groups=groups)}

    def of(whole: bool) -> Resampled:
        both = {"a": runs(0.9, 1), "b": runs(0.5, 2)}
        if not whole:
            both = {name: {0: run[0].take(np.arange(0, 60, 5))} for name, run in both.items()}
        return Resampled(both, "accuracy", resamples=2000)

    many, few = of(True), of(False)
    assert many.p("a", "b") == pytest.approx(few.p("a", "b")) and many.split("a", "b")[0] == 5 * few.split("a", "b")[0]
    assert many.difference("a", "b").low == pytest.approx(few.difference("a", "b").low, abs=0.05)


def test_an_example_counts_for_whoever_is_right_in_more_seeds() -> None:
    labels = np.array([1, 1, 1])
    a = [np.array([1, 1, 0]), np.array([1, 0, 0])]
    b = [np.array([1, 0, 1]), np.array([0, 1, 0])]

    def run(said: np.ndarray) -> Predictions:
        return Predictions("t", np.arange(3), labels.astype(float), np.eye(2, dtype=np.float32)[said])

    found = Resampled({"a": dict(enumerate(map(run, a))), "b": dict(enumerate(map(run, b)))}, "accuracy", resamples=10)
    assert found.split("a", "b") == (1, 1, 1)  # 2 of 2 against 1 of 2; 1 against 1; 0 against 1


def test_the_constant_answer(several: Resampled) -> None:
    labels = made(1.0, 0).labels
    assert several.constant == pytest.approx(max((labels == 0).mean(), (labels == 1).mean()))
    assert several.above_constant("constant").value == several.above_constant("constant").high == 0
    assert several.seeds_at_constant("constant") == 1 and several.seeds_at_constant("good") == 0
    assert several.above_constant("good").low > 0


def test_a_constant_answer_is_right_where_any_right_candidate_is_it() -> None:
    labels, golds = np.array([0.0, 1.0, 2.0]), ((0, 3), (1, 3), (2,))
    one = Predictions("t", np.arange(3), labels, np.eye(4, dtype=np.float32)[[3, 3, 3]], golds=golds)
    found = Resampled({"a": {0: one}}, "accuracy", resamples=50)
    assert found.constant == pytest.approx(2 / 3) and found.above_constant("a").high == 0


@pytest.mark.parametrize("metric", ["f1", "f1_macro", "mcc"])
def test_other_metrics_of_classes(metric: str) -> None:
    one = made(0.8, 5)
    found = Resampled({"a": {0: one}}, metric, resamples=50)
    expected = WEIGHTED[metric](one.predicted, one.labels, np.ones((1, EXAMPLES)))[0]
    assert found.interval("a").value == pytest.approx(expected)
    ones = WEIGHTED["f1"](np.ones(EXAMPLES), one.labels, np.ones((1, EXAMPLES)))[0]
    zeros = WEIGHTED["f1_macro"](np.zeros(EXAMPLES), one.labels, np.ones((1, EXAMPLES)))[0]
    assert zeros == pytest.approx(0.4)  # two thirds are class 0: 2 * 40 / 100 of it, and 0 of the other
    assert found.constant == pytest.approx({"f1": ones, "mcc": 0.0, "f1_macro": zeros}[metric])


def test_numbers_have_correlations_and_no_constant_answer() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=80)
    near, far = (
        Predictions("t", np.arange(80), labels, (labels + s * rng.normal(size=80))[:, None].astype(np.float32))
        for s in (0.1, 2.0)
    )
    found = Resampled({"near": {0: near}, "far": {0: far}}, "spearman", resamples=200)
    assert found.constant == 0 and found.difference("near", "far").low > 0
    assert found.split("near", "far")[0] > 60


def test_only_what_all_predicted_counts_and_of_several_sets_the_first() -> None:
    whole = made(0.9, 1)
    part = whole.take(np.arange(40)[::-1])
    assert Resampled({"a": {0: whole}, "b": {0: part}}, "accuracy", resamples=10).examples == 40
    sets = ("matched",) * 25 + ("mismatched",) * (EXAMPLES - 25)
    two = Predictions("t", whole.keys, whole.labels, whole.logits, sets)
    assert Resampled({"a": {0: two}}, "accuracy", resamples=10).examples == 25
    assert metric_in("accuracy_matched") == "accuracy" and metric_in("f1_macro") == "f1_macro"
    assert metric_in("answer_f1") is None


def test_predictions_that_do_not_belong_together_are_refused() -> None:
    one = made(0.9, 1)
    with pytest.raises(UserError, match="no example that all"):
        Resampled({"a": {0: one}, "b": {0: made(0.9, 1, keys=np.arange(100, 100 + EXAMPLES))}}, "accuracy")
    with pytest.raises(UserError, match="other labels"):
        Resampled({"a": {0: one}, "b": {0: made(0.9, 1, labels=np.ones(EXAMPLES, int))}}, "accuracy")
    with pytest.raises(UserError, match="no predictions"):
        Resampled({"a": {}}, "accuracy")
    apart = Resampled({"a": {0: one, 1: one}, "b": {2: one, 3: one}}, "accuracy", resamples=10)
    with pytest.raises(UserError, match="seed in common"):
        apart.difference("a", "b")


def test_holm() -> None:
    # Of 0.01, 0.04, 0.03, 0.005: 0.005 * 4, 0.01 * 3, 0.03 * 2, then the largest so far.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
