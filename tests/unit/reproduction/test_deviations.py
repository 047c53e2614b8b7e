"""How far our numbers are off, and when that may be chance."""

from __future__ import annotations

import math

import pytest
from sweep_tables import make_results

from beft_core.reports import tables
from beft_core.reports.cells import Cell, Column, Row, Table
from beft_core.reproduction.deviations import HIGHER, LOWER, SAME, Compared, cell_text, compared, deviation, frame

ACCURACY = Column("sst2", "SST-2")


def table(*rows: tuple[tuple[str, str], float | None, float | None], column: Column = ACCURACY) -> Table:
    made = tuple(Row(labels, (Cell(ours, paper=paper),)) for labels, ours, paper in rows)
    return Table("t", "T", ("regime", "term"), (column,), made, "ours", "theirs")


@pytest.mark.parametrize(
    ("cell", "tolerance", "mark"),
    [
        (Cell(80.0, paper=85.0), 2 * math.sqrt(8), SAME),
        (Cell(80.0, paper=85.7), 2 * math.sqrt(8), LOWER),
        (Cell(91.4, paper=85.7), 2 * math.sqrt(8), HIGHER),
        (Cell(80.0, 0.3, paper=80.9, paper_spread=0.4), 1.0, SAME),
        (Cell(80.0, 0.3, paper=81.1, paper_spread=0.4), 1.0, LOWER),
    ],
)
def test_a_metric_deviates_beyond_two_standard_deviations(cell: Cell, tolerance: float, mark: str) -> None:
    found = deviation(cell, ACCURACY)
    assert found is not None and found.tolerance == pytest.approx(tolerance) and found.mark == mark
    assert cell.ours is not None and cell.paper is not None and found.by == cell.ours - cell.paper


def test_seconds_of_another_machine_and_missing_numbers_are_not_compared() -> None:
    assert deviation(Cell(1.0, paper=100.0), Column("seconds", "Seconds", "s")) is None
    assert deviation(Cell(paper=100.0), ACCURACY) is None and deviation(Cell(1.0), ACCURACY) is None
    share = deviation(Cell(0.0101, paper=0.01), Column("share", "Share"))
    assert share is not None and not share.is_outside
    angle = deviation(Cell(60.0, paper=79.5), Column("angle", "Angle", "°"))
    assert angle is not None and angle.mark == LOWER


def test_counts() -> None:
    low, high = ("low", "v"), ("low", "q")
    found = compared([table((low, 80.0, 85.8), (high, 81.0, 80.0), (("high", "v"), None, 88.0))])
    assert found == Compared(numbers=2, outside=1, of_paper=3, contests=1, same_best=0)
    assert found.in_words() == (
        "2 of the paper's 3 numbers were measured; 1 agree, 1 deviate. What is best is the same in 0 of 1 comparisons."
    )
    assert compared([table((low, None, 85.8))]).in_words() == "None of the paper's 1 numbers was measured."
    assert compared([table((low, 80.0, 85.8), (high, 80.0, 80.0))]).contests == 0, "two that tie have no best"
    assert compared([table((low, 80.0, 85.8))]).contests == 0


def test_the_whole_of_table_1() -> None:
    results = make_results(("sst2",), ("low", "high"), winners={("sst2", "high"): "q"})
    found = compared([tables.table1(results)])
    assert (found.numbers, found.contests, found.same_best) == (6, 2, 1)
    assert found.of_paper == 9 * 9 + 9, "nine tasks and the paper's own average, of three regimes and terms"


def test_as_data_and_as_text() -> None:
    made = table((("low", "v"), 80.0, 85.8), (("low", "q"), None, 80.0), (("low", "k"), 60.0, None))
    data = frame(made)
    assert data["off_by"].tolist()[0] == pytest.approx(-5.8) and data["off_by"].isna().tolist() == [False, True, True]
    assert data["deviates"].tolist()[0] is True and data["deviates"].isna().sum() == 2
    texts = [cell_text(row.cells[0], ACCURACY) for row in made.rows]
    assert texts == [f"80.0 {LOWER} (85.8)", "– (80.0)", "60.0"]
    assert cell_text(Cell(), ACCURACY) == ""
