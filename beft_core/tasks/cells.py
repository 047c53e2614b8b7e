"""Cells of a table of any source: whether one is text, and what it is otherwise, in words."""

from __future__ import annotations

from typing import Any

from beft_core.errors import UserError

_NAMES: dict[type, str] = {
    type(None): "nothing",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def kind_of(value: Any) -> str:
    """Name the type of a JSON value in words."""
    return _NAMES.get(type(value), f"a value of type {type(value).__name__}")


def text_of(value: Any, column: str, where: str = "") -> str:
    """Give a cell back where it is text that can be written to a file.

    ``where``: beginning of an error, such as ``"train.jsonl, row 3: "``.

    Raises:
        UserError: another type, or half a character: one of the two halves in which JSON may write a rare one.
    """
    if not isinstance(value, str):
        raise UserError(f"{where}got {kind_of(value)} in {column!r}", "text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{where}got half a character in {column!r}", "Unicode") from None
    return value
