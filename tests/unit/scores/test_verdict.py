"""Was the selection right? In words and numbers, for right, wrong, tied and absent selections."""

from __future__ import annotations

import json

import pytest

from beft_core.errors import UserError
from beft_core.scores.verdict import Verdict

VALUES = {"q": 0.7441, "k": 0.5963, "v": 0.7867}


def verdict(term: str | None, values: dict[str, float] = VALUES) -> Verdict:
    return Verdict("accuracy", values, {"projection_ratio": term, "fisher": "q"}, ("k",), 3, 872)


def test_right() -> None:
    one = verdict("v")
    assert one.best == ("v",) and one.is_right() and one.is_right("fisher") is False
    assert one.sentence(lambda t: f"b_{t}") == (
        "the score was right here: b_v is best by 0.0426 in accuracy: b_v 0.7867, b_q 0.7441, b_k 0.5963"
    )
    assert one.others() == "Fisher wrong"
    assert one.caveat() == (
        "one seed (n = 1, seed 3): another may order them otherwise; the best two differ by 37 of 872 examples; "
        "k cannot act, so that run trained the head alone"
    )


def test_wrong() -> None:
    assert verdict("q").sentence().startswith("the score was wrong here: it selects q, and v is better by 0.0426 in")


def test_tied_and_absent() -> None:
    tied = verdict("v", {"q": 0.5, "k": 0.4, "v": 0.5})
    assert tied.best == ("q", "v") and tied.is_right() and "q does as well" in tied.sentence()
    none = verdict(None)
    assert none.is_right() is None and none.sentence().startswith("the score selected nothing here; alone, in accuracy")
    assert verdict("v", {"q": 0.5, "k": 0.4}).is_right() is None


def test_through_a_file() -> None:
    one = verdict("v")
    assert Verdict.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    for damaged in ({}, {"values": 3}, [], {**one.to_dict(), "values": {}}, {**one.to_dict(), "seed": "x"}):
        with pytest.raises(UserError, match="damaged"):
            Verdict.from_dict(damaged)
    with pytest.raises(UserError, match="damaged"):
        Verdict.from_dict({**one.to_dict(), "values": {"q": float("nan")}})
