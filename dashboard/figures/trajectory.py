"""Path of a fine-tune up to a step: every layer in the plane, and the score of each term over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beft_core.scores.approaches import APPROACHES
from beft_core.scores.plane import Path, Trajectory, iso_line, tips
from beft_core.terms import TERMS
from dashboard.figures.geometry import LEVELS, Frame
from dashboard.figures.parts import style
from dashboard.figures.parts.end_labels import End, name_ends

HEIGHT = 480


def path_frame(paths: Sequence[Path]) -> Frame:
    """Find the part of the plane that all paths stay in."""
    every = [tips(path.geometry) for path in paths]
    return Frame.around(*(np.concatenate([axis.ravel() for axis in axes]) for axes in zip(*every, strict=True)))


def path_figure(track: Trajectory, paths: Sequence[Path], measure: str, at: int, dark: bool = False) -> go.Figure:
    """Draw two panels; what was reached by checkpoint `at` is bold. `measure`: a key of `Path.scores`."""
    frame = path_frame(paths)
    figure = make_subplots(
        1, 2, horizontal_spacing=0.08, subplot_titles=["", f"{APPROACHES[measure].label}, mean over layers"]
    )
    reach = 2 * float(np.hypot(max(map(abs, frame.x)), max(map(abs, frame.y))))
    for level in LEVELS:
        x, y = iso_line(level, reach)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            name="level",
            hoverinfo="skip",
            opacity=0.45,
            line={"color": style.neutral(dark), "width": 1},
            row=1,
            col=1,
        )
    ends = []
    for path in paths:
        x, y = tips(path.geometry)
        colour = style.TERM_COLOURS[path.term]
        for layer in range(x.shape[1]):
            figure.add_scatter(
                x=x[: at + 1, layer],
                y=y[: at + 1, layer],
                mode="lines+markers",
                name=path.term,
                line={"color": colour, "width": 1.5},
                marker={"color": colour, "size": [0] * at + [9]},
                hovertemplate=f"{style.symbol(path.term)}, layer {layer}<extra></extra>",
                row=1,
                col=1,
            )
        mean = path.scores[measure].mean(axis=1)
        for until, opacity, width in ((len(mean), 0.35, 1.5), (at + 1, 1.0, 3)):
            figure.add_scatter(
                x=track.steps[:until],
                y=mean[:until],
                mode="lines",
                name=path.term,
                opacity=opacity,
                line={"color": colour, "width": width},
                row=1,
                col=2,
                hovertemplate=f"{style.symbol(path.term)}, step %{{x}}: %{{y:.4g}}<extra></extra>",
            )
        name = f"{TERMS[path.term].label} {style.symbol(path.term)}"
        ends.append(End(float(track.steps[-1]), float(mean[-1]), name, style.term_ink(path.term, dark)))
    figure.add_vline(x=track.steps[at], line={"color": style.ink(dark), "width": 1, "dash": "dot"}, row=1, col=2)
    figure.update_xaxes(showgrid=False, showticklabels=False, range=frame.x, row=1, col=1)
    figure.update_yaxes(
        showgrid=False, showticklabels=False, range=frame.y, scaleanchor="x", scaleratio=1, row=1, col=1
    )
    figure.update_xaxes(title="step", range=[0, float(track.steps[-1]) * 1.35], row=1, col=2)
    highest = max((float(path.scores[measure].mean(axis=1).max()) for path in paths), default=0.0) or 1.0
    figure.update_yaxes(range=[0, 1.05 * highest], row=1, col=2)
    name_ends(figure, ends, (0.0, 1.05 * highest), HEIGHT - 80, size=13, place={"row": 1, "col": 2})
    figure.update_layout(template=style.template(dark), height=HEIGHT, margin_t=36)
    return figure


def level_labels(frame: Frame) -> list[tuple[float, float, float]]:
    """Place the name of each line of equal projection ratio at its highest point in the frame: (x, y, score)."""
    labels = []
    for level in LEVELS:
        x, y = iso_line(level, 2 * frame.y[1])
        if len(x) == 2:
            y = np.linspace(0, y[1], 200)
            x = np.zeros(200)
        inside = np.flatnonzero((x > frame.x[0]) & (x < frame.x[1]) & (y > 0) & (y < frame.y[1] * 0.96))
        if inside.size:
            top = inside[np.argmax(y[inside])]
            labels.append((float(x[top]), float(y[top]), level))
    return labels


def tables(track: Trajectory, paths: Sequence[Path]) -> list[Mapping[str, object]]:
    """List one row per term, layer and checkpoint, for a table."""
    return [
        {
            "term": path.term,
            "layer": layer,
            "step": int(step),
            **{key: values[i, layer] for key, values in (path.geometry | path.scores).items()},  # type: ignore[operator]
        }
        for path in paths
        for layer in range(path.geometry["cosine"].shape[1])
        for i, step in enumerate(track.steps)
    ]
