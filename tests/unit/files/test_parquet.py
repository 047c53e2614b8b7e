"""Parquet files of strangers: counted in a process of their own before anything of them is here."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beft_core.errors import UserError
from beft_core.files import parquet
from beft_core.files.parquet import Limits, MissingColumn
from beft_core.sweeps.table import COLUMNS, read_table

LIMITS = Limits(rows=1000, bytes=2**20, columns=10, value=2**16)


def read(path: Path, columns: list[str] | None = None, limits: Limits = LIMITS, **more: Any) -> list[dict[str, Any]]:
    with parquet.opened(path, columns, limits, **more) as (_, batches):
        return [row for batch in batches for row in batch.to_pylist()]


def written(folder: Path, table: dict[str, Any], **how: Any) -> Path:
    pq.write_table(pa.table(table), folder / "x.parquet", **how)
    return folder / "x.parquet"


def test_no_place_for_temporary_files_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"n": [1]})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"cannot make a temporary file: No such file.*try TMPDIR"):
        read(path)


def test_a_refusal_that_finds_no_room_is_not_taken_for_one_of_memory(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no table")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(UserError, match=r"x\.parquet: the process that reads it cannot write a temporary file"):
            read(tmp_path / "x.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("dictionary", [True, False])
def test_values_arrive_as_they_were_written(tmp_path: Path, dictionary: bool) -> None:
    table = {
        "text": ["a", None, "ä🎉", "a"],
        "category": pa.array(["x", "y", "x", None]).dictionary_encode(),
        "n": [1, None, 3, 2**60],
        "x": [0.5, None, float("inf"), -0.0],
        "b": [True, False, None, True],
        "large": pa.array(["p", "q", "p", None], pa.large_string()),
        "nothing": pa.nulls(4),
    }
    path = written(tmp_path, table, use_dictionary=dictionary)
    assert read(path) == pa.table(table).to_pylist()
    assert read(path, ["n", "text"]) == pa.table(table).select(["n", "text"]).to_pylist()
    assert read(path, ["n"], optional=["x", "y"]) == pa.table(table).select(["n", "x"]).to_pylist()
    assert read(path, head=2) == pa.table(table).to_pylist()[:2]


def test_missing_columns_and_those_that_are_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "b", "b"]), path)
    for wanted in (["c"], ["b"]):
        with pytest.raises(MissingColumn) as caught:
            read(path, wanted)
        assert caught.value.columns == ["a", "b", "b"]
    assert read(path, ["a"]) == [{"a": 1}]


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" + bytes(40), b"PAR1" + b"\xff" * 64 + b"\xff\xff\xff\x7fPAR1"]
)
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.parquet: got no readable Parquet"):
        read(tmp_path / "x.parquet")


def test_a_result_table_of_a_million_columns_or_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "columns.csv").write_text(",".join(COLUMNS) + "," * 1_000_000 + "\n")
    with pytest.raises(UserError, match="columns"):
        read_table(tmp_path / "columns.csv")
    (tmp_path / "rows.csv").write_text(",".join(COLUMNS) + "\n" + ("," * (len(COLUMNS) - 1) + "\n") * 100_001)
    with pytest.raises(UserError, match="more than 100,000 rows"):
        read_table(tmp_path / "rows.csv")
    (tmp_path / "ragged.csv").write_text(",".join(COLUMNS) + "\n" + "," * 500_000 + "\n")
    with pytest.raises(UserError, match=r"ragged\.csv, row 2: got 500,001 columns|at most 10,000"):
        read_table(tmp_path / "ragged.csv")
    with (tmp_path / "sparse.csv").open("wb") as file:
        file.truncate(3 * 2**30)
    with pytest.raises(UserError, match="3,072"):
        read_table(tmp_path / "sparse.csv")
