"""Cells of a table: which are bold, how they read, and the table as data."""

from __future__ import annotations

import pytest
from sweep_tables import make_results

from beft_core.reports import tables
from beft_core.reports.cells import Cell, Column, Row, mark_best, ours_text, paper_text, with_ours


def test_the_frame_has_every_cell() -> None:
    table = tables.table1(make_results())
    frame = table.frame()
    assert len(frame) == len(table.rows) * len(table.columns)
    one = frame[(frame["regime"] == "low") & (frame["term"] == "b_v") & (frame["column"] == "rte")].iloc[0]
    assert (one["ours"], one["paper"], one["paper_of"]) == (pytest.approx(81), 59.5, table.paper)
    assert frame["ours"].dtype == float


def test_cells_that_tie_are_all_bold() -> None:
    columns = (Column("a", "A"), Column("b", "B", best="lowest"), Column("c", "C", best="none"))
    rows = [Row(("x",), tuple(Cell(value) for value in values)) for values in ((2, 2, 2), (2, 1, 3), (1, 3, 1))]
    rows.append(Row(("x",), (Cell(), Cell(), Cell())))
    marked = mark_best(rows, columns, lambda row: row.labels)
    assert [[c.bold for c in row.cells] for row in marked] == [
        [True, False, False],
        [True, True, False],
        [False, False, False],
        [False, False, False],
    ]


def test_no_zero_has_a_sign() -> None:
    column = Column("mcc", "MCC")
    assert [ours_text(Cell(value), column) for value in (-0.04, 0.04, -0.06)] == ["0.0", "0.0", "-0.1"]


def test_texts() -> None:
    column = Column("share", "Share", decimals=3, paper_decimals=2)
    found = Cell(0.1048, 0.0004, 3, paper=0.09, paper_spread=0.011, paper_dagger=True)
    assert ours_text(found, column) == "0.105 ± 0.000"
    assert paper_text(found, column) == "0.09 ± 0.01†"
    assert ours_text(Cell(), column) == paper_text(Cell(), column) == ""


def test_only_what_has_numbers_of_ours_is_kept_and_the_rest_is_named() -> None:
    whole = tables.table1(make_results())  # of SST-2 and RTE, at low and medium size
    shown, left_out = with_ours(whole)
    assert [column.key for column in shown.columns] == ["sst2", "rte", "here"]
    assert {row.labels[0] for row in shown.rows} == {"low", "medium"} and all(len(row.cells) == 3 for row in shown.rows)
    assert left_out[:3] == ("high", "QQP (f1)", "QNLI (accuracy)")
    assert with_ours(shown) == (shown, ())
    nothing = tables.table3(None)
    assert with_ours(nothing) == (nothing, ())
