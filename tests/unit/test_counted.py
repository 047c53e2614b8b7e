"""Numbers of things in words."""

from __future__ import annotations

import pytest

from beft_core.counted import counted


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [
        (0, "step", "0 steps"),
        (1, "step", "1 step"),
        (2000, "fine-tune", "2,000 fine-tunes"),
        (1, "pass", "1 pass"),
        (2, "pass", "2 passes"),
    ],
)
def test_one_thing_is_singular(number: int, what: str, said: str) -> None:
    assert counted(number, what) == said
