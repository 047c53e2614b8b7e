"""Examples that belong together stay together; samples are those that the seed draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.tasks.examples import HELD_OUT, Examples, TaskData, subsample
from beft_core.tasks.registry import get_task


def fifty() -> Examples:
    return Examples([f"text {i}" for i in range(50)], None, np.arange(50) % 2)


def test_texts_pairs_and_labels_are_taken_together() -> None:
    pairs = Examples(["a", "b", "c"], ["x", "y", "z"], np.array([0, 1, 2]))
    taken = pairs.take([2, 0])
    assert (taken.text, taken.text_pair, taken.labels.tolist()) == (["c", "a"], ["z", "x"], [2, 0])
    with pytest.raises(ValueError, match="3 texts, 2 second texts, 3 labels"):
        Examples(["a", "b", "c"], ["x", "y"], np.array([0, 1, 2]))


def test_what_belongs_to_prompts_is_taken_with_them() -> None:
    prompts = Examples(
        ["a", "b"], None, np.array([1, 0]), [(" x", " y"), (" z",)], [(1, 0), (0,)], [("x",), ("z", "Z")]
    )
    prompts = dataclasses.replace(prompts, groups=[0, 1])
    taken = prompts.take([1])
    assert (taken.candidates, taken.golds, taken.answers) == ([(" z",)], [(0,)], [("z", "Z")])
    assert taken.groups == [1]
    with pytest.raises(ValueError, match="2 texts, 1 golds"):
        dataclasses.replace(prompts, golds=[(0,)])


def test_subsample_is_a_permutation_of_the_seed() -> None:
    train = fifty()
    first, again, other = subsample(train, 20, 0), subsample(train, 20, 0), subsample(train, 20, 1)
    assert first.text == again.text != other.text
    assert len(set(first.text)) == 20
    assert subsample(train, 30, 0).text[:20] == first.text  # a larger sample continues the smaller one
    assert subsample(train, None, 0) is train
    with pytest.raises(UserError, match=r"--n-train 51; expected at most 50"):
        subsample(train, 51, 0)


def test_the_authors_sample_is_numpys_legacy_permutation() -> None:
    """Two lines as in their code: set_seed, then the draw."""
    train = fifty()
    np.random.seed(7)  # noqa: NPY002
    theirs = np.random.permutation(50)[:20]  # noqa: NPY002
    assert subsample(train, 20, 7, "randomstate").text == [f"text {i}" for i in theirs]
    assert subsample(train, 20, 7, "randomstate").text != subsample(train, 20, 7).text
    assert subsample(train, None, 7, "randomstate") is train
    with pytest.raises(UserError, match=r"--seed 4294967296; expected below 2\*\*32"):
        subsample(train, 20, 2**32, "randomstate")


def data(**evals: Examples) -> TaskData:
    return TaskData(get_task("sst2"), fifty(), evals, "made up")


def test_fewer_validation_examples_are_the_first_of_one_permutation_for_every_set() -> None:
    whole = data(validation=fifty(), other=fifty().take(range(10)))
    few, more = whole.limited(12), whole.limited(20)
    order = np.random.default_rng([0, 0]).permutation(50)
    assert few.evals["validation"].text == [f"text {i}" for i in order[:12]]
    assert more.evals["validation"].text[:12] == few.evals["validation"].text
    assert len(few.evals["other"]) == 10 and len(few.train) == 50
    assert whole.limited(None) is whole


def test_a_task_in_words() -> None:
    one = data(validation=fifty().take(range(13)))
    assert one.in_words([47, 47]) == f"classification, 2 classes, 47 train / 13 validation rows of {one.spec.title}"
    assert one.in_words([300, 1000, 300]).startswith("classification, 2 classes, 300 or 1,000 train / 13 ")
    number = dataclasses.replace(one, spec=get_task("stsb"))
    assert number.in_words([3]).startswith("regression, 3 train / 13 validation rows of STS-B")


def test_held_out_examples_are_always_the_same_and_never_trained_on() -> None:
    whole = TaskData(get_task("demo-sentiment"), fifty(), {"validation": fifty(), "other": fifty()}, "made up")
    split = whole.held_out(12)
    ((name, scored),) = split.evals.items()
    assert name == HELD_OUT and len(scored) == 12 and len(split.train) == 38
    assert not set(scored.text) & set(split.train.text)
    assert set(scored.text) | set(split.train.text) == set(whole.train.text)
    assert [text for text in whole.train.text if text in set(split.train.text)] == split.train.text
    assert whole.held_out(12).evals[HELD_OUT].text == scored.text
    assert whole.held_out(20).evals[HELD_OUT].text[:12] == scored.text
    assert split.held_out(5) is split and whole.held_out(None) is whole
    for count in (49, 50):
        with pytest.raises(UserError, match=f"got {count} training examples to set aside; expected at most 48 of 50"):
            whole.held_out(count)


def test_examples_about_one_text_are_never_on_both_sides() -> None:
    """Fifty rows about ten texts: as many are scored as were asked for, and the rest of the last text is left out."""
    rows = dataclasses.replace(fifty(), groups=[at // 5 for at in range(50)])
    whole = TaskData(get_task("prompt-multirc"), rows, {"validation": fifty()}, "made up")
    split = whole.held_out(12)
    scored = split.evals[HELD_OUT]
    assert scored.groups is not None and split.train.groups is not None
    assert len(scored) == 12 and len(set(scored.groups)) == 3 and len(split.train) == 35
    assert not set(scored.groups) & set(split.train.groups)
    assert whole.held_out(20).evals[HELD_OUT].text[:12] == scored.text
    assert len(whole.held_out(45).train) == 5
    with pytest.raises(UserError, match=r"with which 0 stay to train on; expected fewer: .* one of the 10 texts"):
        whole.held_out(46)
