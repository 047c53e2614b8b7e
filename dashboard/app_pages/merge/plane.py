"""Section on the plane of two changes: the metric of both tasks over every mixture, and a merge moved by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from beft_core.merging.kept import CORRELATIONS
from beft_core.merging.plane import HIGH, LOW, Surface, balanced, surfaces
from beft_core.merging.result import MergeResult
from dashboard.app_pages.merge.choice import Choice
from dashboard.figures.merging import band_colours
from dashboard.figures.parts.svg import SVG_JS, scripts
from dashboard.shared import address, page, tour
from dashboard.shared.figure import offer_table
from dashboard.shared.text import plain

KEY = "merge-plane"
ALPHA, BETA = "plane_a", "plane_b"
"""Keys of the sliders, and their names in the URL."""
START = 0.5
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
        return None
    st.subheader("The plane of the two changes", anchor=False)
    found = surfaces(result) if result is not None else []
    st.markdown(_answer(choice, found))
    place = None if found else st.container(horizontal=True, vertical_alignment="center")
    _picture(choice, found, result)
    return place


def _answer(choice: Choice, found: Sequence[Surface]) -> str:
    """Say where the best compromise lies, or how one gets to see it."""
    first, second = (plain(label) for label in choice.labels)
    if not found:
        return (
            f"Every merge of **{first}** and **{second}** by shares is a point here; their average is the middle. "
            "Score the plane to see what each point is worth on both tasks."
        )
    best = balanced(found)
    if best is None:
        return "No point of the plane has a finite metric above zero on both tasks."
    values = ", ".join(f"{plain(one.task)} {one.at(*best):.1f} %" for one in found)
    middle = ", ".join(f"{plain(one.task)} {one.at(START, START):.1f} %" for one in found)
    return (
        f"The best compromise on this grid takes **{best[0]:g} of {first}'s change and {best[1]:g} of {second}'s**: "
        f"{values}. Their average, 0.5 and 0.5: {middle}."
    )


@address.fragment()
def _picture(choice: Choice, found: Sequence[Surface], result: MergeResult | None) -> None:
    holder = st.container()
    with page.control("settings", "plane", horizontal=True, gap="large"):
        shares = [
            st.slider(
                f"{letter}, share of {plain(label)}'s change", LOW, HIGH, START, 0.01, key=key, bind="query-params"
            )
            for letter, label, key in zip("αβ", choice.labels, (ALPHA, BETA), strict=True)
        ]
    with holder:
        _COMPONENT(
            key=KEY,
            data={
                "at": shares,
                "low": LOW,
                "high": HIGH,
                "labels": [str(label)[:24] for label in choice.labels],
                "changes": _changes(choice),
                "panels": _panels(found, result) or [{"title": "metrics not scored yet", "values": None}],
            },
            on_moved_change=_moved,
        )
    if found:
        words = ", ".join(f"**{plain(one.task)} {one.at(*shares):.1f} %**" for one in found)
        st.markdown(f"At {shares[0]:.2f} and {shares[1]:.2f}: {words}, between the points that were scored.")
        with page.control("downloads", "plane", horizontal=True, horizontal_alignment="right"):
            offer_table("The plane (CSV)", lambda: frame(found), "merge-plane.csv", "merge-plane-csv")
    tour.write_when_quiet()


def _panels(found: Sequence[Surface], result: MergeResult | None) -> list[dict[str, Any]]:
    """Write what the picture draws for each task as plain lists."""
    panels = []
    for one in found:
        assert result is not None
        metric = result.tasks[one.task].metric
        finite = one.values[np.isfinite(one.values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        panels.append(
            {
                "title": f"{one.task[:40]}, {metric.replace('_', ' ')}" + " × 100" * (metric in CORRELATIONS),
                "shares": one.alphas.tolist(),
                "values": [[None if math.isnan(v) else round(v, 3) for v in row] for row in one.values.tolist()],
                "range": [low, high],
                "colours": band_colours(),
            }
        )
    return panels


def _changes(choice: Choice) -> list[list[float]]:
    """Compute the two changes in their own plane, [2][x, y]: the first to the right, the longer one of length 1.

    The angle is kept between 30 and 150 degrees, so that the picture does not fold where the changes are parallel.
    """
    moved = [
        np.concatenate(
            [
                (one.post(*key).astype(np.float64) - one.pre(*key)).ravel()
                for key in one.keys()  # noqa: SIM118
                if key[1] in choice.terms
            ]
        )
        for one in choice.snapshots
    ]
    lengths = [float(np.linalg.norm(change)) for change in moved]
    longest = max(lengths) or 1.0
    # A change that is very short beside the other one is still to be seen.
    first, second = (max(length / longest, 0.35) for length in lengths)
    degrees = float(choice.comparison.differences.angle_degrees[0, 1])
    angle = math.radians(min(150.0, max(30.0, degrees if math.isfinite(degrees) else 90.0)))
    return [[first, 0.0], [second * math.cos(angle), second * math.sin(angle)]]


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
