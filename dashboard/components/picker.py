"""Choosing what to look at: a list in the URL, and an upload that joins it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from beft_core.errors import UserError
from dashboard.components.sources import Opened, Source, finished_runs, open_bytes, open_source, samples, titles
from dashboard.components.text import plain

CHOICE = "snapshot"
"""Key of the list, and its name in the URL."""
UPLOADED = "uploaded"
UPLOAD_ERROR = "upload_error"
OPEN_NEXT = "open_next"
"""Title to choose in the next run of the script; a widget's value can only be set before it is drawn."""


def pick(beside: Callable[[], None]) -> Opened | None:
    """Draw the list, the upload and what `beside` draws, in a row; below, what went wrong.

    Returns what is chosen, or None (after saying why) if nothing can be shown.
    """
    sources, problem = _sources()
    uploaded: Opened | None = st.session_state.get(UPLOADED)
    options = titles(sources, uploaded)
    if OPEN_NEXT in st.session_state:
        wanted = st.session_state.pop(OPEN_NEXT)
        if wanted in options:
            st.session_state[CHOICE] = wanted
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choice = None
        if options:
            choice = st.selectbox(
                "Snapshot", options, key=CHOICE, bind="query-params", width="stretch",
                help="Bundled samples, finished runs of this machine, and what you upload.",
            )  # fmt: skip
        with st.popover("Open a file", icon=":material/upload_file:"):
            st.file_uploader(
                "A snapshot (*.beft.safetensors)", key="upload", on_change=_accept, max_upload_size=64,
                help="Read in memory and checked before use; nothing is stored on this machine's disk.",
            )  # fmt: skip
        beside()
    with st.container():
        if st.session_state.get(UPLOAD_ERROR):
            st.error(st.session_state[UPLOAD_ERROR], title="This file cannot be opened", icon=":material/error:")
        if problem is not None:
            st.warning(plain(problem), title="The bundled samples are missing", icon=":material/inventory_2:")
    if choice is None:
        st.info("Open a snapshot file, or run the one-minute experiment.", icon=":material/arrow_upward:")
        return None
    if uploaded is not None and choice == uploaded.title:
        return uploaded
    try:
        return open_source(next(source for source in sources if source.title == choice))
    except UserError as error:
        st.error(plain(error), title="This snapshot cannot be shown", icon=":material/error:")
        return None


def _sources() -> tuple[list[Source], UserError | None]:
    try:
        return samples() + finished_runs(), None
    except UserError as error:
        return finished_runs(), error


def _accept() -> None:
    """Check the upload before anything else runs. A broken one leaves everything else as it was."""
    file = st.session_state["upload"]
    st.session_state.pop(UPLOAD_ERROR, None)
    if file is None:
        return
    try:
        opened = open_bytes(file.name, file.getvalue())
    except UserError as error:
        st.session_state[UPLOAD_ERROR] = plain(f"{file.name}: {error}", 900)
        return
    st.session_state[UPLOADED] = opened
    st.session_state[OPEN_NEXT] = opened.title
