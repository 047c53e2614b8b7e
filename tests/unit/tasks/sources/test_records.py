"""Rows of comma-separated, tab-separated and JSONL files, with the line where each begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.tasks.sources import records
from beft_core.tasks.sources.records import csv_records, jsonl_records, tsv_records


def file(folder: Path, text: str) -> Path:
    (folder / "x").write_text(text, newline="")
    return folder / "x"


def test_quoted_cells_may_go_over_lines_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    path = file(tmp_path, 'a,b\n"one\ntwo, ""three""",c\nd,e\n')
    assert list(csv_records(path)) == [(1, ["a", "b"]), (2, ['one\ntwo, "three"', "c"]), (4, ["d", "e"])]


def test_a_quotation_mark_that_never_closes_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 2: got a broken row"):
        list(csv_records(file(tmp_path, 'a,b\n"one,c\nd,e\n')))


def test_tabs_part_and_nothing_is_quoted(tmp_path: Path) -> None:
    path = file(tmp_path, 'a\t"b\nc"\td, e\n')
    assert list(tsv_records(path)) == [(1, ["a", '"b']), (2, ['c"', "d, e"])]


def test_objects_one_per_line_blank_ones_skipped(tmp_path: Path) -> None:
    assert list(jsonl_records(file(tmp_path, '{"a": 1}\n\n  \n{"b": [2]}\n'))) == [(1, {"a": 1}), (4, {"b": [2]})]


@pytest.mark.parametrize("line", ["[1]", "1", '"x"', "{", "nothing", "{" * 9999, "9" * 5000])
def test_what_is_no_object_is_refused_with_its_row(line: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 2: got no JSON object"):
        list(jsonl_records(file(tmp_path, f'{{"a": 1}}\n{line}\n')))


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_CELLS", 3)
    monkeypatch.setattr(records, "MAX_ROW", 20)
    monkeypatch.setattr(records, "MAX_NESTED", 4)
    assert len(list(csv_records(file(tmp_path, "a,b,c\n" * 20)))) == 20
    for read, text, said in (
        (csv_records, "a,b,c,d\n", "got 4 columns"),
        (tsv_records, "a\tb\tc\td\n", "got 4 columns"),
        (csv_records, '"' + "a\n" * 20 + '"\n', "a row of more than 20 characters"),
        (jsonl_records, '{"a": [1, [2]]}\n' * 2, "more than 4 lists and objects"),
    ):
        with pytest.raises(UserError, match=said):
            list(read(file(tmp_path, text)))
