"""Reasons why runs cannot be trained: all workers see them, a later call forgets them, a damaged file harms nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.sweeps.sharing.refusals import MAX_REASON, Refusals

RUN, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_what_one_worker_notes_another_reads(tmp_path: Path) -> None:
    mine, theirs = Refusals(tmp_path / "refused"), Refusals(tmp_path / "refused")
    assert theirs.look() == {}
    mine.add(RUN, "got a model without heads")
    assert mine.look() == theirs.look() == {RUN: "got a model without heads"}
    theirs.add(OTHER, "x" * 10 * MAX_REASON)
    assert mine.look() == {RUN: "got a model without heads", OTHER: "x" * MAX_REASON}


def test_a_later_call_begins_without_them(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / "refused")
    refusals.add(RUN, "got no PEFT")
    (tmp_path / "refused" / "notes.txt").write_text("mine")
    refusals.forget()
    assert refusals.look() == Refusals(tmp_path / "refused").look() == {}
    assert os.listdir(tmp_path / "refused") == ["notes.txt"]  # noqa: PTH208


@pytest.mark.parametrize("text", ["", "{", "[]", '{"reason": 1}', '{"reason": "a", "more": 1}', "{" * 10**5])
def test_a_damaged_file_says_so_as_the_reason(text: str, tmp_path: Path) -> None:
    Refusals(tmp_path).add(OTHER, "sound")
    (tmp_path / f"{RUN}.json").write_text(text)
    found = Refusals(tmp_path).look()
    assert found.pop(OTHER) == "sound"
    assert len(found[RUN]) > 10 and len(found[RUN]) < 500


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a folder to write to"):
        Refusals(tmp_path / "file" / "refused").add(RUN, "why")
