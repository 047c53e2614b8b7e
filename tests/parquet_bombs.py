"""Parquet files of a few kilobytes that stand for gigabytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def repeated_text(path: Path, *, length: int = 2**20 - 1, rows: int = 4000, column: str = "text") -> Path:
    """One long text, written once and referred to from every row."""
    values = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * length]))
    labels = pa.array([str(n % 2) for n in range(rows)])
    pq.write_table(pa.table({column: values, "label": labels}), path, compression="zstd", use_dictionary=True)
    return path


def repeated_in(path: Path, table: pd.DataFrame, column: str, *, length: int = 900_000, rows: int = 3000) -> Path:
    """The first row of a table over and over, with one long text in a column that is written once."""
    whole = pa.Table.from_pandas(table.iloc[[0] * rows], preserve_index=False)
    text = pa.array(["x" * length], pa.large_string())
    values = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), text)
    # Without Arrow's own schema it is a column of texts, like any other.
    pq.write_table(whole.set_column(whole.schema.get_field_index(column), column, values), path, store_schema=False)
    return path


def packed_page(path: Path, *, length: int = 700 * 2**20) -> Path:
    """One text of zeros, which packs ten-thousandfold."""
    ends = pa.py_buffer(np.array([0, length], np.int32))
    text = pa.StringArray.from_buffers(1, ends, pa.py_buffer(np.zeros(length, np.uint8)))
    table = pa.table({"text": text, "label": pa.array(["a"])})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    return path


def many_nulls(path: Path, *, rows: int = 5_000_000) -> Path:
    """Rows without anything, which take a few bytes together."""
    nulls = pa.nulls(rows, pa.string())
    pq.write_table(pa.table({"text": nulls, "label": nulls}), path, compression="zstd")
    return path


def many_columns(path: Path, *, columns: int = 20_000) -> Path:
    """A wide table."""
    pq.write_table(pa.table({f"c{n}": pa.array([1]) for n in range(columns)}), path)
    return path


def nested(path: Path, *, rows: int = 10, length: int = 2_000_000) -> Path:
    """Long lists of nothing."""
    offsets = pa.array([n * length for n in range(rows + 1)], pa.int64())
    lists = pa.LargeListArray.from_arrays(offsets, pa.nulls(rows * length, pa.int8()))
    pq.write_table(pa.table({"text": lists, "label": pa.array(["a"] * rows)}), path, compression="zstd")
    return path
