"""The sandbox of Fig. 2 and Fig. 3: one vector before, one after, moved by hand; the three scores follow."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import streamlit as st

from beft_core.scores import APPROACHES
from dashboard.components import address, page, tour
from dashboard.components.sandbox_jumps import JUMPS, Jump, Position
from dashboard.figures.numbers import short

KEY = "sandbox"
JUMP = "jump"
SLIDERS: dict[str, tuple[str, str, float, float, float, str]] = {
    # key in the URL: field of Position, words, least, most, step, format
    "r": ("ratio", "Length of b′, relative to b", 0.0, 2.0, 0.01, "%.2f"),
    "angle": ("angle", "Angle from b to b′", -180.0, 180.0, 0.5, "%.1f°"),
    "len": ("length", "Length of b", 0.4, 1.0, 0.05, "%.2f"),
    "grad": ("gradient", "Length of the gradient at b", 0.0, 1.0, 0.05, "%.2f"),
    "graddir": ("direction", "Direction of the negative gradient", -180.0, 180.0, 5.0, "%.0f°"),
}
START = Position()
_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "beft_sandbox",
    html=(_HERE / "sandbox.html").read_text(encoding="utf-8"),
    css=(_HERE / "sandbox.css").read_text(encoding="utf-8"),
    js="\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("geometry_plane.js", "sandbox.js")),
)


@address.fragment()
def sandbox() -> None:
    """The picture with its numbers, the jumps, the sliders and a sentence on what one sees."""
    jump = _jumps()
    picture = st.container()  # above the sliders that it depends on
    position = _sliders()
    with picture:
        _COMPONENT(
            key=KEY,
            data={
                "position": asdict(position),
                "pair": _pair(jump),
                "seq": (_sent() or {}).get("seq", 0),
                "large": page.presenting(),
            },
            on_moved_change=_moved,
        )
        if jump is not None:
            st.info(jump.lesson, title=jump.title, icon=":material/lightbulb:")
        st.markdown(seen(position))
    with page.control("details", "sandbox"), st.expander("How was this computed?", icon=":material/function:"):
        _computed()
    tour.tell_when_quiet()


def _computed() -> None:
    for key in ("projection_ratio", "magnitude", "fisher"):
        approach = APPROACHES[key]
        st.markdown(f"**{approach.label}**: `{approach.formula}`  \n:small[{approach.reference}]")
    st.markdown(
        "*pre* is b, which lies on the axis u; *post* is b′. The picture is a bias of two numbers and one training "
        "example, so Fisher is the squared length of one gradient. Solid blue: all b′ with the present projection "
        "ratio. That is a straight piece inside the circle ‖b′‖ = ‖b‖, where ‖b′‖ cos α is fixed, and an arc of a "
        "circle through the origin outside, where cos α / ‖b′‖ is. Thin blue: the same for 0.25 to 1.75. The rhombus "
        "and the dashed circle join all b′ at the present L1 or L2 distance from b; the rhombus has corners because L1 "
        "depends on the axes. Yellow: all gradients with the present Fisher score. No random numbers take part."
    )


def _jumps() -> Jump | None:
    with page.control("settings", "jumps"):
        title = st.pills(
            "Jump to a place where the approaches disagree", [jump.title for jump in JUMPS], key=JUMP,
            bind="query-params", on_change=_jumped,
        )  # fmt: skip
    return next((jump for jump in JUMPS if jump.title == title), None)


def _sliders() -> Position:
    values = {}
    with page.control("settings", "sandbox"):
        columns = [*st.columns(2), *st.columns(3)]
        for column, (key, (name, words, least, most, step, shown)) in zip(columns, SLIDERS.items(), strict=True):
            values[name] = column.slider(
                words, least, most, getattr(START, name), step, format=shown, key=key, bind="query-params",
                on_change=tour.done, args=("sandbox",), kwargs={"moving": True},
            )  # fmt: skip
    return Position(**values)


def _pair(jump: Jump | None) -> list[dict[str, float]] | None:
    if jump is None or jump.b is None:
        return None
    return [{name: getattr(one, name) for name in ("length", "ratio", "angle")} for one in (jump.a, jump.b)]


def _sent() -> dict[str, Any] | None:
    """What the picture sent last, if it is what a picture sends."""
    moved = (st.session_state.get(KEY) or {}).get("moved")
    wanted = {"seq", *(field.name for field in fields(Position))}
    if not isinstance(moved, dict) or set(moved) != wanted:
        return None
    numbers = (int, float)
    return moved if all(type(v) in numbers and math.isfinite(v) for v in moved.values()) else None


def _moved() -> None:
    """Somebody let go of a tip: the sliders, and with them the URL, take over where it is."""
    moved = _sent()
    if moved is not None:
        for key, (name, _, least, most, *_) in SLIDERS.items():
            st.session_state[key] = float(min(most, max(least, moved[name])))
        tour.done("sandbox", moving=True)


def _jumped() -> None:
    jump = next((jump for jump in JUMPS if jump.title == st.session_state[JUMP]), None)
    if jump is not None:
        for key in ("r", "angle", "len"):
            st.session_state[key] = getattr(jump.a, SLIDERS[key][0])
        tour.done("sandbox")


def seen(position: Position) -> str:
    """What the picture shows, in a sentence or two of Markdown."""
    scores = position.scores()
    score, angle = scores["projection_ratio"], abs(position.angle)
    if score == 0:
        return "b′ equals b: nothing changed, so the projection ratio and Magnitude are 0. **Drag the red tip.**"
    if position.ratio == 0:
        return "b′ is zero: nothing of b is left, so the projection ratio is 1."
    longer = position.ratio > 1
    which = (
        "b′ is longer than b, so b is projected onto b′" if longer else "b′ is not longer, so it is projected onto b"
    )
    if score > 1 and angle > 90:
        rest = "the shadow falls on the far side of the origin: the vector is **reversed** and the score is above 1"
    elif math.isclose(score, 1):
        rest = "at a right angle there is no shadow: the score is 1"
    else:
        covered = f"{100 * (1 - score):.0f}%"
        rest = f"the shadow covers {covered} of the longer vector; what is missing, {short(score)}, is the score"
    return (
        f"{which}; {rest}. Magnitude adds up how far each coordinate moved, {short(scores['magnitude'])}, whether that "
        f"turned the vector or not. Fisher, {short(scores['fisher'])}, is the squared length of the gradient at b: "
        "measured before the fine-tune, it cannot see where b′ went."
    )
