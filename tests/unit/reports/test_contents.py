"""What a report says, as data."""

from __future__ import annotations

import pandas as pd
import pytest

from beft_core.reports.cells import Cell, Column, Row, Table
from beft_core.reports.contents import Contents


def table(title: str, *values: float) -> Table:
    """A table of one row."""
    columns = tuple(Column(f"c{at}", "") for at in range(len(values)))
    return Table("t", title, ("term",), columns, (Row(("v",), tuple(map(Cell, values))),), "we", "")


def test_tables_of_a_group_are_one_frame_that_says_whose_rows_are_whose() -> None:
    series = pd.DataFrame({"x": [1.0]})
    found = Contents({}, {"table1": [table("A", 1.0, 2.0), table("B", 3.0)]}, {"figure4": series}, "").frames()
    assert list(found) == ["table1", "figure4"]
    assert found["table1"][["title", "column", "ours"]].to_numpy().tolist() == [
        ["A", "c0", 1.0],
        ["A", "c1", 2.0],
        ["B", "c0", 3.0],
    ]
    assert found["table1"].index.tolist() == [0, 1, 2]
    assert found["figure4"] is series


def test_contents_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Contents({}, {}, {}, "").verdict = "other"  # type: ignore[misc]
