"""What a page says where an approach selects no term."""

from __future__ import annotations

from typing import get_args

import pytest

from beft_core.scores.no_selection import NoSelection, Why
from dashboard.app_pages.compare.parts import NOT_SELECTED
from dashboard.content.answers import _NOBODY, _nobody


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (NoSelection("equal", ("q", "v")), "No selection: all equal. $b_q$ and $b_v$ score the same."),
        (NoSelection("from_zero", ("v",)), "No selection: undefined from zero. $b_v$ started at zero"),
        (NoSelection("unmoved", ("q", "v")), "$b_q$ and $b_v$ did not move, so none is selected."),
        (NoSelection("alone", ("v",)), "No contest: of $b_q$, $b_k$, $b_v$ only $b_v$ took part"),
        (NoSelection("nobody"), "None of $b_q$, $b_k$, $b_v$ took part."),
    ],
)
def test_each_reason_in_a_sentence(reason: NoSelection, said: str) -> None:
    assert _nobody(reason).startswith(said)


def test_every_reason_has_words_on_every_page() -> None:
    assert set(_NOBODY) == set(NOT_SELECTED) == set(get_args(Why))
