"""Reasons why an approach selects no term."""

from __future__ import annotations

import pytest

from beft_core.scores.no_selection import no_selection


@pytest.mark.parametrize(
    ("scores", "contestants", "from_zero", "said"),
    [
        ({"q": 0.2, "v": 0.1}, ("q", "v"), (), None),
        ({"q": 0.2, "v": 0.2, "k": 0.1}, ("q", "k", "v"), (), None),  # a tie of some: the order of terms decides
        ({"q": 0.2, "v": 0.2}, ("q", "v"), (), "all equal (q and v)"),
        ({"q": 0.0, "v": 0.0}, ("q", "v"), (), "q and v did not move"),
        ({"v": 0.2}, ("v",), (), "there is no contest among q, k, v, only v took part"),
        ({}, (), (), "there is no contest among q, k, v, none of them took part"),
        ({"q": 1.0, "v": 1.0}, (), ("q", "v"), "undefined from zero (q and v started at zero"),
        ({"q": 0.3, "v": 1.0}, ("q",), ("v",), "undefined from zero (v started at zero"),
        ({"q": 0.3, "k": 0.1, "v": 1.0}, ("q", "k"), ("v",), None),
    ],
)
def test_each_reason_in_words(
    scores: dict[str, float], contestants: tuple[str, ...], from_zero: tuple[str, ...], said: str | None
) -> None:
    reason = no_selection(scores, contestants, from_zero)
    assert (reason is None) == (said is None) and (said is None or str(reason).startswith(said))
