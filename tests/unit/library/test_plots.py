"""Figures are drawn by name."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.library import plots


def test_only_the_figure_that_is_asked_for_is_drawn() -> None:
    kinds = {"overview": lambda: "drawn", "angles": lambda: 1 / 0}
    assert plots.drawn("overview", kinds) == "drawn"  # type: ignore[arg-type]
    with pytest.raises(UserError, match="got the figure 'angle'; expected one of overview, angles; try angles"):
        plots.drawn("angle", kinds)  # type: ignore[arg-type]


def test_one_approach_of_each_question() -> None:
    known = ("projection_ratio", "magnitude", "magnitude_mean_abs", "fisher_batch")
    assert plots.one_of_each(known) == ["projection_ratio", "magnitude", "fisher_batch"]
