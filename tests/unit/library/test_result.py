"""Results show themselves as text and as HTML that holds no markup of a stranger's, and write their table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from beft_core.errors import UserError
from beft_core.library.result import MAX_SHOWN, Result, Shown, cell


class Words(Result):
    def __init__(self, *rows: list[str]) -> None:
        self.rows = rows

    def shown(self) -> Shown:
        return Shown("a <b>title</b>", ["term", "score"], self.rows, ["a note"])

    def to_pandas(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=["term", "score"])


def test_the_repr_is_a_table_with_columns_under_each_other() -> None:
    assert repr(Words(["q", "0.1"], ["mlp_out", "–"])).splitlines() == [
        "a <b>title</b>",
        "  term     score",
        "  q        0.1",
        "  mlp_out  –",
        "a note",
    ]


def test_html_escapes_every_text() -> None:
    page = Words(["<script>alert(1)</script>", '"x"'])._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "a &lt;b&gt;title&lt;/b&gt;" in page and "a note" in page


def test_long_tables_are_cut_and_say_so() -> None:
    result = Words(*([str(n), "1"] for n in range(MAX_SHOWN + 3)))
    assert "and 3 more: to_pandas() has all" in repr(result)
    assert f"\n  {MAX_SHOWN - 1} " in repr(result) and f"\n  {MAX_SHOWN} " not in repr(result)
    assert "and 3 more" in result._repr_html_() and "more" not in repr(Words(["q", "1"]))


@pytest.mark.parametrize(
    ("ending", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet), (".json", pd.read_json)]
)
def test_tables_are_written_by_their_ending(tmp_path: Path, ending: str, read: object) -> None:
    file = Words(["q", "a"], ["v", "b"]).save(tmp_path / f"table{ending}")
    assert file == tmp_path / f"table{ending}"
    assert read(file).to_dict("list") == {"term": ["q", "v"], "score": ["a", "b"]}  # type: ignore[operator]


def test_another_ending_is_refused_with_a_name_that_works(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got table\.xlsx; expected .*\.csv, \.parquet, \.json; try table\.csv"):
        Words().save(tmp_path / "table.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_cells() -> None:
    assert [cell(v) for v in (None, float("nan"), True, 3, 0.123456, "x")] == ["–", "–", "yes", "3", "0.1235", "x"]
