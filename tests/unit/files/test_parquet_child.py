"""The process that unpacks Parquet: its limits, its refusals, and what it never reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import parquet_bombs as bombs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beft_core.errors import UserError
from beft_core.files import parquet, parquet_child
from beft_core.files.parquet import Limits
from beft_core.sweeps.table import read_table
from beft_core.tasks.sources import table_preview, user_files

LIMITS = Limits(rows=1000, bytes=2**20, columns=10, value=2**16)


def read(path: Path, columns: list[str] | None = None, limits: Limits = LIMITS, **more: Any) -> list[dict[str, Any]]:
    with parquet.opened(path, columns, limits, **more) as (_, batches):
        return [row for batch in batches for row in batch.to_pylist()]


def written(folder: Path, table: dict[str, Any], **how: Any) -> Path:
    pq.write_table(pa.table(table), folder / "x.parquet", **how)
    return folder / "x.parquet"


def test_large_batches_arrive_in_pieces(tmp_path: Path) -> None:
    texts = [f"{n}" * 10_000 for n in range(300)]
    path = written(tmp_path, {"text": texts * 4})
    with parquet.opened(path, ["text"], Limits(rows=2000, bytes=2**26)) as (_, batches):
        sizes = [(batch.num_rows, batch.nbytes) for batch in batches]
    assert sum(rows for rows, _ in sizes) == 1200 and max(nbytes for _, nbytes in sizes) <= 16 * 2**20
    assert len(sizes) > 60
    assert [row["text"] for row in read(path, ["text"], Limits(rows=2000, bytes=2**26))] == texts * 4


def test_what_is_no_value_of_a_task_is_named_and_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, {"when": pa.array([0], pa.timestamp("s")), "list": [[1, 2]], "text": ["a"]})
    assert read(path) == [{"when": "timestamp[ms]", "list": "list<element: int64>", "text": "a"}]
    with pytest.raises(UserError, match=r"got list<element: int64> in the column 'list'; expected text or numbers"):
        read(path, ["text", "list"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"text": ["a"] * 1001}, "more than 1,000 rows"),
        ({"text": ["a" * 2000] * 600}, "more than 1 MB when unpacked"),
        ({"text": ["a" * 70_000]}, "a text of 70,000 bytes in the column 'text'; expected at most 65,536"),
        ({f"c{n}": [1] for n in range(11)}, "11 columns; expected at most 10"),
    ],
)
def test_each_limit(table: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        read(written(tmp_path, table))


def test_names_of_modules_in_the_working_folder_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, {"a": [1]})
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    (tmp_path / "pyarrow.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert read(path) == [{"a": 1}]


BOMBS: dict[str, tuple[Callable[..., Path], str]] = {
    "a text that is repeated": (bombs.repeated_text, "320 MB when unpacked"),
    "a page that is packed": (bombs.packed_page, "640 MB or 8 s of work"),
    "millions of empty rows": (bombs.many_nulls, "row 1: got an empty"),
    "long lists": (bombs.nested, "got large_list<element: int8>"),
}


@pytest.mark.parametrize(("make", "words"), BOMBS.values(), ids=BOMBS)
def test_bombs(make: Callable[..., Path], words: str, tmp_path: Path) -> None:
    path = make(tmp_path / "x.parquet")
    assert path.stat().st_size < 200_000
    with pytest.raises(UserError, match=words):
        user_files.read_table(path, "text", None, "label")
    with pytest.raises(UserError):
        read_table(path)
    try:
        table_preview.preview(path.name, path.read_bytes())
    except UserError as error:
        assert "640 MB" in str(error)


def child(path: Path, **request: Any) -> subprocess.CompletedProcess[bytes]:
    """The program itself, with limits that a small table keeps."""
    whole = {"path": str(path), "columns": None, "optional": [], "head": None, "rows": 100, "bytes": 2**20}
    whole |= {"most_columns": 10, "value": 1000, "memory": parquet.MEMORY, "seconds": 60} | request
    command = [sys.executable, "-P", parquet_child.__file__, json.dumps(whole)]
    small = {
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
    }  # as the parent asks
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | small)


def test_what_leaves_is_an_arrow_stream_of_the_wanted_columns(tmp_path: Path) -> None:
    path = written(tmp_path, {"a": [1, 2], "b": ["x", None], "c": [0.5, 1.5]})
    done = child(path, columns=["b"], optional=["c", "missing"])
    assert (done.returncode, done.stderr) == (0, b"")
    table = pa.ipc.open_stream(done.stdout).read_all()
    assert table.to_pydict() == {"b": ["x", None], "c": [0.5, 1.5]}


def test_a_refusal_is_an_object_on_stderr_and_a_status_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, {"a": [1, 2], "b": ["x" * 2000, None]})
    for request, said in (
        ({"columns": ["a", "d"]}, {"columns": ["a", "b"]}),
        ({"columns": ["a"], "rows": 1}, {"got": "got more than 1 rows", "expected": "fewer"}),
        ({"most_columns": 1}, {"got": "got 2 columns", "expected": "at most 1"}),
        ({}, {"got": "got a text of 2,000 bytes in the column 'b'", "expected": "at most 1,000"}),
    ):
        done = child(path, **request)
        assert done.returncode == parquet_child.REFUSED
        assert json.loads(done.stderr) == said
