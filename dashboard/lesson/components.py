"""Pictures of the dashboard that the browser draws, as a lesson carries them: their script, style and frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dashboard
from dashboard.figures.parts.numbers import NUMBERS_JS
from dashboard.figures.parts.svg import SVG_JS, classic_script

_PAGES = Path(str(dashboard.__file__)).parent / "app_pages"


@dataclass(frozen=True)
class Component:
    """Picture that the browser draws: the paths of its parts."""

    frame: Path
    style: Path
    scripts: tuple[Path, ...]

    @property
    def html(self) -> str:
        """Elements that its script fills."""
        return self.frame.read_text(encoding="utf-8")

    def script(self, name: str) -> str:
        """Join its scripts into one that a page from a disk may load."""
        return classic_script(name, *self.scripts)


def _component(stem: Path, *before: Path) -> Component:
    html, css, js = (stem.with_suffix(ending) for ending in (".html", ".css", ".js"))
    return Component(html, css, (*before, js))


COMPONENTS: dict[str, Component] = {
    "flow": _component(_PAGES / "start" / "flow", SVG_JS),
    "sandbox": _component(_PAGES / "geometry" / "sandbox", NUMBERS_JS, SVG_JS, _PAGES / "geometry" / "plane.js"),
    "plane": _component(_PAGES / "merge" / "plane", SVG_JS),
}
