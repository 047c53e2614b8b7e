"""Figures are drawn by name; what is missing for them is told."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.library import plots


def test_only_the_figure_that_is_asked_for_is_drawn() -> None:
    assert plots.drawn("a", {"a": lambda: "drawn", "b": lambda: 1 / 0}) == "drawn"  # type: ignore[dict-item]


def test_without_plotly_it_is_told_what_to_install() -> None:
    def without(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    with pytest.raises(UserError, match="Plotly is not installed"):
        plots.drawn("a", {"a": lambda: without("plotly.graph_objects")})  # type: ignore[dict-item, return-value]
    with pytest.raises(ModuleNotFoundError, match="dashboard"):
        plots.drawn("a", {"a": lambda: without("dashboard.figures")})  # type: ignore[dict-item, return-value]


def test_one_approach_of_each_question() -> None:
    known = ("projection_ratio", "magnitude", "magnitude_mean_abs", "fisher_batch")
    assert plots.one_of_each(known) == ["projection_ratio", "magnitude", "fisher_batch"]
