"""Descriptions of JSON: what passes, and what is said of what does not."""

from __future__ import annotations

from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.files.json_shape import Anything, Flag, ListOf, Maybe, Number, OneOf, Shape, Table, Text, check, told

ROW = Table({"a": Number(0, 9, whole=True)}, {"b": Text(3)})


@pytest.mark.parametrize(
    ("shape", "passes", "fails"),
    [
        (Number(0, 9), [0, 9, 0.5], [-1, 9.1, True, None, "1", [], float("nan"), float("inf"), 10**400]),
        (Number(0, 9, whole=True), [0, 9], [0.5, 1.0, False, 10**400]),
        (Number(), [-1e99, 1e99], [1e101, -(10**101)]),
        (Text(3), ["", "abc"], ["abcd", 5, None, ["a"]]),
        (OneOf(("x", "y")), ["x"], ["", "z", 1, ["x"], {}]),
        (Flag(), [True, False], [0, 1, None, "true"]),
        (Maybe(Text(3)), [None, "abc"], [5]),
        (ListOf(Text(1), 2), [[], ["a", "b"]], [["a", "b", "c"], ["ab"], "ab", {}, None]),
        (ROW, [{"a": 1}, {"a": 1, "b": "x"}], [{}, {"b": "x"}, {"a": 1, "c": 1}, {"a": "x"}, {"a": 1, "b": 5}, []]),
        (Table(others=Number(), most=2), [{}, {"x": 1, "y": 2}], [dict.fromkeys("xyz", 1), {"x": ""}, {"n" * 201: 1}]),
        (Anything(2), [None, True, "x", 1.5, [[1]], {"a": [1]}], [[[[1]]], {"a": {"b": {}}}, "x" * 4097, 10**400]),
    ],
)
def test_shapes(shape: Shape, passes: list[Any], fails: list[Any]) -> None:
    for value in passes:
        check(value, shape, "it")
    for value in fails:
        with pytest.raises(UserError, match=r"^it[: \[]") as caught:
            check(value, shape, "it")
        assert len(str(caught.value)) < 250


def test_what_is_wrong_says_where_and_what() -> None:
    with pytest.raises(UserError, match=r"^file: rows\[1\]: a is the text 'x', not a whole number from 0 to 9$"):
        check({"rows": [{"a": 1}, {"a": "x"}]}, Table({"rows": ListOf(ROW)}), "file")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.5, "0.5"),
        ([1, 2], "a list of 2"),
        ({}, "a table of 0"),
        (10**400, "a whole number of some 401 digits"),
        ("x" * 30, f"the text {'x' * 20!r} and 10 characters more"),
    ],
)
def test_a_value_in_a_few_words(value: Any, words: str) -> None:
    assert told(value) == words
