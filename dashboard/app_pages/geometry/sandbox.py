"""Sandbox of Fig. 3, (a) to (c) or all in one: one vector before, one after, moved by hand; scores and words follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.app_pages.geometry.sandbox_jumps import JUMPS, Jump, Position
from dashboard.app_pages.geometry.sandbox_scene import HOW, IN_ONE, JUMP_TO, SLIDERS, START, WIDE, computed, scene
from dashboard.figures.parts.numbers import NUMBERS_JS
from dashboard.figures.parts.svg import SVG_JS, scripts
from dashboard.shared import address, page, tour
from dashboard.tour_mark import mark

KEY = "sandbox"
WIDE_IN_A_ROOM = 1.6
"""Width of a picture to its height before a room, where all of the page is one screen."""
JUMP, OVERLAY = "jump", "overlay"
"""Names in the URL: a pair to jump to, and whether all approaches are drawn in one picture."""
_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "beft_sandbox",
    html=(_HERE / "sandbox.html").read_text(encoding="utf-8"),
    css=(_HERE / "sandbox.css").read_text(encoding="utf-8"),
    js=scripts(NUMBERS_JS, SVG_JS, _HERE / "plane.js", _HERE / "sandbox.js"),
)


@address.fragment()
def sandbox() -> None:
    """Draw the jumps, and the picture with its numbers, sliders and a sentence on what one sees.

    All of that follows the hand within a frame, because the browser draws it.
    """
    jump = _jumps()
    picture = st.container()  # above the switch between one and three
    below = st.grid(2, min_column_width=400) if page.presenting() else None  # two lines in one: a room sees one screen
    with st.container() if below is None else below.cell(), page.control("settings", "overlay"):
        overlay = st.toggle(
            IN_ONE,
            key=OVERLAY,
            bind="query-params",
            help=HOW,
        )
    with picture, page.stage("picture"):
        _COMPONENT(
            key=KEY,
            data={
                **scene(_position(), jump, overlay),
                "seq": (_sent() or {}).get("seq", 0),
                "large": page.presenting(),
                "wide": WIDE_IN_A_ROOM if page.presenting() and page.stop() is None else WIDE,
                "hidden": page.hides("settings") or page.stop() is not None,
            },
            on_moved_change=_moved,
        )
    mark("sandbox")
    if jump is not None:
        st.info(jump.lesson, title=jump.title, icon=":material/lightbulb:")
    place = st.container() if below is None else below.cell()
    with place, page.control("details", "sandbox"), st.expander("How was this computed?", icon=":material/function:"):
        for paragraph in computed():
            st.markdown(paragraph)
    tour.write_when_quiet()


def _jumps() -> Jump | None:
    with page.control("settings", "jumps"):
        title = st.pills(
            JUMP_TO,
            [jump.title for jump in JUMPS],
            key=JUMP,
            bind="query-params",
            on_change=_jumped,
            label_visibility="collapsed" if page.presenting() else "visible",
        )
    return next((jump for jump in JUMPS if jump.title == title), None)


def _position() -> Position:
    """Read where the sandbox stands from the URL; what that does not say, or says wrongly, is as at first."""
    values = {}
    for key, (name, _, least, most, *_) in SLIDERS.items():
        try:
            value = float(st.query_params.get(key, ""))
        except ValueError:
            continue
        if least <= value <= most:
            values[name] = value
    return replace(START, **values)


def _put(values: Mapping[str, float]) -> None:
    """Write fields of a position into the URL; those at their first value do not stand there."""
    for key, (name, _, least, most, *_) in SLIDERS.items():
        if name in values:
            value = min(most, max(least, float(values[name])))
            address.put(key, None if value == getattr(START, name) else f"{value:g}")


def _sent() -> dict[str, Any] | None:
    """Read what the picture sent last, if it is what a picture sends."""
    moved = (st.session_state.get(KEY) or {}).get("moved")
    wanted = {"seq", *(field.name for field in fields(Position))}
    if not isinstance(moved, dict) or set(moved) != wanted:
        return None
    numbers = (int, float)
    return moved if all(type(v) in numbers and math.isfinite(v) for v in moved.values()) else None


def _moved() -> None:
    """Write where a tip or a slider was let go into the URL."""
    moved = _sent()
    if moved is not None:
        _put(moved)
        tour.done("sandbox", moving=True)


def _jumped() -> None:
    jump = next((jump for jump in JUMPS if jump.title == st.session_state[JUMP]), None)
    if jump is not None:
        _put({name: getattr(jump.a, name) for name in ("ratio", "angle", "length")})
        tour.done("sandbox")
