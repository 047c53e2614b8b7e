"""What a merge keeps of each fine-tune, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest

from beft_core.merging.kept import Kept, explained, in_words, kept, noise, share
from beft_core.merging.result import MergeResult, TaskScored


@pytest.mark.parametrize(
    ("base", "alone", "merged", "expected"),
    [
        (0.5, 0.8, 0.8, (1.0, True)),
        (0.5, 0.8, 0.65, (0.5, True)),
        (0.5, 0.8, 0.9, (4 / 3, True)),
        (0.5, 0.8, 0.44, (-0.2, True)),
        (0.5, 0.55, 0.54, (0.54 / 0.55, False)),  # a gain that is no more than chance: the plain share
        (0.5, 0.4, 0.4, (1.0, False)),
        (-0.1, 0.05, 0.3, (0.4 / 0.15, True)),
        (0.0, 0.05, 0.3, None),  # worth nothing, as far as so few examples show
        (0.5, -0.2, 0.3, None),
        (None, 0.8, 0.6, None),
        (0.5, None, 0.6, None),
        (0.5, 0.8, None, None),
    ],
)
def test_the_share_of_the_gain_or_else_of_the_metric(
    base: float | None, alone: float | None, merged: float | None, expected: tuple[float, bool] | None
) -> None:
    found = share(base, alone, merged, 0.1)
    assert found == (expected if expected is None else (pytest.approx(expected[0]), expected[1]))


def test_noise_shrinks_with_examples_and_is_larger_for_correlations() -> None:
    assert noise("accuracy", 100) == pytest.approx(0.1) and noise("spearman", 100) == pytest.approx(0.2)
    assert noise("accuracy", 0) == 1


def result(**tasks: tuple[float | None, float, float, float]) -> MergeResult:
    """A merge of two fine-tunes; of each task the metric of base model, first, second and merge."""
    rows = ("base model", "first", "second", "merged")
    return MergeResult(
        tasks={task: TaskScored("accuracy", 400, 400, "made up") for task in tasks},
        rows={row: {task: {"accuracy": values[at]} for task, values in tasks.items()} for at, row in enumerate(rows)},
        line=[],
        position=None,
        parameter=None,
        left_out={},
        evaluations=8,
        seconds=1.0,
        device="cpu",
        versions={},
    )


@pytest.mark.parametrize("labels", [("sst2", "rte"), ("sst2, seed 0", "rte, seed 0"), ("1: sst2, seed 0", "2: rte")])
def test_the_share_is_of_what_the_own_fine_tune_gained_although_another_does_better(labels: tuple[str, str]) -> None:
    made = result(sst2=(0.5, 0.7, 0.8, 0.6), rte=(0.5, 0.9, 0.7, 0.6))
    names = dict(zip(("first", "second"), labels, strict=True))
    made = dataclasses.replace(made, rows={names.get(row, row): scores for row, scores in made.rows.items()})
    assert [one.share for one in kept(made)] == [pytest.approx(0.5), pytest.approx(0.5)]


def test_a_merge_in_words() -> None:
    both = kept(result(sst2=(0.5, 0.8, 0.4, 0.74), rte=(0.5, 0.5, 0.7, 0.55)))
    assert [(one.task, one.of, pytest.approx(one.share)) for one in both] == [
        ("sst2", "gain", 0.8),
        ("rte", "gain", 0.25),
    ]
    assert in_words(both) == "keeps 80 % of sst2 and 25 % of rte"
    assert explained(both) == "Shares are of what the task's own fine-tune gained over the base model."
    mixed = kept(result(sst2=(0.5, 0.8, 0.4, 0.74), rte=(0.5, 0.5, 0.52, 0.5)))
    assert mixed[1] == Kept("rte", pytest.approx(0.5 / 0.52), "metric")
    assert "sst2: a share of what" in explained(mixed) and "rte: a share of the metric" in explained(mixed)
    assert kept(result(sst2=(None, 0.8, 0.4, 0.74))) == [] and in_words([]) == ""


def test_another_point_keeps_something_else() -> None:
    whole = result(sst2=(0.5, 0.8, 0.4, 0.74))
    assert kept(whole, {"sst2": {"accuracy": 0.8}})[0].share == pytest.approx(1)
