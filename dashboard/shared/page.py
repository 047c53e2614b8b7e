"""Frame of all pages: their place in the navigation, a title with one sentence, presenter mode, what is locked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import streamlit as st

from beft_core.errors import UserError
from beft_core.extras import training_missing
from beft_core.models.source import BUNDLED
from beft_core.runs.run import list_runs
from dashboard.content.places import PLACES
from dashboard.deck.stops import STOP, Stop, stop_at
from dashboard.shared import tour
from dashboard.shared.text import plain

STYLE = Path(__file__).with_name("page.css")
"""Style of all pages, where Streamlit's theme has no setting for it."""
START = "start"
"""Name of the first page."""
PRESENT, HIDE = "present", "hide"
"""Names in the URL: ``?present=true&hide=choose``."""
EVERYWHERE = (tour.TOUR, PRESENT, HIDE)
"""Names in the URL that hold on all pages."""

CONTROLS: dict[str, str] = {
    "choose": "choosing and uploading snapshots",
    "settings": "switches and sliders",
    "downloads": "downloads",
    "details": "how it was computed",
}
"""Groups of controls that a presenter can hide: key in the URL -> words."""
HIDDEN_AT_FIRST = ["choose", "downloads"]
BAR, SLIDE = Path(__file__).with_name("bar.css"), Path(__file__).with_name("slide.css")
"""Style of presenter mode's bar, and of a stop of the deck: what is no part of its one screen is not displayed."""
ROOM_PIXELS = 17
"""Size of type in presenter mode in a window of 1280 x 720; it grows with the window, to 25 in one of 1920 x 1080."""
PIXELS = 16
"""Size of type otherwise: the browser's own."""
BESIDE_TITLE = "page-title"
"""Key of the container of a page's title and sentence, which bar.css keeps on one line."""
_WINDOW, _PAGE = "window", "page-name"
"""Session state: how many screens of 1280 x 720 the window holds, and the page that is drawn."""


def file_of(name: str) -> str:
    """Name the script of a page, as ``st.switch_page`` and ``st.page_link`` take it."""
    return f"app_pages/{PLACES[name].file}/page.py"


def kept(**more: str) -> dict[str, str | list[str]]:
    """Collect the parameters of a link to another page: what holds on all pages stays, `more` is added."""
    return {**{name: st.query_params.get_all(name) for name in EVERYWHERE if name in st.query_params}, **more}


def navigation() -> Mapping[str, list[Any]]:
    """List all pages by section, for ``st.navigation``."""
    sections: dict[str, list[Any]] = {}
    for name, place in PLACES.items():
        first = name == START
        sections.setdefault(place.section, []).append(
            st.Page(
                file_of(name),
                title=place.title,
                icon=f":material/{place.icon}:",
                help=place.help,
                default=first,
                url_path="" if first else name,
            )
        )
    # The first page is at the root of the server alone; who writes its name into the address is led there.
    named = st.Page(_to_start, title=PLACES[START].title, url_path=START, visibility="hidden")
    sections[PLACES[START].section].append(named)
    return sections


def _to_start() -> None:
    """Open the first page, with everything that the address says."""
    st.switch_page(file_of(START), query_params={name: st.query_params.get_all(name) for name in st.query_params})


def frame(name: str) -> None:
    """Draw the sidebar below the navigation, and the look of the page. Called once by app.py, before the page.

    ``name``: the page's key in :data:`PLACES`.
    """
    st.session_state[_PAGE] = name
    # There is no earlier way: Streamlit fetches a script for this first, as it does for HTML in Markdown, and style
    # sheets that its theme names must have an absolute address.
    st.html(STYLE)
    with st.sidebar:
        st.toggle(
            "Presenter mode",
            key=PRESENT,
            bind="query-params",
            help="Large type, nothing can be started or deleted, and chosen controls are hidden. It is in the URL.",
        )
        if presenting():
            st.pills(
                "Hidden",
                list(CONTROLS),
                selection_mode="multi",
                default=HIDDEN_AT_FIRST,
                key=HIDE,
                bind="query-params",
                help="; ".join(f"{key}: {words}" for key, words in CONTROLS.items()),
            )
        if read_only():
            st.caption(":material/lock: Read only: nothing can be started, deleted or stored on this machine.")
    if presenting():
        groups = [f'[class*="st-key-control-{group}-"]' for group in st.session_state.get(HIDE) or []]
        # With the wrapper, or what stands beside it would leave its place free.
        hidden = ", ".join(f'{group}, [data-testid="stLayoutWrapper"]:has(> {group})' for group in groups)
        st.html(
            f"<style>html {{ font-size: {ROOM_PIXELS * scale():.4g}px; }} "
            ".stMainBlockContainer { max-width: 100rem; padding-top: 0.6rem; } "
            '[data-testid="stMainBlockContainer"] > .stVerticalBlock { gap: 0.6rem; } '
            + (f"{hidden} {{ display: none; }}" if hidden else "")
            + "</style>"
        )
        st.html(BAR)
        if stop() is not None:
            st.html(SLIDE)


def need_home() -> None:
    """Stop with one line where the home folder cannot be used: every page lists or starts runs there."""
    try:
        list_runs()
    except UserError as error:
        st.error(plain(error, 900), title="The home folder cannot be used", icon=":material/folder_off:")
        st.stop()


