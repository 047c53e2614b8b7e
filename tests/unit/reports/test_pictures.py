"""Pictures of a report: where their lines lie, and that names in them stay text."""

from __future__ import annotations

import re

import pytest

from beft_core.reports import pictures


def test_charts_follow_the_numbers() -> None:
    nan = (float("nan"),) * 3
    chart = pictures.chart(
        "C", ["low", "high"], {"v": [(1, 1, 1), (8, 7, 8)], "q": [nan, (2, 2, 2)], "k": [nan, nan]}, 8
    )
    dots = [(term, float(y)) for term, y in re.findall(r'<circle class="(\w)" cx="[\d.]+" cy="([\d.]+)"', chart)]
    assert [term for term, _ in dots] == ["v", "v", "q"]
    first, last, second = (y for _, y in dots)
    assert first < second < last  # rank 1 is on top
    assert second - first == pytest.approx((last - first) / 7, abs=0.1)
    assert pictures.chart("C", ["low"], {"v": [nan]}, 0) == ""


def test_sparklines_share_a_scale() -> None:
    def heights(values: list[float]) -> list[float]:
        return [float(y) for y in re.findall(r'cy="([\d.]+)"', pictures.sparkline(values, 0, 100))]

    assert heights([0, 100]) == [22, 4]
    assert heights([50, float("nan"), 50]) == [13, 13]
    assert heights([50]) == [13]


def test_names_in_pictures_stay_text() -> None:
    chart = pictures.chart('<b>"', ["<i>"], {"v": [(50.0, 49.0, 51.0)]}, 0)
    assert "<b>" not in chart
    assert "<i>" not in chart
    assert "<figcaption>&lt;b&gt;&#34;</figcaption>" in chart
    assert ">&lt;i&gt;</text>" in chart
