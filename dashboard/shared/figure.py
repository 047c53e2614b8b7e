"""Figures and tables on a page: one look, with their downloads."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.figures.parts import style
from dashboard.figures.parts.alt import numbers
from dashboard.figures.parts.style import CONFIG
from dashboard.shared import page

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

CONFIG_OF_FILES: dict[str, Any] = {"displaylogo": False, "showSendToCloud": False}
"""Plotly's configuration of downloaded figures, which have its buttons."""
PRESENTER_SCALE = 1.2
"""Factor of presenter mode's larger figures in a window of 1280 x 720."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
_MIME = {"png": "image/png", "svg": "image/svg+xml"}


def show(
    figure: go.Figure,
    name: str,
    alt: str,
    *,
    data: Callable[[], pd.DataFrame] | None = None,
    downloads: bool = True,
    on_select: Callable[[], None] | None = None,
) -> Any:
    """Draw a figure, and below it its downloads: HTML, the numbers as CSV, and pictures where a browser is there.

    ``name``: key of the chart on the page and name of the files; ``alt``: what it shows, for those who cannot see it,
    to which its numbers are added;
    ``data``: the numbers behind it; ``on_select``: called when a point was clicked, see ``st.session_state[name]``.
    Returns the selection event, or None without ``on_select``.
    """
    figure = for_the_room(figure)
    said = numbers(figure)
    look: dict[str, Any] = {"theme": None, "key": name, "alt": f"{alt}: {said}" if said else alt, "config": CONFIG}
    if on_select is not None:
        look |= {"on_select": on_select, "selection_mode": "points"}
    event = st.plotly_chart(figure, **look)
    if downloads:
        with page.control("downloads", name, horizontal=True, horizontal_alignment="right"):
            offer_downloads(figure, name, data)
    return event if on_select is not None else None


def offer_downloads(figure: go.Figure, name: str, data: Callable[[], pd.DataFrame] | None) -> None:
    """Draw the downloads that :func:`show` draws below a figure, for a picture that is drawn otherwise."""
    dark = page.dark()
    with st.popover("Download", icon=":material/download:", type="tertiary", width="content"):
        if data is not None:
            st.download_button(
                "The numbers (CSV)",
                lambda: data().to_csv(index=False),
                f"{name}.csv",
                "text/csv",
                key=f"{name}-csv",
                on_click="ignore",
            )
        st.download_button(
            "The figure (HTML, works offline)",
            lambda: html(figure, dark),
            f"{name}.html",
            "text/html",
            key=f"{name}-html",
            on_click="ignore",
        )
        if picture_browser() is None:
            st.caption("PNG and SVG need the package kaleido and a Chromium or Chrome on this machine.")
            return
        for kind, mime in _MIME.items():
            st.download_button(
                f"The figure ({kind.upper()})",
                partial(picture, figure, kind, dark),
                f"{name}.{kind}",
                mime,
                key=f"{name}-{kind}",
                on_click="ignore",
            )


def offer_table(label: str, table: Callable[[], pd.DataFrame], file: str, key: str) -> None:
    """Draw the button that downloads a table as CSV, which is made when it is pressed.

    ``file``: name of the file; ``key``: of the button, unique on the page.
    """
    st.download_button(
        label,
        lambda: table().to_csv(index=False),
        file,
        "text/csv",
        key=key,
        on_click="ignore",
        icon=":material/download:",
        type="tertiary",
    )


def html(figure: go.Figure, dark: bool) -> str:
    """Write a page that shows the figure without a network."""
    return str(_opaque(figure, dark).to_html(include_plotlyjs=True, config=CONFIG_OF_FILES))


def picture(figure: go.Figure, kind: str, dark: bool) -> bytes:
    """Write the figure as ``png`` or ``svg``, 1200 pixels wide. Needs :func:`picture_browser`."""
    browser = picture_browser()
    assert browser is not None
    os.environ.setdefault("BROWSER_PATH", browser)
    return bytes(_opaque(figure, dark).to_image(kind, width=1200, height=figure.layout.height, scale=2))


def picture_browser() -> str | None:
    """Find the browser that makes pictures; None where it or kaleido is missing."""
    if importlib.util.find_spec("kaleido") is None:
        return None
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, _BROWSERS)), None)


def _opaque(figure: go.Figure, dark: bool) -> go.Figure:
    copy = type(figure)(figure)
    copy.update_layout(paper_bgcolor=style.ground(dark), plot_bgcolor=style.ground(dark))
    return copy


def for_the_room(figure: go.Figure) -> go.Figure:
    """Enlarge a figure in presenter mode, as the window does the page; elsewhere return it as it is."""
    return _larger(figure, PRESENTER_SCALE * page.scale()) if page.presenting() else figure


def _larger(figure: go.Figure, factor: float) -> go.Figure:
    """Enlarge a figure: every size of type, the height and the margins, which hold titles, grow alike."""
    copy = type(figure)(figure)
    _scale_fonts(copy, factor)
    base = copy.layout.template.layout.font.size or 12
    copy.update_layout(font_size=base * factor)
    if copy.layout.height:
        copy.update_layout(height=copy.layout.height * factor)
    for side in "tblr":
        margin = copy.layout.margin[side]
        if margin is None:
            margin = copy.layout.template.layout.margin[side]
        if margin is not None:
            copy.update_layout({f"margin_{side}": margin * factor})
    return copy


def _scale_fonts(figure: Any, factor: float) -> None:
    """Scale type that has a size of its own; all other follows the size of the figure."""
    axes = [*figure.select_xaxes(), *figure.select_yaxes()]
    bars = [axis.colorbar for axis in figure.select_coloraxes()]
    fonts = [annotation.font for annotation in figure.layout.annotations]
    fonts += [part.tickfont for part in (*axes, *bars)] + [axis.title.font for axis in axes]
    fonts += [trace.textfont for trace in figure.data if "textfont" in trace]
    for font in fonts:
        if isinstance(font.size, int | float):
            font.size *= factor
