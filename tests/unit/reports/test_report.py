"""The report: one page that fetches nothing and trusts no name, and a CSV file for each table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from made_comparisons import comparison, row
from sweep_tables import make_results

from beft_core.errors import UserError
from beft_core.reports import html_page, report
from beft_core.reports.methods.table import write_comparison
from beft_core.sweeps.table import write_table

FILES = {
    "report.html",
    "claims.csv",
    "table1.csv",
    "table2.csv",
    "table3.csv",
    "table4.csv",
    "table5.csv",
    "reference.csv",
    "figure4.csv",
    "score_vs_lr.csv",
    "metric_vs_epoch.csv",
    "prediction.csv",
    "settling.csv",
}


def stored(folder: Path) -> Path:
    """A sweep's folder."""
    write_table(make_results(tasks=("rte",), regimes=("low",)), folder)
    return folder


def test_what_is_written(tmp_path: Path) -> None:
    files = report.write_report(stored(tmp_path), tmp_path / "new" / "report")
    assert files[0].name == report.PAGE
    assert {file.name for file in files} == FILES == {file.name for file in (tmp_path / "new" / "report").iterdir()}
    table = pd.read_csv(tmp_path / "new" / "report" / "table1.csv")
    one = table[(table["regime"] == "low") & (table["term"] == "b_v") & (table["column"] == "rte")].iloc[0]
    assert (one["ours"], one["paper"], one["lr"], one["bold"], one["dagger"]) == (
        pytest.approx(81),
        59.5,
        0.01,
        True,
        True,
    )
    assert one["paper_of"] == "BERT-base on GLUE (Table 1)"


def test_a_comparison_of_methods_is_reported_with_its_own_sweep_or_beside_another(tmp_path: Path) -> None:
    folder = tmp_path / "compared"
    stored_in = folder / "finals"
    stored_in.mkdir(parents=True)
    write_comparison(
        comparison(row("lora", 0.5, setting="same"), row("v", 0.8, setting="same"), row("v", 0.8)), folder, {}
    )
    stored(stored_in)
    found = report.read_contents(folder)
    assert len(found.tables["table5-same"]) == 2  # one model of ours, beside two of the paper's
    assert found.tables["table5-best"][0].rows[0].cells[0].ours == 80
    assert found.facts["Tasks"] == "rte" and len(found.collapse) == 1
    page, *_ = report.write_contents(found, tmp_path / "report")
    assert "collapse confirmed here" in page.read_text() and "Every method at its best" in page.read_text()
    assert {file.name for file in (tmp_path / "report").iterdir()} - FILES == {
        "table5-same.csv",
        "table5-best.csv",
        "methods.csv",
        "methods-pairs.csv",
    }
    (tmp_path / "other").mkdir()
    write_comparison(comparison(row("v", 0.6, task="rte"), row("v", 0.7)), tmp_path / "other", {})
    beside = report.read_contents(stored(tmp_path), methods=[folder, tmp_path / "other" / "methods.parquet"])
    assert len(beside.series["methods"]) == 4
    assert any("80.0 of 3 seeds" in note and "70.0 of" in note for note in beside.tables["table5-best"][0].notes)
    assert "Every method" not in html_page.html(report.read_contents(tmp_path))


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    stored(tmp_path)
    one = report.write_report(tmp_path / "results.parquet", tmp_path / "one")
    other = report.write_report(tmp_path / "results.parquet", tmp_path / "other")
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def test_merges_are_read_from_beside_the_table(tmp_path: Path) -> None:
    stored(tmp_path)
    tasks = ["sst2", "rte"]
    rows = {name: dict.fromkeys(tasks, 0.625) for name in ("base model", *tasks, "merged")}
    merge = {"tasks": tasks, "seed": 0, "term": "v", "method": "mean", "cosine": 0.25, "angle": 75.5, "rows": rows}
    (tmp_path / "merges.json").write_text(json.dumps([merge]))
    for path in (tmp_path, tmp_path / "results.csv", tmp_path / "results.parquet"):
        (table,) = report.read_contents(path).tables["table3"]
        assert table.rows[-1].cells[0].ours == 62.5
    (tmp_path / "merges.json").write_text("[{}]")
    with pytest.raises(UserError, match="entry 1"):
        report.read_contents(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be made"):
        report.write_report(stored(tmp_path), tmp_path / "results.csv")
    with pytest.raises(UserError, match="no result table"):
        report.write_report(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_model_has_its_tables() -> None:
    both = pd.concat([make_results(tasks=("rte",)), make_results(tasks=("rte",), model="google-bert/bert-base-cased")])
    found = report.contents(both)
    assert [len(found.tables[name]) for name in ("table1", "table4", "reference")] == [2, 1, 2]
    assert found.frames()["table1"]["ours_of"].nunique() == 2
