"""The report as one HTML page: tables, sparklines and rank charts, with nothing fetched from anywhere.

All text is escaped here: names in a result table may be a stranger's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pandas as pd

from beft_core.reports.cells import Cell, Column, Table, number, paper_text

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6474; --line: #e3e7ee; --ground: #ffffff;
  --raised: #f6f7fa; --q: #0072b2; --k: #707070; --v: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #2b3341; --ground: #11151d;
  --raised: #1a202b; --q: #4aa8e0; --k: #a0a0a0; --v: #ff8a3d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--ground); overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { text-align: left; font-weight: 600; } thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
tr.block th, tr.block td { border-top: 2px solid var(--line); }
tbody th { white-space: nowrap; } td { white-space: nowrap; }
small, .notes, figcaption { color: var(--soft); font-size: .8rem; }
td small { display: block; } .paper { color: var(--soft); }
th:first-child { position: sticky; left: 0; background: var(--ground); }
.charts { display: flex; flex-wrap: wrap; gap: .75rem; } figure { margin: 0; background: var(--raised);
  border-radius: .5rem; padding: .5rem; } svg { display: block; max-width: 100%; }
svg text { fill: var(--soft); font-size: 10px; } .q { --of: var(--q); } .k { --of: var(--k); } .v { --of: var(--v); }
polyline { fill: none; stroke: var(--of, var(--ink)); stroke-width: 2; } circle { fill: var(--of, var(--ink)); }
svg text.q, svg text.k, svg text.v { fill: var(--of); font-weight: 600; } .bar { stroke: var(--of); opacity: .5; }
.grid { stroke: var(--line); } polyline.k { stroke-dasharray: 4 3; } polyline.q { stroke-dasharray: 8 2; }
.answer { background: var(--raised); border-left: 4px solid var(--v); padding: .75rem 1rem; border-radius: .25rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dt { color: var(--soft); }
dd { margin: 0; min-width: 0; } summary { cursor: pointer; padding: .3rem 0; }
"""
NOTHING = "–"


def page(title: str, body: Iterable[str]) -> str:
    """A whole document."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what is under it."""
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(parts) + "</section>"


def details(summary: str, *parts: str) -> str:
    """Parts that are folded away."""
    return f"<details><summary>{escape(summary)}</summary>\n" + "\n".join(parts) + "</details>"


def paragraph(text: str, kind: str = "") -> str:
    """Plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def definitions(pairs: Mapping[str, str]) -> str:
    """Names and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items()) + "</dl>"


def notes(lines: Sequence[str]) -> str:
    """Remarks under a table."""
    return '<ul class="notes">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


# --- tables of the paper -----------------------------------------------------------------------------------


def paper_table(table: Table) -> str:
    """A table of the paper: in each cell our number, and the paper's under it; reasons as footnotes."""
    reasons: dict[str, int] = {}
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.heads)
    head += "".join(f'<th scope="col">{escape(_head(column))}</th>' for column in table.columns)
    lines, before = [], ""
    for row in table.rows:
        block = ' class="block"' if len(table.heads) > 1 and before != row.labels[0] else ""
        before = row.labels[0]
        cells = "".join(f'<th scope="row">{escape(name)}</th>' for name in row.labels)
        cells += "".join(_cell(cell, column, reasons) for column, cell in zip(table.columns, row.cells, strict=True))
        lines.append(f"<tr{block}>{cells}</tr>")
    about = f"Ours: {table.ours}." + (f" Paper: {table.paper}." if table.has_paper else "") + " Metrics in percent."
    missing = [f"{mark}: {reason}" for reason, mark in reasons.items()]
    return "".join(
        (
            f"<h3>{escape(table.title)}</h3>{paragraph(about, 'notes')}",
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead>',
            f"<tbody>{''.join(lines)}</tbody></table></div>{notes([*missing, *table.notes])}",
        )
    )


def _head(column: Column) -> str:
    # Nearly all are percentages, which the line over the table says once.
    return column.label if column.unit in ("", "%") else f"{column.label}, {column.unit}"


