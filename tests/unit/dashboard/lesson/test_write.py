"""A lesson's folder: new or empty, there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from beft_core.errors import UserError
from dashboard.lesson import write
from dashboard.lesson.write import require_new, write_lesson


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of a lesson, in place of real ones."""
    made = {"index.html": b"<!doctype html>", "assets/a.js": b"1"}
    monkeypatch.setattr(write, "files", lambda shelf, done: made)
    return made


@pytest.mark.parametrize("before", [False, True])
def test_it_is_written_whole(before: bool, small: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "lesson"
    if before:
        folder.mkdir()
    made = write_lesson(folder)
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")} == small
    assert made.first == folder / "index.html" and made.bytes == 16 and set(made.files) == set(small)
    assert list(tmp_path.iterdir()) == [folder]


def test_nothing_is_left_of_one_that_could_not_be_written(
    small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write.atomic_write

    def full(path: Path, chunks: Iterable[bytes]) -> None:
        if path.name == "a.js":
            raise UserError("the disk is full")
        real(path, chunks)

    monkeypatch.setattr(write, "atomic_write", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_lesson(tmp_path / "lesson")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name, words in (("mine", "not empty"), ("file", "is a file"), ("no/where", "does not exist")):
        with pytest.raises(UserError, match=words):
            require_new(tmp_path / name)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"
