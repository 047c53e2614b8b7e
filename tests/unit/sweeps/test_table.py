"""The result table as a file: columns, their order, older tables, files that are none."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sweep_tables import make_results

from beft_core.errors import UserError
from beft_core.sweeps import table
from beft_core.sweeps.table import COLUMNS, NORM_COLUMNS, OPTIMIZER_COLUMNS, read_table, write_table


def small() -> pd.DataFrame:
    return make_results(tasks=("rte",), regimes=("low",), lrs=(1e-2,), seeds=(0, 1), trains=("v", "all"))


def test_what_is_written_is_read_from_folder_and_files(tmp_path: Path) -> None:
    written = small()
    write_table(written, tmp_path)
    for path in (tmp_path, tmp_path / "results.parquet", tmp_path / "results.csv"):
        found = read_table(path)
        assert tuple(found.columns) == COLUMNS
        pd.testing.assert_frame_equal(
            found[["run", "trains", "lr", "value"]], written[["run", "trains", "lr", "value"]]
        )


@pytest.mark.parametrize("name", ["NA", "null", "nan", "1e3", "007"])
def test_names_of_a_csv_stay_text(name: str, tmp_path: Path) -> None:
    write_table(small().assign(task=name, model=name), tmp_path)
    found = read_table(tmp_path / "results.csv")
    assert set(found["task"]) == set(found["model"]) == {name}, "rows without a name would be in no mean"


def test_columns_come_in_order_and_others_are_left_out(tmp_path: Path) -> None:
    mixed = small()[list(COLUMNS[::-1])].assign(other="x")
    mixed.to_csv(tmp_path / "results.csv", index=False)
    assert tuple(read_table(tmp_path / "results.csv").columns) == COLUMNS


def test_tables_of_before_the_choice_say_what_was_built_in(tmp_path: Path) -> None:
    old = small().drop(columns=[*NORM_COLUMNS, *OPTIMIZER_COLUMNS])
    old.to_csv(tmp_path / "results.csv", index=False)
    found = read_table(tmp_path / "results.csv")
    assert found[list(NORM_COLUMNS)].isna().all(axis=None)
    assert set(found["adam_epsilon"]) == {1e-8} and set(found["adam_epsilon_at"]) == {"after"}
    # A table that has norms is of a release that could choose, and does not say what.
    small().drop(columns=list(OPTIMIZER_COLUMNS)).to_csv(tmp_path / "results.csv", index=False)
    assert read_table(tmp_path / "results.csv")[list(OPTIMIZER_COLUMNS)].isna().all(axis=None)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_that_lacks_a_column_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"results.{suffix}"
    lacking = small().drop(columns=["value", "lr"])
    lacking.to_csv(path, index=False) if suffix == "csv" else lacking.to_parquet(path)
    with pytest.raises(UserError, match="without the columns lr, value"):
        read_table(path)


def test_a_row_of_another_width_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    small().to_csv(path, index=False)
    with path.open("a") as file:
        file.write("1,2,3\n")
    with pytest.raises(UserError, match=rf"row 6: got 3 columns.*{len(COLUMNS)}"):
        read_table(path)


def test_a_missing_and_a_large_table_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no result table"):
        read_table(tmp_path)
    write_table(small(), tmp_path)
    monkeypatch.setattr(table, "MAX_CSV", 100)
    with pytest.raises(UserError, match=r"results\.csv"):
        read_table(tmp_path / "results.csv")
    monkeypatch.setattr(table, "MAX_CSV", 10**6)
    monkeypatch.setattr(table, "LIMITS", table.parquet.Limits(rows=2, bytes=10**6))
    with pytest.raises(UserError, match="more than 2 rows"):
        read_table(tmp_path / "results.csv")


def test_keys_of_runs_stay_text(tmp_path: Path) -> None:
    write_table(small().assign(run=["0000000000000001", "1e5", "0x10", "0123456789012345"]), tmp_path)
    assert read_table(tmp_path / "results.csv")["run"].tolist() == [
        "0000000000000001",
        "1e5",
        "0x10",
        "0123456789012345",
    ]


def test_every_float64_of_a_csv_is_read_as_it_was_written(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**64, 2000, dtype=np.uint64).view(np.float64)
    values = np.concatenate([bits[np.isfinite(bits)], [0.1 + 0.2, 5e-324, 2.225073858507201e-308, np.finfo(float).max]])
    results = small().iloc[[0] * len(values)].assign(seconds=values)
    write_table(results, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a pandas that has another way
        found = read_table(tmp_path / "results.csv")["seconds"].to_numpy()
    assert found.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("version", "arguments"),
    [("2.2.3", {"float_precision": "round_trip"}), ("3.0.1", {"float_precision": "round_trip"}), ("3.1.1", {})],
)
def test_an_older_pandas_is_told_to_read_floats_exactly(
    version: str, arguments: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pd, "__version__", version)
    assert table._exact_floats() == arguments
