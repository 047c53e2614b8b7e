"""Section on the plane of two changes: the metric of both tasks over every mixture, and a merge moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from beft_core.merging.plane import HIGH, LOW, Surface, surfaces
from beft_core.merging.result import MergeResult
from dashboard.app_pages.merge.choice import Choice
from dashboard.app_pages.merge.plane_scene import START, answer, here, scene, share_of
from dashboard.figures.parts.svg import SVG_JS, scripts
from dashboard.shared import address, page, tour
from dashboard.shared.figure import offer_table
from dashboard.tour_mark import mark

KEY = "merge-plane"
ALPHA, BETA = "plane_a", "plane_b"
"""Keys of the sliders, and their names in the URL."""
_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "beft_merge_plane",
    html=(_HERE / "plane.html").read_text(encoding="utf-8"),
    css=(_HERE / "plane.css").read_text(encoding="utf-8"),
    js=scripts(SVG_JS, _HERE / "plane.js"),
)


def plane(choice: Choice, result: MergeResult | None) -> DeltaGenerator | None:
    """Draw the plane of two fine-tunes, with the metrics where an evaluation of the choice scored them.

    Returns the place of the button that scores them, where none did.
    """
    if len(choice.labels) != 2:
        st.caption("Two changes span a plane; these are more. Choose two to see it.")
        return None
    found = surfaces(result) if result is not None else []
    with page.stage("answer"):
        st.markdown(answer(choice.labels, found))
    place = None if found else st.container(horizontal=True, vertical_alignment="center")
    _picture(choice, found, result)
    return place


@address.fragment()
def _picture(choice: Choice, found: Sequence[Surface], result: MergeResult | None) -> None:
    holder = page.stage("picture")
    with page.control("settings", "plane", horizontal=True, gap="large"):
        shares = [
            st.slider(share_of(letter, label), LOW, HIGH, START, 0.01, key=key, bind="query-params")
            for letter, label, key in zip("αβ", choice.labels, (ALPHA, BETA), strict=True)
        ]
    with holder:
        _COMPONENT(
            key=KEY,
            data=scene(shares, choice.snapshots, choice.terms, choice.comparison, result),
            on_moved_change=_moved,
        )
    if found:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(here(found, *shares))
            with page.control("downloads", "plane", width="content"):
                offer_table("The plane (CSV)", lambda: frame(found), "merge-plane.csv", "merge-plane-csv")
    mark("merge")
    tour.write_when_quiet()


def frame(found: Sequence[Surface]) -> pd.DataFrame:
    """Table of the metric of every task at every point of the grid, in percent."""
    return pd.DataFrame(
        {"task": one.task, "alpha": alpha, "beta": beta, "percent": float(one.values[a, b])}
        for one in found
        for a, alpha in enumerate(one.alphas.tolist())
        for b, beta in enumerate(one.betas.tolist())
    )


def _moved_to() -> tuple[float, float] | None:
    """Read where the point was let go, if that is what the picture sends."""
    moved = (st.session_state.get(KEY) or {}).get("moved")
    if not isinstance(moved, dict) or set(moved) != {"alpha", "beta"}:
        return None
    values = (moved["alpha"], moved["beta"])
    if not all(type(value) in (int, float) and LOW <= value <= HIGH for value in values):
        return None
    return values


def _moved() -> None:
    """Move the sliders, and so the URL, to where the point was let go."""
    moved = _moved_to()
    if moved is not None:
        st.session_state[ALPHA], st.session_state[BETA] = (round(float(value), 2) for value in moved)
        tour.done("merge", moving=True)
