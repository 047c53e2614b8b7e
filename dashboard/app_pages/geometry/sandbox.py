"""Sandbox of Fig. 3, (a) to (c) or all in one: one vector before, one after, moved by hand; scores and words follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import streamlit as st

from beft_core.scores.approaches import APPROACHES, PAPER
from dashboard.app_pages.geometry.sandbox_jumps import JUMPS, Jump, Position
from dashboard.figures.parts.numbers import NUMBERS_JS
from dashboard.figures.parts.svg import SVG_JS, scripts
from dashboard.shared import address, page, tour

KEY = "sandbox"
JUMP, OVERLAY = "jump", "overlay"
"""Names in the URL: a pair to jump to, and whether all approaches are drawn in one picture."""
SLIDERS: dict[str, tuple[str, str, float, float, float, str]] = {
    # key in the URL: field of Position, words, least, most, step, unit
    "r": ("ratio", "Length of b′, relative to b", 0.0, 2.0, 0.01, ""),
    "angle": ("angle", "Angle from b to b′", -180.0, 180.0, 0.5, "°"),
    "len": ("length", "Length of b", 0.4, 1.0, 0.05, ""),
    "grad": ("gradient", "Length of the gradient at b", 0.0, 1.0, 0.05, ""),
    "graddir": ("direction", "Direction of the negative gradient", -180.0, 180.0, 5.0, "°"),
}
"""Fields of a position: their names in the URL, and the sliders that the picture draws for them."""
START = Position()
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
    with page.control("settings", "overlay"):
        overlay = st.toggle(
            "All in one picture, with the formula",
            key=OVERLAY,
            bind="query-params",
            help="Three pictures, as in Fig. 3 of the paper, share one b′: drag its tip in any of them, or use the "
            "arrow keys on it, or the sliders. In one picture the lines of equal score can be compared.",
        )
    with picture:
        _COMPONENT(
            key=KEY,
            data={
                "position": asdict(_position()),
                "pair": _pair(jump),
                "seq": (_sent() or {}).get("seq", 0),
                "large": page.presenting(),
                "sliders": [
                    {"name": name, "words": words, "least": least, "most": most, "step": step, "unit": unit}
                    for name, words, least, most, step, unit in SLIDERS.values()
                ],
                "hidden": page.hides("settings"),
                "overlay": overlay,
            },
            on_moved_change=_moved,
        )
    if jump is not None:
        st.info(jump.lesson, title=jump.title, icon=":material/lightbulb:")
    with page.control("details", "sandbox"), st.expander("How was this computed?", icon=":material/function:"):
        _computed()
    tour.write_when_quiet()


def _computed() -> None:
    for key in (PAPER, "magnitude", "fisher"):
        approach = APPROACHES[key]
        st.markdown(f"**{approach.label}**: `{approach.formula}`  \n:small[{approach.reference}]")
    st.markdown(
        "*pre* is b, which lies on the axis u; *post* is b′. The picture is a bias of two numbers and one training "
        "example, so Fisher is the squared length of one gradient. Solid line: all b′ with the present projection "
        "ratio. That is a straight piece inside the circle ‖b′‖ = ‖b‖, where ‖b′‖ cos α is fixed, and an arc of a "
        "circle through the origin outside, where cos α / ‖b′‖ is. Thin lines: the same for 0.25 to 1.75. The dashed "
        "rhombus and the pale circle join all b′ at the present L1 or L2 distance from b; the rhombus has corners "
        "because L1 depends on the axes. Dotted circle: all gradients with the present Fisher score. No random "
        "numbers take part."
    )


def _jumps() -> Jump | None:
    with page.control("settings", "jumps"):
        title = st.pills(
            "Jump to a place where the approaches disagree",
            [jump.title for jump in JUMPS],
            key=JUMP,
            bind="query-params",
            on_change=_jumped,
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


def _pair(jump: Jump | None) -> list[dict[str, float]] | None:
    if jump is None or jump.b is None:
        return None
    return [{name: getattr(one, name) for name in ("length", "ratio", "angle")} for one in (jump.a, jump.b)]


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
