"""Pictures of a card: well-formed SVG that stands alone and shows the numbers it is given."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from beft_core.publishing.picture import epochs, score_map, short

SVG = "{http://www.w3.org/2000/svg}"


def parsed(picture: str) -> ElementTree.Element:
    assert not re.search(r"<script|href|style=|url\(|<image|on\w+=", picture)
    return ElementTree.fromstring(picture)


def test_every_score_stands_in_its_cell() -> None:
    root = parsed(score_map("Ratio of <each>", {"b_q": [0.0, 0.5], "b_<v>": [1.0, float("nan")]}))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert texts[:2] == ["Ratio of <each>", "layer"] and texts[2:4] == ["0", "1"]
    assert texts[4:] == ["b_q", "0", "0.50", "b_<v>", "1.00", "–"]
    ground, *cells = root.iter(f"{SVG}rect")
    assert ground.get("fill") == "#fff" and len(cells) == 4
    dark = [sum(bytes.fromhex(cell.get("fill", "")[1:])) for cell in cells]
    assert dark[2] < dark[1] < dark[0] == dark[3]
    places = {(cell.get("x"), cell.get("y")) for cell in cells}
    assert len(places) == 4 and len({x for x, _ in places}) == 2
    width, height = (float(root.get(name, "")) for name in ("width", "height"))
    for cell in cells:
        assert float(cell.get("x", "")) + float(cell.get("width", "")) <= width
        assert float(cell.get("y", "")) + float(cell.get("height", "")) <= height


def test_nothing_that_moved_is_a_map_all_the_same() -> None:
    assert len(list(parsed(score_map("t", {"b_q": [0.0, 0.0]})).iter(f"{SVG}rect"))) == 3


@pytest.mark.parametrize("constant", [0.5, None])
@pytest.mark.parametrize("values", [[0.4, 0.6, 0.55], [0.4], [0.5, 0.5]])
def test_a_metric_over_epochs_lies_within_the_picture(values: list[float], constant: float | None) -> None:
    root = parsed(epochs("accuracy over epochs", values, constant))
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in root.iter(f"{SVG}circle")]
    assert len(dots) == len(values)
    assert all(50 <= x <= 420 and 46 <= y <= 180 for x, y in dots)
    heights = [y for _, y in dots]
    assert sorted(range(len(values)), key=lambda at: -heights[at]) == sorted(range(len(values)), key=values.__getitem__)
    dashed = [line for line in root.iter(f"{SVG}line") if line.get("stroke-dasharray")]
    assert len(dashed) == (constant is not None)
    if constant in values:
        assert float(dashed[0].get("y1", "")) == pytest.approx(heights[values.index(constant)], abs=0.1)


def test_numbers_fit_into_a_cell() -> None:
    written = {0: "0", 0.123: "0.12", 9.996: "10.0", 12.34: "12.3", 123.4: "123", 1e6: "1e+06", 0.0001: "1e-04"}
    assert {value: short(value) for value in written} == written