def begin(name: str, sentence: str = "", title: str | None = None) -> None:
    """Draw the title of the page and, unless its answer follows at once, the sentence that says what one sees.

    A stop of the deck has a title and a sentence of its own in their place.
    """
    at = stop()
    if at is not None:
        with st.container(key="stage-title"):
            st.title(at.title, anchor=False)
            st.markdown(at.says)
        return
    if sentence and presenting():  # a room sees one screen
        with st.container(horizontal=True, vertical_alignment="center", key=f"{BESIDE_TITLE}-{name}"):
            st.title(title or PLACES[name].title, anchor=False, width="content")
            st.markdown(sentence)
        return
    st.title(title or PLACES[name].title, anchor=False)
    if sentence:
        st.markdown(sentence)


def report(error: UserError, title: str | None = None) -> None:
    """Draw a box that says what went wrong, what was expected and what to try; it may quote a stranger's text."""
    st.error(plain(error, 900), title=title, icon=":material/error:")


def number(label: str, value: str, below: str, help: str | None = None) -> None:
    """Draw a number in large type under its label, and what it consists of in small type below."""
    st.metric(label, value, below, delta_color="off", delta_arrow="off", width="content", help=help)


def control(group: str, name: str, **container: Any) -> AbstractContextManager[Any]:
    """Open a container of controls that presenter mode can hide. They are still drawn, so the URL keeps their values.

    ``group``: a key of :data:`CONTROLS`; ``name``: unique on the page; ``container``: arguments of ``st.container``.
    """
    assert group in CONTROLS, group
    return st.container(key=f"control-{group}-{name}", **container)


def hides(group: str) -> bool:
    """Say whether presenter mode hides a group of controls, for what is not drawn by Streamlit."""
    return presenting() and group in (st.session_state.get(HIDE) or [])


def presenting() -> bool:
    """Say whether the page is shown to a room."""
    if PRESENT in st.session_state:
        return bool(st.session_state[PRESENT])
    return str(st.query_params.get(PRESENT, "")).lower() in ("true", "1")


def stop() -> Stop | None:
    """Find the stop of the deck that the page is shown at; None elsewhere."""
    return stop_at(st.session_state.get(_PAGE, ""), st.query_params.get(STOP)) if presenting() else None


def stage(part: str) -> AbstractContextManager[Any]:
    """Open a container of what a stop of the deck shows of its page: its "answer", or its "picture". One of each."""
    return st.container(key=f"stage-{part}")


def aside(name: str) -> AbstractContextManager[Any]:
    """Open a container of what a stop of the deck does not show, though it lies within a :func:`stage`."""
    return st.container(key=f"aside-{name}")


def window() -> float:
    """Say how many screens of 1280 x 720 the visitor's window holds; 1 until the browser of a presenter said so."""
    return float(st.session_state.get(_WINDOW, 1.0))


def scale() -> float:
    """Compute the factor of everything in presenter mode, 1 in a window of 1280 x 720 at no stop, and elsewhere."""
    if not presenting():
        return 1.0
    at = stop()
    return window() * (1.0 if at is None else at.larger)


def scaled(sent: object) -> None:
    """Note what the browser says of :func:`window`; what no browser of ours says is not taken."""
    if isinstance(sent, int | float) and not isinstance(sent, bool) and 0.5 <= sent <= 8:
        st.session_state[_WINDOW] = float(sent)


def enlarged(pixels: float) -> int:
    """Compute how many pixels something takes whose height goes with the size of type."""
    return round(pixels * ROOM_PIXELS / PIXELS * scale()) if presenting() else round(pixels)


def read_only() -> bool:
    """Say whether the server starts, deletes and stores nothing (``BEFT_READ_ONLY=1``)."""
    return os.environ.get("BEFT_READ_ONLY", "") not in ("", "0")


def model_of_page(name: str) -> str:
    """Check that this server may open the model that a visitor or a link names, and return it.

    Raises:
        UserError: another one than the bundled model, on a read-only server: it opens no folders and fetches nothing.
    """
    if read_only() and name != BUNDLED:
        raise UserError(f"got the model {name[:80]!r} on a read-only server", f"{BUNDLED}, the only one that it opens")
    return name


def locked() -> str | None:
    """Say why nothing may be started, deleted or stored now, as help for a disabled button; None if it may."""
    if read_only():
        return "This server is read-only (BEFT_READ_ONLY)."
    return "Presenter mode locks this; leave it in the sidebar." if presenting() else None


def cannot_train() -> str | None:
    """Say why no run may be started now, as help for a disabled button: as :func:`locked`, or PyTorch is not
    installed.
    """
    missing = training_missing()
    return locked() or (str(missing) if missing is not None else None)


def need_training() -> None:
    """Stop with one line where no run could be started for lack of PyTorch: what follows would only set one up."""
    if (missing := training_missing()) is not None:
        st.info(
            f"PyTorch, or what it is used with, is not installed. This brings it: `{missing.try_}`",
            title="Nothing can be trained here",
            icon=":material/download:",
        )
        st.stop()


def dark() -> bool:
    """Say whether the visitor's theme is dark."""
    return st.context.theme.type == "dark"
