"""The report: one page that fetches nothing and trusts no name, and a CSV file for each table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from sweep_tables import make_results

from beft_core.errors import UserError
from beft_core.reports import html_page, report
from beft_core.reports.contents import Contents
from beft_core.reports.html_parts import ENVIRONMENT
from beft_core.reports.selection import in_words, prediction
from beft_core.sweeps.table import write_table

FILES = {
    "report.html",
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
PARTS = ENVIRONMENT.get_template("parts.html").module
EMPTY = {"meta", "line", "circle", "polyline"}
HOSTILE = "<script>alert('1')</script>\" onload=\"x"


class Page(HTMLParser):
    """What a browser would see: tags, attributes and text; refuses what is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


@pytest.fixture(scope="module")
def contents() -> Contents:
    """A small sweep with one failure."""
    return report.contents(make_results(null="k", failed=lambda run: run[0] == "rte" and run[2] == "q" and run[4] == 0))


@pytest.fixture(scope="module")
def document(contents: Contents) -> str:
    return html_page.html(contents)


def stored(folder: Path) -> Path:
    """A sweep's folder."""
    write_table(make_results(tasks=("rte",), regimes=("low",)), folder)
    return folder


# --- files -------------------------------------------------------------------------------------------------


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


# --- the page ----------------------------------------------------------------------------------------------


def test_the_page_is_whole_and_fetches_nothing(document: str) -> None:
    seen = Page(document)
    assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)
    assert not {"src", "href", "onload", "style"} & {name for name, _ in seen.attributes}
    assert not re.search(r"url\(|@import|https?://", document)
    assert "prefers-color-scheme: dark" in document
    assert ("name", "viewport") in seen.attributes


def test_the_page_says_what_it_must(document: str, contents: Contents) -> None:
    text = Page(document).text
    for words in (
        "Does the score predict performance?",
        contents.verdict,
        "4 of 168 fine-tunes failed and enter no mean",
        "BERT-base on GLUE (Table 1)",
        "the lab's bundled all-MiniLM-L6-v2",
        "no run of qqp in the table",
        "generation and multiple choice are not tasks of this lab",
        "beft sweep --model FacebookAI/roberta-base",
        "b_k is certified null",
        "Projection ratio",
        "lr 0.01, 3 seeds",
        "drops the claim of a selection method",
    ):
        assert words in text, words


def test_hostile_names_stay_text() -> None:
    results = make_results(tasks=("rte",), regimes=("low",), model=HOSTILE, failed=lambda run: run[2] == "k")
    results["failure"] = results["failure"].astype(object).where(results["failure"].isna(), HOSTILE)
    results[["device", "task", "regime"]] = HOSTILE
    seen = Page(html_page.html(report.contents(results)))
    assert "script" not in seen.tags
    assert "onload" not in {name for name, _ in seen.attributes}
    assert HOSTILE in seen.text


def test_the_prediction_of_the_page_is_that_of_the_module(contents: Contents, document: str) -> None:
    summary = contents.series["prediction"]
    pooled = summary[(summary["task"] == prediction.POOLED) & (summary["regime"] == prediction.POOLED)]
    rows = in_words.rows(pooled)
    assert [row[0] for row in rows] == [
        "Projection ratio (+ 4)",
        "Magnitude (L1) (+ 1)",
        "Always b_v",
        "Oracle of the other seeds",
        "Random (expected)",
    ]
    for words in ("Smallest pre-trained norm name the same term", "draw tasks, then data sizes and seeds within them"):
        assert words in Page(document).text, words
    assert contents.facts[report.NORMS] == "recorded in the table"
    assert PARTS.table(in_words.HEAD, rows) in document
    assert {row[1] for row in rows} == {str(len(prediction.cases(make_results()).query("rule == 'always_v'")) - 4)}
    assert in_words.interval(1.304, 0.4, float("nan")) == "1.30"
    assert in_words.interval(1.304, 0.4, 2.1) == "1.30 (0.40 to 2.10)"
    assert in_words.interval(float("nan"), 0, 1) == "–"


@pytest.mark.parametrize("trains", [("all",), ("v",), ("q", "k"), ("q+v",), ("v", "q", "k", "all")])
def test_a_sweep_of_any_kind_has_a_report(trains: tuple[str, ...], tmp_path: Path) -> None:
    for failed in (False, True):
        results = make_results(
            tasks=("demo-sentiment",), regimes=("low",), trains=trains, failed=lambda run, f=failed: f
        )
        Page(html_page.html(report.contents(results.assign(regime=None))))


def test_every_model_has_its_tables() -> None:
    both = pd.concat([make_results(tasks=("rte",)), make_results(tasks=("rte",), model="google-bert/bert-base-cased")])
    found = report.contents(both)
    assert [len(found.tables[name]) for name in ("table1", "table4", "reference")] == [2, 1, 2]
    assert found.frames()["table1"]["ours_of"].nunique() == 2


def test_no_torch() -> None:
    code = "import sys, beft_core.reports.report, beft_core.cli.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
