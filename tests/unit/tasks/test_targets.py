"""Labels as they stand in files, as arrays and as people read them."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.snapshots.meta import HEAD_KINDS
from beft_core.tasks.targets import Choice, Classes, FreeText, Number, target_of


def test_classes_are_read_by_name_or_number_and_shown_by_name() -> None:
    target = target_of(("bad", "good"))
    encoded = target.encode([target.read(text) for text in ("good", "0", "bad", "1")])
    assert encoded.dtype == np.int64 and encoded.tolist() == [1, 0, 0, 1]
    assert [target.show(label) for label in encoded] == ["good", "bad", "bad", "good"]
    assert (target.outputs, target.classes, target.expected) == (2, 2, "one of bad, good, or its number")
    for wrong in ("2", "Good", " ", "-1"):
        with pytest.raises(ValueError, match=wrong):
            target.read(wrong)


def test_a_class_named_by_a_number_is_that_class_only_where_it_stands_there() -> None:
    assert Classes(("0.0", "1.0")).read("1.0") == 1
    assert Classes(("5", "7")).read("0") == 0
    assert Classes(("1", "0")).read("1") == 0  # a name is looked for first


def test_classes_are_counted_also_those_that_do_not_occur() -> None:
    assert Classes(("a", "b", "c")).count(np.array([2, 0, 2])) == (("a", 1), ("b", 0), ("c", 2))
    assert Number().count(np.array([0.5])) is None


def test_numbers_are_finite_and_of_one_output() -> None:
    target = target_of(None)
    encoded = target.encode([target.read(text) for text in ("2.5", "-1e2")])
    assert encoded.dtype == np.float32 and encoded.tolist() == [2.5, -100]
    assert (target.outputs, target.classes, target.labels) == (1, None, None)
    assert target.show(encoded[1]) == "-100"
    for wrong in ("nan", "inf", "-inf", "many"):
        with pytest.raises(ValueError, match=wrong):
            target.read(wrong)


def test_labels_of_prompts_are_numbers_of_candidates_or_nothing() -> None:
    choice, text = target_of(None, "choice"), target_of(None, "text")
    assert choice.encode([choice.read("3"), choice.read("0")]).tolist() == [3, 0] and choice.show(3) == "candidate 4"
    assert (choice.outputs, choice.classes, text.outputs, text.classes) == (0, None, 0, None)
    assert text.encode([text.read("0")]).dtype == np.int64 and text.show(0) == "free text"
    for target, wrong in ((choice, "-1"), (choice, "a"), (choice, "²"), (text, "1")):
        with pytest.raises(ValueError, match=wrong):
            target.read(wrong)


def test_the_file_format_knows_all_kinds() -> None:
    assert {kind.kind for kind in (Classes, Number, Choice, FreeText)} == set(HEAD_KINDS)
