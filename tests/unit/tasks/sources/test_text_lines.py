"""Lines of a stranger's file, with their numbers, within bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.tasks.sources import text_lines
from beft_core.tasks.sources.text_lines import numbered_lines


def lines(folder: Path, data: bytes) -> list[tuple[int, str]]:
    (folder / "x.tsv").write_bytes(data)
    return list(numbered_lines(folder / "x.tsv"))


def test_lines_are_numbered_from_one_and_end_at_newlines_only(tmp_path: Path) -> None:
    text = "a\u2028b\x0bc\r\n\nlast".encode()
    assert lines(tmp_path, text) == [(1, "a\u2028b\x0bc"), (2, ""), (3, "last")]
    assert lines(tmp_path, b"") == []


def test_a_byte_order_mark_is_dropped_where_it_is_one(tmp_path: Path) -> None:
    assert lines(tmp_path, "\ufeffa\n\ufeffb".encode()) == [(1, "a"), (2, "\ufeffb")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\n\xff\n", "row 2: got bytes that are not UTF-8"),
        (b"a\nb\0\n", "row 2: got a zero byte"),
        (b"a" * 11, "row 1: got a line of more than 10 bytes"),
        (b"a\n" * 4, "more than 3 lines"),
        (b"a\n" * 40, "GB"),
    ],
)
def test_what_is_refused(data: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "MAX_LINE", 10)
    monkeypatch.setattr(text_lines, "MAX_LINES", 3)
    monkeypatch.setattr(text_lines, "MAX_FILE", 64)
    with pytest.raises(UserError, match=said):
        lines(tmp_path, data)


def test_what_is_no_file_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(UserError):
            list(numbered_lines(path))
