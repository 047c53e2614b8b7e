"""Numbers of a figure in words, for those who do not see it: ends of lines, lengths of bars, extremes of maps."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST = 600
"""Most characters of the numbers; what is left out stands in the table that comes with the figure."""
MAX_BARS = 12
"""Number of bars or points of a trace up to which each is named."""
_TAG = re.compile(r"<[^>]*>")


def numbers(figure: go.Figure) -> str:
    """Say what a figure shows in numbers; empty where it has none that can be said."""
    parts: list[str] = []
    for trace in figure.data:
        says = _SAYS.get(trace.type)
        if says is None or trace.visible is False:
            continue
        said = says(trace, _named(figure, trace, "x"), _named(figure, trace, "y"))
        name = _plain(trace.name)
        words = f"{name} {said}".strip() if said else ""
        if words and words not in parts:
            parts.append(words)
    text = "; ".join(parts)
    return text if len(text) <= MOST else text[: text.rfind("; ", 0, MOST)] + "; and more"


def _named(figure: go.Figure, trace: Any, side: str) -> list[Any]:
    """List the places of a trace along an axis, by the words that the axis has for them."""
    axis = figure.layout[f"{side}axis{(trace[f'{side}axis'] or side)[1:]}"]
    words = dict(zip(_list(axis.tickvals), _list(axis.ticktext), strict=False))
    return [words.get(value, value) if isinstance(value, Hashable) else value for value in _list(trace[side])]


def _scatter(trace: Any, x: Sequence[Any], y: Sequence[Any]) -> str:
    y = _list(trace.y)
    known = [(at, value) for at, value in zip(x, y, strict=False) if _is_number(value)]
    if not known or (len({value for _, value in known}) == 1 and len(known) > 1 and not _plain(trace.name)):
        return ""  # a line that only guides the eye
    if len(known) == 1:
        return f"{_number(known[0][1])} at {_label(known[0][0])}"
    if "lines" in (trace.mode or "lines"):
        (begin, first), (end, last) = known[0], known[-1]
        return f"{_number(first)} at {_label(begin)} to {_number(last)} at {_label(end)}"
    if len(known) <= MAX_BARS:
        return ", ".join(f"{_number(value)} at {_label(at)}" for at, value in known)
    values = [value for _, value in known]
    return f"{len(known)} points from {_number(min(values))} to {_number(max(values))}"


def _bar(trace: Any, x: Sequence[Any], y: Sequence[Any]) -> str:
    lengths, labels = (_list(trace.x), y) if trace.orientation == "h" else (_list(trace.y), x)
    known = [(label, value) for label, value in zip(labels, lengths, strict=False) if _is_number(value)]
    if len(known) > MAX_BARS:
        values = [value for _, value in known]
        return f"{len(known)} bars from {_number(min(values))} to {_number(max(values))}"
    return ", ".join(f"{_label(label)} {_number(value)}" for label, value in known)


def _heatmap(trace: Any, x: Sequence[Any], y: Sequence[Any]) -> str:
    rows = [[value if _is_number(value) else np.nan for value in _list(row)] for row in _list(trace.z)]
    if len({len(row) for row in rows}) != 1 or not np.isfinite(values := np.array(rows, dtype=float)).any():
        return ""
    x, y = x or range(values.shape[1]), y or range(values.shape[0])
    ends = []
    for word, place in (("highest", np.nanargmax(values)), ("lowest", np.nanargmin(values))):
        row, column = np.unravel_index(place, values.shape)
        ends.append(f"{word} {_number(values[row, column])} at {_label(x[int(column)])}, {_label(y[int(row)])}")
    return ", ".join(ends)


_SAYS: dict[str, Callable[[Any, Sequence[Any], Sequence[Any]], str]] = {
    "scatter": _scatter,
    "bar": _bar,
    "heatmap": _heatmap,
}
"""Types of traces whose numbers are said -> the function that says them."""


def _list(values: Any) -> Sequence[Any]:
    return [] if values is None else list(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))


def _number(value: Any) -> str:
    return f"{float(value):.3g}"


def _label(value: Any) -> str:
    return f"{value:g}" if _is_number(value) else _plain(value)


def _plain(name: Any) -> str:
    return " ".join(html.unescape(_TAG.sub("", str(name or "").replace("<br>", " "))).split())
