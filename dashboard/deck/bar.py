"""Bar of presenter mode: the stop before and after, a list of all, a code of the address, and the way out.

Its buttons are links and buttons of the page, so they can be seen, tabbed to and read out; ``bar.js`` presses them when
somebody presses a key, or the clicker that sends it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.deck.link import offer_link
from dashboard.deck.stops import STOP, STOPS, WHOLE, Stop, first_on, joined, query_of
from dashboard.shared import address, page

_COMPONENT = st.components.v2.component(
    "beft_deck",
    html='<span role="status"></span>',
    css="span { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }",
    js=Path(__file__).with_name("bar.js").read_text(encoding="utf-8"),
)
_KEYS = "deck-keys"
_LAST = "deck-last"
"""Session state: the stop of the last run."""
KEYS = "Keys: → or Page Down is next, ← or Page Up is back, Home and End are the first and the last, Esc leaves."


def arrive(name: str) -> None:
    """Take the address as it is where a link led to another stop, and join the deck where presenter mode begins.

    Called by app.py before anything reads the address. ``name``: the page's key in ``places.PLACES``.
    """
    now = st.query_params.get(STOP)
    if now is not None and now != st.session_state.get(_LAST):
        address.follow()
        st.session_state[_LAST] = now
    elif now is None and page.presenting():
        stop = joined(name, set(st.query_params) - set(page.EVERYWHERE))
        if stop is not None:
            st.session_state[_LAST] = stop.key
            address.put(STOP, stop.key)


def draw(name: str) -> None:
    """Draw the bar of a page, and hear its keys; nothing outside of presenter mode. Called once by app.py."""
    if not page.presenting():
        return
    stop = page.stop()
    with st.container(key="deck-bar", horizontal=True, vertical_alignment="center", gap="small"):
        if stop is None:
            _join(first_on(name))
        else:
            _steps(stop)
        offer_link()
        st.button(
            "Leave",
            key="deck-leave",
            icon=":material/close_fullscreen:",
            type="tertiary",
            on_click=_leave,
            help="The same page without presenter mode (Esc)",
        )
        _COMPONENT(
            key=_KEYS,
            data={"scale": page.window(), "says": "" if stop is None else f"{_position(stop)}: {stop.title}"},
            on_scale_change=_measured,
        )


def _join(first: Stop) -> None:
    """Draw the way into the deck from a page that is at no stop."""
    _link("deck-next", first, f"To the deck, {_position(first).lower()}: {first.title}", "slideshow")
    st.container(width="stretch")


def _steps(stop: Stop) -> None:
    at = STOPS.index(stop)
    _link("deck-previous", STOPS[max(at - 1, 0)], "Back", "arrow_back", disabled=at == 0)
    with st.container(width="stretch", horizontal_alignment="center"):
        _all(stop)
    _link("deck-next", STOPS[min(at + 1, len(STOPS) - 1)], "Next", "arrow_forward", disabled=at == len(STOPS) - 1)
    for key, end in (("deck-first", STOPS[0]), ("deck-last", STOPS[-1])):  # not seen: for the keys
        _link(key, end, end.title, None)


def _all(stop: Stop) -> None:
    """Draw where one is, which opens the list of all stops."""
    with st.popover(f"{_position(stop)}: {stop.title}", type="tertiary"), st.container(gap=None):
        for one in STOPS:
            label = f"{STOPS.index(one) + 1}. {one.title}"
            _link(f"deck-to-{one.key}", one, f"**{label}**" if one is stop else label, None)
        st.button("The whole page, in large type", key="deck-whole", icon=":material/unfold_more:", on_click=_whole)
        st.caption(KEYS)


def _link(key: str, stop: Stop, label: str, icon: str | None, disabled: bool = False) -> None:
    here = {name: st.query_params.get_all(name) for name in st.query_params}
    with st.container(key=key, width="content"):
        st.page_link(
            page.file_of(stop.page),
            label=label,
            icon=f":material/{icon}:" if icon else None,
            icon_position="right" if icon == "arrow_forward" else "left",
            query_params=page.kept() | {page.PRESENT: "true"} | query_of(stop, here),
            disabled=disabled,
            width="content",
        )


def _position(stop: Stop) -> str:
    return f"Stop {STOPS.index(stop) + 1} of {len(STOPS)}"


def _whole() -> None:
    address.put(STOP, WHOLE)


def _leave() -> None:
    st.session_state[page.PRESENT] = False
    address.put(STOP, None)


def _measured() -> None:
    """Note how large the visitor's window is, in screens of 1280 x 720."""
    sent: Any = (st.session_state.get(_KEYS) or {}).get("scale")
    page.scaled(sent)
