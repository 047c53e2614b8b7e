"""Bars of the answer as HTML: they stand at once, where Plotly's 5 MB of script would come late on a first page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

from beft_core.terms import CANDIDATES, TERMS
from dashboard.figures.parts import style

STYLE = Path(__file__).with_suffix(".css")
"""Style of the bars."""


def bars(reached: Mapping[str, float], guess: str | None, what: str) -> str:
    """Write the bars with their style, for a page that has it not."""
    return f"<style>{STYLE.read_text(encoding='utf-8')}</style>{plain_bars(reached, guess, what)}"


def plain_bars(reached: Mapping[str, float], guess: str | None, what: str) -> str:
    """Write a bar per candidate with its number in percent, the guess marked; ``what``: the metric, of a stranger.

    A negative metric has no bar, and its number.
    """
    top = max([*reached.values(), 0.0]) or 1.0
    rows, said = [], []
    for term in CANDIDATES:
        share = max(reached[term], 0.0) / top
        symbol, index = TERMS[term].symbol.split("_")
        mark = "<small>your guess</small>" if term == guess else ""
        rows.append(
            f'<div class="beft-bar" style="--share:{share:.4f};--colour:{style.TERM_COLOURS[term]}">'
            f'<span class="name">{TERMS[term].label} bias, {symbol}<sub>{index}</sub></span>'
            f'<span class="fill"></span><span class="number">{100 * reached[term]:.1f}{mark}</span></div>'
        )
        said.append(f"{style.name(term)}: {100 * reached[term]:.1f}{' (your guess)' if term == guess else ''}")
    label = html.escape(f"{what}, trained alone. {'; '.join(said)}")
    return f'<div class="beft-bars" role="img" aria-label="{label}">{"".join(rows)}</div>'
