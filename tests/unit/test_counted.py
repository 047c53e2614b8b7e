"""Numbers of things in words."""

from __future__ import annotations

import pytest

from beft_core.counted import counted, unsigned_zero


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


def test_no_zero_has_a_sign() -> None:
    assert [f"{unsigned_zero(value, 2):+.2f}" for value in (-0.004, 0.004, -0.006, 1.0)] == [
        "+0.00",
        "+0.00",
        "-0.01",
        "+1.00",
    ]
