"""``beft report`` as its users meet it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_runner import assert_refused, beft
from made_comparisons import comparison, row
from sweep_tables import make_results

from beft_core.cli.report import METHODS
from beft_core.reports import report
from beft_core.reports.methods.table import NAME, write_comparison
from beft_core.sweeps.table import write_table


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished sweep, which stays as it is."""
    folder = tmp_path_factory.mktemp("sweep")
    write_table(make_results(failed=lambda run: run[2] == "q" and run[4] == 2), folder)
    return folder


@pytest.fixture
def sweep(written: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(written, tmp_path, dirs_exist_ok=True)


def cells(line: str) -> list[str]:
    """A line of a terminal table."""
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_it_prints_table_1_and_the_prediction_and_writes_the_report(sweep: Path) -> None:
    result = beft("report", sweep, "--out", sweep / "report")
    page = sweep / "report" / report.PAGE
    assert result.status == 0 and result.err.split() == f"wrote {page} and 12 CSV files beside it".split()
    assert page.read_text().startswith("<!doctype html>")
    assert result.out.startswith("These fine-tunes confirm ")
    lines = [cells(line) for line in result.out.splitlines()]
    assert ["It selects better than Magnitude", "3.2", "confirmed"] in lines
    assert ["task", "regime", "b_v", "b_q", "b_k", "at lr", "paper b_v", "paper b_q", "paper b_k"] in lines
    assert [
        "SST-2 (accuracy)",
        "low",
        "81.0 ± 1.0*†",
        "70.5 ± 0.7",
        "61.0 ± 1.0",
        "0.01",
        "85.8†",
        "80.0",
        "77.2",
    ] in lines
    for words in (
        "Does the score predict performance?",
        "Always b_v",
        "8 of 168 fine-tunes failed and enter no mean",
        "learning rate: every number at the learning rate where its own mean",
    ):
        assert words in result.out, words
    (missing,) = [line for line in result.out.splitlines() if line.startswith("not in the table")]
    assert "QQP (f1) low/medium/high" in missing or "QQP (f1)," in missing


def test_the_choice_of_the_learning_rate(sweep: Path) -> None:
    chosen = beft("report", sweep, "--lr", "0.001")
    assert "0.001" in chosen.out and (chosen.status, chosen.err) == (0, "")
    same = beft("report", sweep / "results.csv", "--lr", "same")
    assert "b_v has its best mean" in same.out


def test_json(sweep: Path) -> None:
    document = beft("report", sweep / "results.parquet", "--json", "--out", sweep / "r").json
    assert set(document) == {"facts", "verdict", "tables", "files"}
    wanted = ("low", "b_v", "rte")
    (one,) = (r for r in document["tables"]["table1"] if (r["regime"], r["term"], r["column"]) == wanted)
    assert (one["ours"], one["paper"], one["lr"]) == (pytest.approx(81), 59.5, 0.01)
    assert len(document["files"]) == 13
    verdicts = {row["claim"]: row["verdict"] for row in document["tables"]["claims"]}
    assert verdicts["magnitude"] == "confirmed" and verdicts["decoders"] == "untested"
    assert {row["rule"] for row in document["tables"]["prediction"]} >= {"projection_ratio", "always_v"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no result table"),
        (["results.csv", "--lr", "worst"], "got --lr worst"),
        (["results.csv", "--lr", "0"], "got --lr 0"),
        (["results.csv", "--lr", "nan"], "got --lr nan"),
        (["results.csv", "--out", "results.csv"], "cannot be made"),
        (["broken.csv"], "without the columns"),
        (["broken.parquet"], "no readable Parquet"),
        (["words.csv"], "column value"),
        (["empty.csv"], "without rows"),
        ([], "Missing argument"),
    ],
)
def test_wrong_input(arguments: list[str], words: str, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sweep)
    lines = (sweep / "results.csv").read_text().splitlines(keepends=True)
    (sweep / "broken.csv").write_text("a,b\n1,2\n")
    (sweep / "broken.parquet").write_bytes(b"PAR1")
    (sweep / "empty.csv").write_text(lines[0])
    at = lines[0].split(",").index("value")
    first = lines[1].split(",")
    (sweep / "words.csv").write_text(lines[0] + ",".join([*first[:at], "many", *first[at + 1 :]]))
    assert words in assert_refused(beft("report", *arguments))


def test_damaged_merges(sweep: Path) -> None:
    (sweep / "merges.json").write_text(json.dumps({"tasks": []}))
    assert "merges.json" in assert_refused(beft("report", sweep))


def test_methods_are_printed_beside_both_models_of_the_paper(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "compared"
    folder.mkdir()
    write_comparison(
        comparison(row("lora", 0.5, setting="same"), row("v", 0.8, setting="same"), row("v", 0.8)), folder, {}
    )
    result = beft("report", sweep, "--compared", folder)
    assert result.status == 0
    lines = [cells(line) for line in result.out.splitlines()]
    assert ["SST-2 (accuracy)", "LoRA", "50.0 ± 1.0", "0.001", "92.6", "50.5"] in lines
    assert ["SST-2 (accuracy)", "b_v", "80.0 ± 1.0*", "0.001", "93.1", "95.2"] in lines
    assert "collapse confirmed here" in result.out
    assert "no comparison is" in assert_refused(beft("report", sweep, "--compared", tmp_path / "none"))


def test_a_table_of_methods_is_reported_without_its_sweep(tmp_path: Path) -> None:
    write_comparison(comparison(row("lora", 0.5), row("v", 0.8)), tmp_path, {})
    result = beft("report", tmp_path / "methods.parquet")
    assert result.status == 0 and "each method at its best" in result.out and "Which" not in result.out
    document = beft("report", tmp_path / "methods.parquet", "--json").json
    assert [one["method"] for one in document["methods"]] == ["lora", "v"] and document["table5-best"]
    assert METHODS == NAME
    line = assert_refused(beft("report", tmp_path / "methods.parquet", "--out", tmp_path / "page"))
    assert "the folder of the comparison" in line
