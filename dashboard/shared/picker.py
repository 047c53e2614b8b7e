"""Lists of snapshots to look at, in the URL, and the button that opens files, which then join them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from beft_core.errors import UserError
from dashboard.shared import page
from dashboard.shared.sources import Opened, Source, open_source, shelf, still_there
from dashboard.shared.text import plain
from dashboard.shared.uploads import complaints, opener

CHOICE = "snapshot"
"""Key of the list, and its name in the URL; of the page Which bias matters."""
GEOMETRY_CHOICE, REWRITE_CHOICE, COMPARE_CHOICE = "geo_snapshot", "rw_snapshot", "compare"
DIAL_CHOICE = "dial_snapshot"
"""Keys of the pages Geometry, What the score depends on, Compare, and The dial. A link from one page to another loses
what both bind: names must differ.
"""
TRY_CHOICE, TRY_TAB, TRY_EXAMPLES = "try", "try_tab", "Examples of the task"
"""Keys of the list and the tabs of the page Try it, and the tab where examples are compared one by one."""
NAMES = (
    "Low, medium and high: how many training examples, as in the paper. A probe trains all biases at once, for a score."
)
"""Explanation of the titles of samples."""
OPEN_NEXT = "open_next"
"""Title to choose in the next run of the script; a widget's value can only be set before it is drawn."""


def pick(key: str = CHOICE, beside: Callable[[], None] = lambda: None) -> Opened | None:
    """Draw the list, the upload and what `beside` draws, in a row; below, what went wrong.

    Return what is chosen, or None (after saying why) if nothing can be shown.
    """
    sources, problem = shelf()
    options = [source.title for source in sources]
    if OPEN_NEXT in st.session_state:
        st.session_state[key] = st.session_state.pop(OPEN_NEXT)
    gone = follow_title(key, options)
    with page.control("choose", "snapshot", horizontal=True, vertical_alignment="bottom"):
        choice = None
        if options:
            choice = st.selectbox(
                "Snapshot",
                options,
                key=key,
                bind="query-params",
                width="stretch",
                help=f"Bundled samples, finished runs of this machine, and what you upload. {NAMES}",
            )
        opener(key, _show_one)
        beside()
    _report(problem, gone)
    if choice is None:
        st.info("Open a snapshot file, or run the one-minute experiment.", icon=":material/arrow_upward:")
        return None
    return open_or_report(next(source for source in sources if source.title == choice))


def pick_many(
    label: str,
    key: str,
    *,
    default: Callable[[list[Source]], list[str]],
    most: int = 8,
    help: str | None = None,
    added: Callable[[list[str]], None] = lambda titles: None,
) -> list[Opened]:
    """Draw a list of several snapshots in the URL under `key`, with the upload beside it.

    ``default``: titles to begin with, from what there is; ``added``: called with the titles of uploads that have
    joined the list. Snapshots that cannot be read are reported and left out.
    """

    def join(titles: list[str]) -> None:
        add_to(key, titles, most)
        added(titles)

    sources, problem = shelf()
    options = [source.title for source in sources]
    again = st.session_state.pop(f"{key}-again", None)
    wanted = again or _wanted(key)
    found, gone = still_there(wanted, options)
    found = found[:most]
    if found and (again or found != wanted):
        st.session_state[key] = found
    elif gone and not found:
        st.session_state.pop(key, None)
    with page.control("choose", key, horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            label,
            options,
            default=[title for title in default(sources) if title in options][:most],
            key=key,
            bind="query-params",
            max_selections=most,
            help=help,
            width="stretch",
        )
        opener(key, join)
    if found and chosen != found and not again:
        # A link comes before what is set here, and what it calls by an old name was dropped: once more, by the new one.
        st.session_state[f"{key}-again"] = found
        st.rerun()
    _report(problem, gone)
    by_title = {source.title: source for source in sources}
    opened = [open_or_report(by_title[title]) for title in chosen]
    return [one for one in opened if one is not None]


def open_or_report(source: Source) -> Opened | None:
    """Open a source; report on the page why that cannot be done, and return None."""
    try:
        return open_source(source)
    except UserError as error:
        page.report(error, f"{plain(source.title)} cannot be shown")
        return None


def follow_title(key: str, options: Sequence[str]) -> list[str]:
    """Set a list, before it is drawn, to what the title in it or in the link is called now; return what is gone."""
    found, gone = still_there(_wanted(key)[:1], options)
    if found and st.session_state.get(key) != found[0]:
        st.session_state[key] = found[0]
    elif gone:
        st.session_state.pop(key, None)
    return gone


def report_gone(titles: Sequence[str], why: str) -> None:
    """Draw which titles of a list or of a link cannot be opened any more, and why that may be."""
    if titles:
        names = ", ".join(plain(title, 80) for title in titles[:8])
        st.caption(f":material/link_off: Not here any more: {names}. {why}")


def _wanted(key: str) -> list[str]:
    """Read what a list holds before it is drawn: its value, or what the link that opened the page names."""
    value = st.session_state[key] if key in st.session_state else st.query_params.get_all(key)
    return [title for title in ([value] if isinstance(value, str) else value or []) if title]


def _show_one(titles: list[str]) -> None:
    st.session_state[OPEN_NEXT] = titles[-1]


def add_to(key: str, titles: list[str], most: int) -> None:
    """Add titles to a list, at most `most` in all; what does not fit is on the shelf all the same."""
    st.session_state[key] = list(dict.fromkeys([*st.session_state.get(key, []), *titles]))[:most]


def _report(problem: UserError | None, gone: list[str]) -> None:
    with st.container():  # always there, so that what follows keeps its place
        complaints()
        report_gone(gone, "Uploads live in one tab unless they are kept.")
        if problem is not None:
            st.warning(plain(problem), title="The bundled samples are missing", icon=":material/inventory_2:")
