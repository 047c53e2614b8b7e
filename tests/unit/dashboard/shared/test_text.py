"""Numbers in words: bytes, and those that are read back."""

from __future__ import annotations

import pytest

from dashboard.shared.text import bytes_in_words, exact


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "1 kB"),
        (2_600, "3 kB"),
        (1_240_000, "1.2 MB"),
        (14_600_000, "15 MB"),
        (800_000_000, "800 MB"),
        (7_540_000_000, "7.5 GB"),
    ],
)
def test_bytes_are_written_in_the_largest_unit_that_they_fill(count: int, words: str) -> None:
    assert bytes_in_words(count) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.001, "0.001"), (1e-5, "1e-05"), (0.00123456789, "0.00123456789"), (0.1 + 0.2, str(0.1 + 0.2))],
)
def test_a_number_is_read_back_as_itself(value: float, words: str) -> None:
    assert exact(value) == words and float(words) == value
