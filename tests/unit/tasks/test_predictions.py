"""Keys of examples, and predictions put together by them."""

from __future__ import annotations

import numpy as np

from beft_core.tasks.examples import Examples
from beft_core.tasks.predictions import Predictions, example_keys, predictions_of
from beft_core.tasks.prompts.demonstrations import demonstrations


def examples(*texts: str, pairs: list[str] | None = None) -> Examples:
    return Examples(list(texts), pairs, np.arange(len(texts)) % 2)


def test_keys_tell_texts_apart_and_repeat() -> None:
    keys = example_keys(examples("a", "b", "a", "ab"))
    assert len(set(keys.tolist())) == 4 and keys.dtype == np.int64
    np.testing.assert_array_equal(keys[:2], example_keys(examples("a", "b")))
    paired = example_keys(examples("a", "a", pairs=["b", "c"]))
    assert len({*paired.tolist(), *keys.tolist()}) == 6
    same = Examples(["a", "a"], None, np.array([0, 1]))
    assert len({*example_keys(same).tolist(), *keys.tolist()}) == 5  # read alike, with other labels
    assert example_keys(examples("ab", pairs=["c"])) != example_keys(examples("a", pairs=["bc"]))


def test_prompts_that_read_alike_are_told_apart_by_their_candidates() -> None:
    asked = Examples(["a", "a"], None, np.array([0, 0]), [(" x", " y"), (" x", " z")])
    whole, last = example_keys(asked), example_keys(asked.take([1]))
    assert whole[0] != whole[1] and whole[1] == last[0]  # whichever of them was drawn
    assert example_keys(examples("a"))[0] not in whole


def test_a_question_is_known_with_demonstrations_and_without() -> None:
    train = Examples(["p", "q"], None, np.array([0, 1]), [(" x", " y")] * 2)
    asked = Examples(["a", "b"], None, np.array([0, 1]), [(" x", " y")] * 2)
    shown = demonstrations(train, asked, 2)
    assert shown.text != asked.text
    np.testing.assert_array_equal(example_keys(shown), example_keys(asked))
    assert example_keys(shown.take([1])) == example_keys(asked)[1:]


def test_any_right_candidate_counts() -> None:
    asked = Examples(["a", "b", "c"], None, np.array([0, 1, 1]), [(" x", " y", " z")] * 3, [(0, 2), (1,), (1, 0)])
    logits = np.float32([[0, 0, 1], [0, 0, 1], [0, 1, 0]])
    one = predictions_of("t", [("validation", asked, logits)])
    assert one.labels.tolist() == [0, 1, 1] and one.judged.tolist() == [2, 1, 1]
    assert one.take(np.array([2, 0])).golds == ((1, 0), (0, 2))
    alone = predictions_of("t", [("validation", asked.take([1]), logits[1:2])])
    assert alone.golds is None and alone.judged.tolist() == [1]


def test_what_examples_are_about_is_numbered_over_all_sets() -> None:
    one = Examples(["a", "b", "c"], None, np.zeros(3, int), groups=[4, 4, 2])
    two = predictions_of("t", [("matched", one, np.eye(3)), ("mismatched", one.take([0, 2]), np.eye(3)[:2])])
    assert two.groups is not None and two.groups.tolist() == [0, 0, 1, 2, 3]
    assert two.take(np.array([3, 1])).groups.tolist() == [2, 0]  # type: ignore[union-attr]
    alone = predictions_of("t", [("validation", one.take([0, 2]), np.eye(3)[:2])])
    assert alone.groups is None, "each has its own"


def test_examples_are_selected_in_order() -> None:
    one = Predictions("t", np.array([5, 6, 7]), np.zeros(3), np.float32([[1], [2], [3]]), ("a", "b", "b"))
    part = one.take(np.array([2, 0]))
    assert part.keys.tolist() == [7, 5] and part.sets == ("b", "a") and len(part) == 2
