"""Markdown of the pages as HTML: theirs is Streamlit's, with words in a colour and the symbols of terms as formulas."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markupsafe import Markup

from beft_core.terms import TERMS
from dashboard.figures.parts.style import latex, symbol

LOOKS: tuple[str, ...] = ("blue", "orange", "gray", "red", "yellow", "green", "violet", "small")
"""Directives that the pages use, as in ``:orange[words]``: each is a class of the style sheet."""
_DIRECTIVE = re.compile(r":([a-z]+)\[")
_FORMULA = re.compile(r"\$[^$]+\$")
_SYMBOLS = {latex(term): f"<i>{symbol(term)}</i>" for term in TERMS}


def inline(text: str) -> Markup:
    """Render a line: no paragraph around it. Text of strangers has to be escaped for Markdown, as for the pages.

    Raises:
        ValueError: a directive or a formula that the lesson cannot show.
    """
    return Markup(_RENDERER.renderInline(text))


def blocks(text: str) -> Markup:
    """Render paragraphs and tables. Raises ValueError as :func:`inline`."""
    return Markup(_RENDERER.render(text))


def _directive(state: StateInline, silent: bool) -> bool:
    """Read ``:name[words]``, the words being Markdown themselves."""
    opening = _DIRECTIVE.match(state.src, state.pos)
    if opening is None:
        return False
    end = state.md.helpers.parseLinkLabel(state, opening.end() - 1)
    if end < 0:
        return False
    if opening[1] not in LOOKS:
        raise ValueError(f"no look {opening[1]!r} in a lesson: {state.src[:80]!r}")
    if not silent:
        state.push("look_open", "span", 1).attrSet("class", opening[1])
        state.pos, whole = opening.end(), state.posMax
        state.posMax = end
        state.md.inline.tokenize(state)
        state.posMax = whole
        state.push("look_close", "span", -1)
    state.pos = end + 1
    return True


def _formula(state: StateInline, silent: bool) -> bool:
    """Read the formula of a symbol; a lesson has no others."""
    found = _FORMULA.match(state.src, state.pos)
    if found is None:
        return False
    if found[0] not in _SYMBOLS:
        raise ValueError(f"no formula {found[0]!r} in a lesson")
    if not silent:
        state.push("html_inline", "", 0).content = _SYMBOLS[found[0]]
    state.pos = found.end()
    return True


def _renderer() -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    renderer.inline.ruler.before("link", "look", _directive)
    renderer.inline.ruler.before("link", "formula", _formula)
    return renderer


_RENDERER = _renderer()
