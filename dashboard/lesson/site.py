"""Files of a lesson: pages that open from a disk or any web server, and what they load beside them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from dashboard.app_pages.start import bars
from dashboard.app_pages.start.answer import SENTENCE
from dashboard.figures.parts.style import CONFIG
from dashboard.lesson import markdown, theme
from dashboard.lesson.components import COMPONENTS
from dashboard.lesson.page import Page
from dashboard.lesson.pages import dial, geometry, importance, merge_plane, start
from dashboard.lesson.shelf import Shelf

INDEX = "index.html"
TITLE = "One bias of a language model: a lesson"
"""Title of the first page."""
PAGES: tuple[Callable[[Shelf], Page], ...] = (start.page, importance.page, geometry.page, dial.page, merge_plane.page)
"""Makers of the pages, in the order of the story."""
ASSETS = "assets"
_HERE = Path(__file__).parent
_EVERYWHERE = "lesson"
"""Name of the style and of the script that every page loads."""


def files(shelf: Shelf, done: Callable[[], None] = lambda: None) -> dict[str, bytes]:
    """Make all files of a lesson: path inside its folder -> bytes, the same for the same snapshots.

    ``done``: called after each of :data:`PAGES`.

    Raises:
        UserError: a snapshot that cannot be read or scored, or samples that are not there.
    """
    pages = []
    for make in PAGES:
        pages.append(make(shelf))
        done()
    made = {page.file: _render(f"{page.name}.html", page=page, pages=pages) for page in pages}
    return {INDEX: _render(INDEX, page=None, pages=pages), **made, **_assets(pages)}


def _assets(pages: list[Page]) -> dict[str, bytes]:
    texts = {
        "theme.css": theme.css(),
        f"{_EVERYWHERE}.css": (_HERE / "templates" / "lesson.css").read_text(encoding="utf-8"),
        "bars.css": bars.STYLE.read_text(encoding="utf-8"),
        "plotly.min.js": get_plotlyjs(),
    }
    for name in (_EVERYWHERE, *(page.name for page in pages)):
        if (path := _HERE / "scripts" / f"{name}.js").is_file():
            texts[f"{name}.js"] = path.read_text(encoding="utf-8")
    for name, component in COMPONENTS.items():
        texts[f"picture-{name}.js"] = component.script(name)
        texts[f"picture-{name}.css"] = component.style.read_text(encoding="utf-8")
    return {f"{ASSETS}/{name}": text.encode() for name, text in texts.items()}


def _render(template: str, **values: Any) -> bytes:
    return _ENVIRONMENT.get_template(template).render(**values).encode()


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dashboard.lesson"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "sort_keys": True}
    environment.filters |= {"inline": markdown.inline, "blocks": markdown.blocks}
    environment.globals |= {
        "version": version("beft-lab"),
        "assets": ASSETS,
        "components": COMPONENTS,
        "config": CONFIG,
        "sentence": SENTENCE,
        "story": TITLE,
    }
    return environment


_ENVIRONMENT = _environment()
