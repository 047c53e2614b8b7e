"""Tab with the film of a fine-tune: every layer's path through the plane, and the score of each term over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from beft_core.errors import UserError
from beft_core.scores.approaches import APPROACHES, of_movement
from beft_core.scores.plane import Path, Trajectory, has_trajectory, tips, trajectory
from beft_core.terms import TERMS
from dashboard.app_pages.geometry.pairs import choose_stack, choose_terms
from dashboard.figures.parts import style
from dashboard.figures.parts.numbers import NUMBERS_JS
from dashboard.figures.parts.style import latex
from dashboard.figures.parts.svg import SVG_JS, scripts
from dashboard.figures.trajectory import level_labels, path_figure, path_frame, tables
from dashboard.shared import address, explain, page
from dashboard.shared.figure import offer_downloads
from dashboard.shared.picker import GEOMETRY_CHOICE, pick
from dashboard.shared.sources import Opened, Source, shelf

KEY = "film"
STEP, MEASURE = "step", "measure"
"""Names in the URL: an optimizer step, and the approach whose scores are drawn."""
_HERE = File(__file__).parent
_COMPONENT = st.components.v2.component(
    "beft_film",
    html=(_HERE / "player.html").read_text(encoding="utf-8"),
    css=(_HERE / "player.css").read_text(encoding="utf-8"),
    js=scripts(NUMBERS_JS, SVG_JS, _HERE / "plane.js", _HERE / "player.js"),
)


def training() -> None:
    """Draw the choice of snapshot and terms, the film, and what to do where a snapshot has none."""
    opened = pick(GEOMETRY_CHOICE)
    if opened is None:
        return
    st.caption(explain.headline(opened))
    stack = opened.scores.stacks[0]
    with page.control("settings", "film"):
        stack = choose_stack(opened.scores)
        chosen = choose_terms(list(opened.scores.rows(stack)))
        measures = {approach.label: approach.key for approach in of_movement()}
        measure = measures[
            str(
                st.segmented_control(
                    "Score over the steps",
                    list(measures),
                    default=next(iter(measures)),
                    required=True,
                    key=MEASURE,
                    bind="query-params",
                )
            )
        ]
    track = _track(opened, stack)
    if track is None:
        return
    paths = [path for path in track.paths if path.term in chosen]
    if not paths:
        st.info(
            f"Only {', '.join(latex(path.term) for path in track.paths)} were followed here. Choose one of them above.",
            icon=":material/filter_alt:",
        )
        return
    _film(track, paths, measure)
    _notes(track, paths, chosen)
    with page.control("details", "film"):
        explain.computed(opened, [measure])


@address.fragment()
def _film(track: Trajectory, paths: Sequence[Path], measure: str) -> None:
    at = _at(track)
    _COMPONENT(
        key=KEY,
        data={"film": film(track, paths, measure, page.dark()), "at": at},
        on_at_change=lambda: _moved(track),
    )
    with page.control("downloads", "film", horizontal=True, horizontal_alignment="right"):
        offer_downloads(
            path_figure(track, paths, measure, at, page.dark()),
            "trajectory",
            lambda: pd.DataFrame(tables(track, paths)),
        )


def _track(opened: Opened, stack: str) -> Trajectory | None:
    """Read the trajectory; None after saying why there is none and how to get one."""
    assert opened.source is not None
    try:
        track = trajectory(opened.source.read(), stack)
    except UserError as error:
        page.report(error, "This trajectory cannot be read")
        return None
    if track is None:
        st.info(
            "It holds the biases before and after the fine-tune, not in between. Fine-tune with a trajectory to see "
            "the way there, or open one of these.",
            title="This snapshot was not followed through its training",
            icon=":material/timeline:",
        )
        with st.container(horizontal=True):
            st.page_link(page.file_of("fine_tune"), label="Fine-tune", icon=":material/tune:", query_params=page.kept())
            for source in followed():
                st.button(source.title, on_click=_open, args=(source.title,), icon=":material/timeline:")
    return track


def followed(most: int = 6) -> list[Source]:
    """Find the first few samples and runs that have a trajectory."""
    found: list[Source] = []
    for source in shelf()[0]:
        try:
            if has_trajectory(source.read()):
                found.append(source)
        except UserError:
            continue  # reported when it is opened
        if len(found) == most:
            break
    return found


def _open(title: str) -> None:
    st.session_state[GEOMETRY_CHOICE] = title


def _at(track: Trajectory) -> int:
    """Find the checkpoint that the URL names by its step, or the one before it; the last if it names none."""
    named = st.query_params.get(STEP, "")
    if not named.isdecimal() or len(named) > 15:
        return len(track.steps) - 1
    return max(0, int(np.searchsorted(track.steps, int(named), side="right")) - 1)


def _moved(track: Trajectory) -> None:
    """Write the step at which the film was stopped into the URL."""
    at = (st.session_state.get(KEY) or {}).get("at")
    if isinstance(at, int | float) and float(at).is_integer() and 0 <= at < len(track.steps):
        address.put(STEP, str(track.steps[int(at)]))


def film(track: Trajectory, paths: Sequence[Path], measure: str, dark: bool = False) -> dict[str, Any]:
    """Write what the player draws as plain lists; x and y are [layers][checkpoints], rounded to what a screen shows."""
    frame = path_frame(paths)
    size = max(frame.x[1] - frame.x[0], frame.y[1])
    terms = []
    for path in paths:
        x, y = (axis.T.round(4) for axis in tips(path.geometry))
        drawn = np.isfinite(x).all(axis=1)
        terms.append(
            {
                "name": TERMS[path.term].symbol,
                "colour": style.TERM_COLOURS[path.term],
                "ink": style.term_ink(path.term, dark),
                "inside": style.on_colour(style.TERM_COLOURS[path.term]),
                "x": x[drawn].tolist(),
                "y": y[drawn].tolist(),
                "layers": np.flatnonzero(drawn).tolist(),
                "mean": path.scores[measure].mean(axis=1).tolist(),
            }
        )
    return {
        "steps": track.steps.tolist(),
        "terms": terms,
        "measure": APPROACHES[measure].label,
        "frame": {
            "left": frame.x[0],
            "right": frame.x[1],
            "top": frame.y[1],
            "bottom": -frame.y[0],
            "circles": next((step for step in (0.25, 0.5, 1.0) if size / step <= 8), 2.0),
        },
        "labels": level_labels(frame),
    }


def _notes(track: Trajectory, paths: Sequence[Path], chosen: Sequence[str]) -> None:
    notes = [
        f"{len(track.steps)} checkpoints, from before the fine-tune (step 0) to step {track.steps[-1]}. Each point is "
        "one layer; its number is in it. Between two checkpoints the film moves on a straight line."
    ]
    still = [term for term in chosen if term not in {path.term for path in paths}]
    if still:
        notes.append(f"{', '.join(latex(term) for term in still)}: frozen or not followed, so without a path.")
    hidden = {path.term: int((~np.isfinite(tips(path.geometry)[0])).any(axis=0).sum()) for path in paths}
    for term, count in hidden.items():
        if count:
            notes.append(
                f"{latex(term)}: {count} layers began at zero, so their length ratio is infinite. They are not drawn "
                "in the plane, but they count in the mean."
            )
    st.caption("  \n".join(notes))