def _cell(cell: Cell, column: Column, reasons: dict[str, int]) -> str:
    paper = f'<div class="paper">paper {escape(paper_text(cell, column))}</div>' if cell.paper is not None else ""
    if cell.ours is None:
        # What neither has needs no excuse.
        mark = f"<sup>{reasons.setdefault(cell.reason, len(reasons) + 1)}</sup>" if cell.reason and paper else ""
        return f"<td>{NOTHING if cell.reason else ''}{mark}{paper}</td>"
    value = escape(number(cell.ours, column))
    value = f"<b>{value}</b>" if cell.bold else value
    spread = f" ± {escape(number(cell.spread, column))}" if cell.spread is not None else ""
    about = [f"lr {cell.lr:g}"] if cell.lr is not None else []
    about += [f"{cell.seeds} seed{'s' * (cell.seeds != 1)}"] if cell.seeds and cell.lr is not None else []
    about += [f"{cell.failed} failed"] if cell.failed else []
    small = f"<small>{escape(', '.join(about))}</small>" if about else ""
    title = f' title="{escape(cell.note)}"' if cell.note else ""
    return f"<td{title}>{value}{spread}{'†' if cell.dagger else ''}{small}{paper}</td>"


def frame_table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A plain table of texts (escaped) and of SVG pictures (as they are); the first ``words`` columns are headings."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = []
    for row in rows:
        names = "".join(f'<th scope="row">{escape(cell)}</th>' for cell in row[:words])
        cells = "".join(f"<td>{cell if isinstance(cell, Svg) else escape(cell)}</td>" for cell in row[words:])
        lines.append(f"<tr>{names}{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


# --- pictures ----------------------------------------------------------------------------------------------


class Svg(str):
    """Markup that this module made: not to be escaped."""


def sparkline(values: Sequence[float], low: float, high: float, term: str = "") -> Svg:
    """A line of a few numbers between two that all lines of a row share."""
    width, height = 88, 26
    points = [
        (_between(at, 0, max(len(values) - 1, 1), 4, width - 4), _between(value, low, high, height - 4, 4))
        for at, value in enumerate(values)
        if math.isfinite(value)
    ]
    words = ", ".join(f"{value:.1f}" for value in values if math.isfinite(value))
    return Svg(
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{words}">'
        f"{_line(points, term)}</svg>"
    )


def chart(
    title: str, steps: Sequence[str], lines: Mapping[str, Sequence[tuple[float, float, float]]], ranks: int
) -> str:
    """Lines over regimes: term -> (value, least, largest) for each step (NaN: none). ``ranks``: the lowest rank, with 1
    on top; 0: a metric in percent."""
    width, height, left, right, top, bottom = 172, 150, 26, 18, 8, 20
    finite = [edge for line in lines.values() for point in line for edge in point if math.isfinite(edge)]
    if not finite:
        return ""
    low, high = (float(ranks), 1.0) if ranks else (min(finite) - 1, max(finite) + 1)
    marks = [1, ranks // 2, ranks] if ranks else [round(low + 1), round((low + high) / 2), round(high - 1)]
    parts = []
    for mark in dict.fromkeys(marks):
        y = _between(mark, low, high, height - bottom, top)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 4}" y="{y + 3:.1f}" text-anchor="end">{mark}</text>')
    spread = [_between(at, -0.5, len(steps) - 0.5, left, width - right) for at in range(len(steps))]
    for x, name in zip(spread, steps, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{escape(name)}</text>')
    for at, (term, line) in enumerate(lines.items()):
        shift = 3 * (at - (len(lines) - 1) / 2)  # lines on the same rank stay apart
        points = [
            (x + shift, *(_between(edge, low, high, height - bottom, top) for edge in point))
            for x, point in zip(spread, line, strict=True)
            if all(map(math.isfinite, point))
        ]
        parts += [
            f'<line class="bar {term}" x1="{x:.1f}" x2="{x:.1f}" y1="{one:.1f}" y2="{other:.1f}" stroke-width="3"/>'
            for x, _, one, other in points
        ]
        parts.append(_line([(x, y) for x, y, _, _ in points], term))
        if points:
            x, y = points[-1][:2]
            parts.append(f'<text class="{term}" x="{x + 7:.1f}" y="{y + 3:.1f}">{escape(term)}</text>')
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def _line(points: Sequence[tuple[float, float]], term: str) -> str:
    dots = "".join(f'<circle{_class(term)} cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline{_class(term)} points="{path}"/>{dots}'


def _between(value: float, low: float, high: float, start: float, end: float) -> float:
    """A value of the range low to high as a position from start to end."""
    return start + (end - start) * ((value - low) / (high - low) if high != low else 0.5)


def _class(name: str) -> str:
    return f' class="{escape(name)}"' if name else ""


def text(value: object, decimals: int = 1) -> str:
    """A number as text, or a dash."""
    if isinstance(value, int | float) and not pd.isna(value):
        return f"{value:,.{decimals}f}"
    return NOTHING if value is None or pd.isna(value) else str(value)
