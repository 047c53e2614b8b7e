"""Numbers of bytes in words."""

from __future__ import annotations

import pytest

from dashboard.shared.text import bytes_in_words


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
