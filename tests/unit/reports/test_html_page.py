"""The page of a report: whole, fetching nothing, trusting no name, saying what it must."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sweep_tables import make_results

from beft_core.reports import html_page, report
from beft_core.reports.contents import Contents
from beft_core.reports.html_parts import ENVIRONMENT
from beft_core.reports.selection import in_words, prediction

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


def test_the_verdicts_come_first(document: str, contents: Contents) -> None:
    text = Page(document).text
    assert "These fine-tunes confirm" in text
    assert text.index("Which claims of the paper hold?") < text.index("Fine-tunes")
    for one in contents.claims:
        assert one.claim.says in text


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
        "beft compare-methods --task prompt-copa --model facebook/opt-1.3b",
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
