"""Tables of any width: nothing is cut or wider than the terminal, and what a row is stands beside its cells."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from beft_core.cli import tables

HEAD = ["name", "a long heading", "value", "note"]
ROWS = [
    ["encoder.v", "0.5000", "12.25", "several words that may be folded"],
    ["a-name-without-any-space-in-it", "-1.5", "–", ""],
]


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_as_wide_as_it_comes() -> None:
    assert tables.table(HEAD, ROWS, None) == [
        "",
        "  name                            a long heading  value  note",
        " " + "─" * 88,
        "  encoder.v                               0.5000  12.25  several words that may be folded",
        "  a-name-without-any-space-in-it            -1.5      –",
    ]


def test_words_are_folded_before_columns_move() -> None:
    lines = tables.table(HEAD, ROWS, 70)
    assert max(map(cell_len, lines)) <= 70
    assert sum("─" in line for line in lines) == 1
    assert any("12.25  several words" in line for line in lines)


def test_columns_move_below_with_what_says_what_a_row_is() -> None:
    head = ["task", "regime", *(f"column {n}" for n in range(6))]
    rows = [["sst2", "low", *(f"{n}.0000000" for n in range(6))], ["rte", "low", *(f"{n}.5000000" for n in range(6))]]
    lines = tables.table(head, rows, 50, keys=2)
    assert max(map(cell_len, lines)) <= 50
    starts = [line.split()[:2] for line in lines if line.startswith("  sst2")]
    assert len(starts) > 1 and all(start == ["sst2", "low"] for start in starts)
    text = " ".join(lines)
    assert all(f"{n}.5000000" in text for n in range(6))


@pytest.mark.parametrize("limit", range(40, 60))
def test_a_rank_stays_beside_what_it_ranks(limit: int) -> None:
    head = ["term", *(name for n in range(6) for name in (f"score{n}", tables.RANK))]
    lines = tables.table(head, [["q", *(text for n in range(6) for text in (f"{n}.0", str(n)))]], limit)
    heads = [line.split() for line in lines if "term" in line]
    assert len(heads) > 1 and all(words[1] != tables.RANK and words[-1] == tables.RANK for words in heads)


CELL = st.text(st.sampled_from("abc 123.–-äß日本"), max_size=60)


@given(st.data(), st.integers(1, 9), st.integers(40, 120))
def test_no_line_is_wider_and_no_character_is_lost(data: st.DataObject, columns: int, limit: int) -> None:
    word = st.text("abcdef日", min_size=1, max_size=10)
    head = data.draw(st.lists(word, min_size=columns, max_size=columns))
    rows = data.draw(st.lists(st.lists(CELL, min_size=columns, max_size=columns), max_size=4))
    numbers = [all(row[at][:1].isdigit() or row[at][:1] in ("", "-", "–") for row in rows) for at in range(columns)]
    for row in rows:
        for at, number in enumerate(numbers):
            row[at] = row[at][:8] if number else row[at]
    lines = tables.table(head, rows, limit)
    assert max(map(cell_len, lines)) <= limit
    shown = squeezed("".join(lines)).replace("─", "")
    for char in "abc日本":
        assert shown.count(char) >= sum(cell.count(char) for cell in (*head, *(c for row in rows for c in row)))


def test_the_width_is_that_of_columns_also_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert tables.width() is None  # no terminal
    for said, width in (("80", 80), ("200", 200), ("7", tables.MIN_WIDTH), ("0", None), ("wide", None)):
        monkeypatch.setenv("COLUMNS", said)
        assert tables.width() == width


def test_lines_are_broken_between_words_and_paths_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "one two " * 12 + "/a/path/that/is/longer/than/forty/columns/and/stays/whole.beft.safetensors"
    monkeypatch.setenv("COLUMNS", "40")
    parts = tables.wrapped(line)
    assert max(map(len, parts[:-1])) <= 40 and parts[-1].strip() == line.split()[-1]
    assert " ".join(part.strip() for part in parts) == line
    monkeypatch.delenv("COLUMNS")
    assert tables.wrapped(line) == [line]
