"""The templates of the report: what they escape, and how a table of the paper is marked."""

from __future__ import annotations

from importlib.resources import files

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from beft_core.reports.cells import Cell, Column, Row, Table
from beft_core.reports.html_parts import ENVIRONMENT, circumstances, footnotes

PARTS = ENVIRONMENT.get_template("parts.html").module


def test_ours_and_the_papers_number_share_a_cell() -> None:
    column = Column("a", "A (accuracy)")
    cells = (Cell(81.04, 1, 3, paper=85.8, bold=True, dagger=True, lr=0.01, failed=1, paper_dagger=True),)
    missing = (Cell(paper=80.0, reason="no run"),)
    neither = (Cell(reason="no run"),)
    rows = tuple(Row((name,), cell) for name, cell in (("v", cells), ("q", missing), ("k", missing), ("o", neither)))
    text = PARTS.paper_table(Table("t", "T", ("term",), (column,), rows, "we", "they"))
    assert "<b>81.0</b> ± 1.0†<small>lr 0.01, 3 seeds, 1 failed</small>" in text
    assert '<div class="paper">paper 85.8†</div>' in text
    assert text.count("<sup>1</sup>") == 2  # the same reason is told once, and not where the paper has nothing
    assert text.count("no run") == 1


def test_texts_are_escaped_and_pictures_are_not() -> None:
    text = PARTS.table(("<a>",), [("<b>", '<i>&"', Markup("<svg></svg>"))])
    assert text.count("<th scope") == 2
    assert '<th scope="col">&lt;a&gt;</th>' in text
    assert '<th scope="row">&lt;b&gt;</th><td>&lt;i&gt;&amp;&#34;</td><td><svg></svg></td>' in text


def test_the_first_columns_are_headings() -> None:
    text = PARTS.table(("a", "b", "c"), [("1", "2", "3")], 2)
    assert '<tr><th scope="row">1</th><th scope="row">2</th><td>3</td></tr>' in text


def test_marks_are_counted_in_reading_order() -> None:
    lacks = [Cell(paper=1.0, reason=reason) for reason in ("no run", "failed", "no run")]
    rows = (Row(("a",), (Cell(reason="of neither"), lacks[0])), Row(("b",), (lacks[1], lacks[2])))
    table = Table("t", "T", ("h",), (Column("x", "X"), Column("y", "Y")), rows, "we", "they")
    assert footnotes(table) == {"no run": 1, "failed": 2}


def test_a_block_opens_where_the_first_label_changes() -> None:
    rows = tuple(Row(labels, (Cell(1.0),)) for labels in (("low", "q"), ("low", "v"), ("high", "q")))
    column = Column("x", "X", unit="s")
    table = Table("t", "T", ("regime", "term"), (column,), rows, "we", "")
    text = PARTS.paper_table(table)
    assert [part[:16] for part in text.split("<tr")[2:]] == [' class="block"><', '><th scope="row"', ' class="block"><']
    assert "X, s</th>" in text
    assert "Paper:" not in text


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (Cell(1.0), ""),
        (Cell(1.0, lr=0.001, seeds=1), "lr 0.001, 1 seed"),
        (Cell(1.0, lr=1e-5), "lr 1e-05"),
        (Cell(1.0, seeds=3), ""),
        (Cell(1.0, seeds=3, failed=2), "2 failed"),
    ],
)
def test_circumstances(cell: Cell, said: str) -> None:
    assert circumstances(cell) == said


def test_the_templates_lie_in_the_package_and_miss_nothing_silently() -> None:
    names = {file.name for file in files("beft_core.reports").joinpath("templates").iterdir()}
    assert set(ENVIRONMENT.list_templates()) == names == {"parts.html", "report.css", "report.html"}
    with pytest.raises(UndefinedError, match="title"):
        ENVIRONMENT.get_template("report.html").render(facts={})
