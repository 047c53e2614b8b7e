"""The folder of a comparison: whose it is, and that one works in it at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beft_core.comparison.folder import RECORD, ComparisonFolder
from beft_core.errors import UserError


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"holds thesis\.tex"), ComparisonFolder(tmp_path).held():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path / "a" / "b")
    with folder.held():
        folder.begin({"comparison": {"task": "sst2"}})
        with pytest.raises(UserError, match="in use"), ComparisonFolder(folder.path).held():
            pass
    with folder.held():
        assert json.loads((folder.path / RECORD).read_text()) == {"version": 1, "comparison": {"task": "sst2"}}
    assert folder.trials.path.parent == folder.finals.path.parent == folder.path


def test_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        ComparisonFolder(tmp_path / "file" / "below").prepare()
