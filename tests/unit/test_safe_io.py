"""Strict JSON, and files that are complete or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.safe_io import atomic_write, parse_json, read_json_file


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "key 'a' stands twice"),
        ('{"a": {"b": 1, "b": 1}}', "key 'b' stands twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ("[1]", "a JSON list; expected a JSON object"),
        ("", "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        ('{"a": ' + "[" * 10**5, "nested too deep"),
        ('{"a": ' + "1" * 5000 + "}", "not valid JSON"),
    ],
)
def test_what_is_not_plain_json_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(UserError, match=f"header.*{reason}"):
        parse_json(text, "header")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    atomic_write(path, [b'{"a"', b": [1, null]}"])
    assert read_json_file(path) == {"a": [1, None]}
    with pytest.raises(UserError, match="16 bytes; expected at most 10"):
        read_json_file(path, limit=10)
    for broken in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="cannot read"):
            read_json_file(broken)


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    atomic_write(path, [b"old"])

    def chunks():  # type: ignore[no-untyped-def]
        yield b"new"
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        atomic_write(path, chunks())
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
