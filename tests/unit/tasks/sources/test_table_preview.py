"""Tables before they are used: columns, first rows, guesses, whole checks, and names made of the content."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from beft_core.errors import UserError
from beft_core.tasks.own_prompts import OwnPrompt
from beft_core.tasks.sources import table_preview
from beft_core.tasks.sources.table_preview import Columns

ROWS = [{"id": i, "sentence": f"the {i}. long sentence of it, all", "label": "yn"[i % 2]} for i in range(20)]


def written(kind: str, folder: Path) -> bytes:
    if kind == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "x")
        return (folder / "x").read_bytes()
    if kind == ".json":
        return json.dumps(ROWS).encode()
    if kind == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    cut = "\t" if kind == ".tsv" else ","
    quote = "" if kind == ".tsv" else '"'
    lines = [f"{row['id']}{cut}{quote}{row['sentence']}{quote}{cut}{row['label']}" for row in ROWS]
    return "\n".join([cut.join(ROWS[0]), *lines]).encode()


@pytest.mark.parametrize("kind", table_preview.KINDS)
def test_every_kind_is_previewed_guessed_and_checked(kind: str, tmp_path: Path) -> None:
    data = written(kind, tmp_path)
    shown = table_preview.preview(f"my table{kind.upper()}", data)
    assert shown.columns == ("id", "sentence", "label") and len(shown.rows) == table_preview.ROWS
    assert shown.rows[1] == ("1", "the 1. long sentence of it, all", "n")
    assert shown.guess() == Columns("sentence", None, "label")
    told = table_preview.check(f"x{kind}", data, shown.guess())
    assert (told.train, told.evaluated, told.metric) == (16, 4, "accuracy")
    assert told.classes == (("n", 8), ("y", 8))


def test_pairs_are_guessed() -> None:
    table = b"premise,hypothesis,gold_label\nthe man sleeps here,a man is asleep,1\nthe man sleeps,a dog is awake,0\n"
    assert table_preview.preview("x.csv", table).guess() == Columns("premise", "hypothesis", "gold_label")


def test_of_many_columns_the_longest_is_the_text() -> None:
    table = (
        b"posted_at,user_name,review,label\n2024-01-01 12:00,anonymous-01,I did not like it at all,0\n"
        b"2024-01-02 13:30,anonymous-02,one of the best that I saw,1\n"
    )
    assert table_preview.preview("x.csv", table).guess() == Columns("review", None, "label")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.exe", b"a,b\n1,2\n", "ends in .exe"),
        ("x", b"a,b\n", "ends in nothing"),
        ("x.csv", b"", "empty file"),
        ("x.csv", b"a\n1\n", "one column"),
        ("x.csv", b"a,b\n", "no rows"),
        ("x.csv", b"a,a\n1,2\n", "more than once"),
        ("x.csv", b"a,\n1,2\n", "without a name"),
        ("x.csv", b'a,b\n"1,2\n', "broken row"),
        ("x.csv", b"a\0,b\n", "zero byte"),
        ("x.csv", b"a,b\n\xff,1\n", "not UTF-8"),
        ("x.jsonl", b"{}\n", "0 columns"),
        ("x.jsonl", b"[1]\n", "no JSON object"),
        ("x.json", b"{}", "no list of rows"),
        ("x.json", b"[1]", "no list of rows"),
        ("x.parquet", b"PAR1" * 9, "no readable Parquet"),
        ("x.csv", ",".join(f"c{i}" for i in range(300)).encode() + b"\n1\n", "300 columns"),
    ],
)
def test_hostile_tables_are_one_line(name: str, data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        table_preview.preview(name, data)
    assert "/tmp" not in str(caught.value) and "table-" not in str(caught.value)


def test_messages_of_a_check_bear_the_name_that_the_user_knows() -> None:
    with pytest.raises(UserError, match=r"mine\.csv, row 3: got 1 columns"):
        table_preview.check("mine.csv", b"a,b\nx,1\ny\n", Columns("a", None, "b"))


def test_names_are_made_of_content(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    one = table_preview.store("../../evil.csv", b"a,b\n", folder)
    assert one.parent == folder and table_preview.store("other.csv", b"a,b\n", folder) == one
    two = table_preview.store("x.tsv", b"a\tb\n", folder)
    (folder / "table-notes.csv").write_text("")
    assert set(table_preview.stored(folder)) == {one, two} and one.read_bytes() == b"a,b\n"
    assert table_preview.stored(tmp_path / "nothing") == []


def test_the_table_that_was_kept_last_is_offered_first(tmp_path: Path) -> None:
    tables = [table_preview.store("x.csv", f"a,b\n{number},1\n".encode(), tmp_path) for number in range(3)]
    for path, written in zip(tables, (20.0, 30.0, 10.0), strict=True):
        os.utime(path, (written, written))
    assert table_preview.stored(tmp_path) == [tables[1], tables[0], tables[2]]


def test_a_prompt_is_checked_on_every_row() -> None:
    own = OwnPrompt("{sentence} It was", "label", ("n=bad", "y=good"))
    found = table_preview.check_prompt("x.json", written(".json", Path()), own)
    assert found.classes is not None and [name for name, _ in found.classes] == ["n", "y"]
    assert found.train + found.evaluated == len(ROWS) and found.metric == "accuracy"
    assert found.prompt is not None and found.prompt.endswith("of it, all It was")
    free = table_preview.check_prompt("x.json", written(".json", Path()), OwnPrompt("{sentence} It was", "label"))
    assert free.classes is None and free.metric == "answer_f1"
    with pytest.raises(UserError, match=r"x\.json, row 1: got the label 'y'"):
        table_preview.check_prompt("x.json", written(".json", Path()), OwnPrompt("{sentence}", "label", ("a", "b")))
