"""Figures of rewritings: the curve over the shift with its flip, and two bars for each candidate."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.scores.rewriting import Flip
from dashboard.figures.rewriting import before_after, over_shift

R = np.linspace(0, 10, 11)
SCORES = 0.6 / (1 + R)


@pytest.mark.parametrize("dark", [False, True])
def test_the_flip_and_the_place_are_marked(dark: bool) -> None:
    figure = over_shift(R, SCORES, (SCORES - 0.01, SCORES + 0.01), {"q": 0.12}, 5, Flip(4.0, "v", "q"), dark)
    names = [one.name for one in (*figure.data, *figure.layout.shapes, *figure.layout.annotations)]
    assert names.count("flip") == 2 and names.count("rival") == 1 and {"band", "v", "here", "q"} <= set(names)
    (here,) = [trace for trace in figure.data if trace.name == "here"]
    assert (here.x[0], here.y[0]) == (5, pytest.approx(0.1))
    assert figure.layout.yaxis.range[1] > SCORES.max()


def test_a_flip_beyond_the_slider_or_none_is_not_drawn() -> None:
    for flip in (Flip(40.0, "v", "q"), None):
        figure = over_shift(R, SCORES, None, {}, 0, flip)
        assert not [one for one in (*figure.layout.shapes, *figure.layout.annotations) if one.name == "flip"]


def test_two_bars_each_and_null_in_words() -> None:
    figure = before_after({"q": 0.1, "k": 0.0, "v": 0.6}, {"q": 0.1, "k": 0.0, "v": 0.05}, ["k"], "q")
    was, now = figure.data
    assert list(was.x) == [0.1, 0.0, 0.6] and list(now.x) == [0.1, 0.0, 0.05]
    assert was.text[1] == " null: cannot act" and now.text[1] == "" and "0.05 rewritten" in now.text[2]
    assert [text.startswith("★") for text in figure.layout.yaxis.ticktext] == [True, False, False]
