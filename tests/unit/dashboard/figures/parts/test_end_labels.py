"""Names at the ends of lines: beside their own line where there is room, apart and in order where there is none."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from dashboard.figures.parts.end_labels import LINE_PIXELS, End, name_ends

SPAN, PIXELS = (0.0, 2.0), 200.0


def named(ys: dict[str, float], *, left: bool = False) -> list[go.layout.Annotation]:
    figure = go.Figure()
    name_ends(figure, [End(3, y, text, "#123456") for text, y in ys.items()], SPAN, PIXELS, left=left)
    return list(figure.layout.annotations)


def height(note: go.layout.Annotation) -> float:
    """Where the text stands, in pixels from the bottom: ``ay`` counts downwards, ``yshift`` upwards."""
    return PIXELS * (note.y - SPAN[0]) / (SPAN[1] - SPAN[0]) - (note.ay or 0) + (note.yshift or 0)


def test_names_with_room_stand_on_their_lines() -> None:
    for note, y in zip(named({"a": 0.5, "b": 1.5}), (0.5, 1.5), strict=True):
        assert (note.x, note.y, note.showarrow, note.xanchor) == (3, y, False, "left")
        assert height(note) == pytest.approx(100 * y)


def test_names_without_room_give_way_in_the_order_of_their_lines() -> None:
    notes = {note.text: note for note in named({"high": 1.02, "low": 0.98, "middle": 1.0})}
    places = [height(notes[name]) for name in ("low", "middle", "high")]
    assert places == pytest.approx([100 - LINE_PIXELS, 100, 100 + LINE_PIXELS])
    assert [notes[name].showarrow for name in ("low", "middle", "high")] == [True, False, True]
    assert all(notes[name].y == y for name, y in (("low", 0.98), ("middle", 1.0), ("high", 1.02)))  # the arrow's tip


def test_names_stay_on_the_figure() -> None:
    bottom = sorted(height(note) for note in named({"a": 0.0, "b": 0.01}))
    assert bottom == pytest.approx([0, LINE_PIXELS])
    top = sorted(height(note) for note in named({"a": 2.0, "b": 1.99}))
    assert top == pytest.approx([PIXELS - LINE_PIXELS, PIXELS])


@pytest.mark.parametrize("left", [False, True])
def test_names_stand_on_their_side_of_the_end(left: bool) -> None:
    side = -1 if left else 1
    for note in named({"a": 0.5, "b": 0.51}, left=left):
        assert note.xanchor == ("right" if left else "left") and side * note.ax > 0
    (alone,) = named({"a": 0.5}, left=left)
    assert side * alone.xshift > 0
