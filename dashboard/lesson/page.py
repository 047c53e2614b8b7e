"""Page of a lesson: its words, its data and the scripts that it loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.lesson.charts import Chart, templates


@dataclass(frozen=True)
class Page:
    """Page of a lesson. What it shows is in ``words``, for its template, and in ``data``, for its script."""

    name: str
    """Name of its file without the ending, and of its template and script."""
    title: str
    sentence: str
    """Sentence below the title, in Markdown."""
    teaser: str
    """Answer or question by which the first page leads here, in Markdown."""
    words: Mapping[str, Any]
    data: Mapping[str, Any]
    charts: Sequence[Chart] = ()
    components: Sequence[str] = ()
    """Names of the pictures of the dashboard that it has: of :data:`dashboard.lesson.components.COMPONENTS`."""

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.html"

    @property
    def all_data(self) -> dict[str, Any]:
        """Collect the data and the charts for the page's script."""
        if not self.charts:
            return dict(self.data)
        charts = {one.key: {"figure": one.figure, "dark": one.dark} for one in self.charts}
        return {**self.data, "charts": charts, "templates": templates()}
