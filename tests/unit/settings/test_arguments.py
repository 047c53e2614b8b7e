"""Words of the command line: several after one flag, ranges of layers, modes among the terms."""

from __future__ import annotations

import dataclasses

import pytest

from beft_core.errors import UserError
from beft_core.settings import arguments
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.registry import TASKS, get_task


def test_several_words_after_one_flag() -> None:
    assert arguments.join_values(["train", "--terms", "v", "q", "--seed", "1"]) == [
        "train",
        "--terms",
        "v,q",
        "--seed",
        "1",
    ]
    assert arguments.join_values(["merge", "--weights", "1", ".5", "a.st", "b.st"]) == [
        "merge",
        "--weights",
        "1,.5",
        "a.st",
        "b.st",
    ]
    assert arguments.join_values(["x", "--terms"]) == ["x", "--terms"]
    assert arguments.join_values(["x", "--", "--terms", "v", "q"]) == ["x", "--", "--terms", "v", "q"]


def test_layers() -> None:
    assert arguments.layers(["3-5"]) == (3, 4, 5)
    assert arguments.layers(["5,0,2", "2-3"]) == (0, 2, 3, 5)
    assert arguments.layers(None) is None
    with pytest.raises(UserError):
        arguments.layers(["5-3"])


def test_words_are_parted_by_commas_and_spaces() -> None:
    assert arguments.words(["a,b", "c d", ",", ""]) == ("a", "b", "c", "d")
    assert arguments.words(None) == ()


def test_terms_or_one_mode() -> None:
    assert arguments.terms_and_mode(["v", "q"]) == {"terms": ("v", "q")}
    for both in (["q", "v"], ["q,v"], ["q+v"]):
        assert arguments.terms_and_mode(both) == {"terms": ("q", "v")}
    assert arguments.terms_and_mode(["all"]) == {"mode": "all", "terms": ()}
    for wrong, said in (
        (["v", "all"], "all alone"),
        (["w"], "some of q"),
        (["q+w"], "some of q"),
        (["q+"], "some of q"),
        (["terms"], "some of q"),
    ):
        with pytest.raises(UserError, match=said):
            arguments.terms_and_mode(wrong)


@pytest.mark.parametrize("wrong", ["x", "1-", "-1", "1-2-3", "99999", "1.5"])
def test_what_is_no_range_of_layers(wrong: str) -> None:
    with pytest.raises(UserError, match="--layers"):
        arguments.layers([wrong])


def test_numbers_are_finite() -> None:
    assert arguments.numbers("--weights", ["1,.5", "-2e-1"]) == (1.0, 0.5, -0.2)
    assert arguments.numbers("--weights", None) is None
    for wrong in ("x", "nan", "inf", "-inf", ","):
        with pytest.raises(UserError, match="--weights"):
            arguments.numbers("--weights", [wrong])


def test_a_task_of_prompts_says_how_long_they_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "asked", dataclasses.replace(get_task("sst2"), prompt=PromptSpec("{a}", ("b", "c"))))
    assert arguments.limited({"task": "asked"}) == {"task": "asked", "max_length": 2048}
    paper = {"task": "asked", "preset": "paper"}
    assert arguments.limited(paper) == {**paper, "max_length": 2048, "batch_size": 8}
    assert arguments.limited({**paper, "batch_size": 4})["batch_size"] == 4
    own = {"train_file": "a.csv", "prompt": "{a}"}
    assert arguments.limited(own) == {**own, "max_length": 2048}
    for fields in (
        {"task": "asked", "max_length": 64},
        {"task": "SST-2"},
        {},
        {"task": "asked", "train_file": "a.csv"},
    ):
        assert arguments.limited(fields) == fields
    with pytest.raises(UserError, match="got the task 'askt'"):
        arguments.limited({"task": "askt"})
