"""The curves of a run: what they draw of its records, and what the live component is told."""

from __future__ import annotations

from typing import Any

import numpy as np

from dashboard.figures.curves.progress import loss_curve, metric_curve, metric_names, score_lines
from dashboard.figures.parts import style
from dashboard.run_watch.charts import not_evaluated
from dashboard.run_watch.live import drawn

RECORDS: list[dict[str, Any]] = [
    {"type": "stage", "name": "train"},
    {"type": "step", "step": 1, "total": 9, "loss": [0.9]},
    {"type": "step", "step": 5, "total": 9, "loss": [0.5]},
    {"type": "step", "step": 3, "total": 9, "loss": [0.7]},  # resumed from a checkpoint before step 5
    {"type": "step", "step": 5, "total": 9, "loss": [0.4]},
    {"type": "epoch", "run": 0, "seconds": 1, "epoch": 1, "step": 3, "train_loss": 0.7, "mcc": 0.1, "accuracy": 0.6},
    {"type": "scores", "step": 1, "scores": {"v": {"projection_ratio": 0.1}, "q": {"projection_ratio": 0.2}}},
    {"type": "scores", "step": 5, "scores": {"v": {"projection_ratio": 0.5}, "q": {"projection_ratio": 0.3}}},
]


def test_a_resumed_run_goes_over_its_steps_once() -> None:
    (line,) = loss_curve(RECORDS).data
    assert list(zip(line.x, line.y, strict=True)) == [(1, 0.9), (3, 0.7), (5, 0.4)]


def test_the_metric_that_counts_comes_first() -> None:
    assert metric_names(RECORDS) == ["mcc", "accuracy"]
    first, second = metric_curve(RECORDS).data
    assert (first.name, first.line.dash, second.line.dash) == ("mcc", "solid", "dot")


def test_a_line_per_term_in_its_colour() -> None:
    figure = score_lines(RECORDS, "projection_ratio")
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines"}
    assert list(lines) == ["q", "v"] and list(lines["v"].y) == [0.1, 0.5]
    assert all(trace.line.color == style.TERM_COLOURS[term] for term, trace in lines.items())
    assert not score_lines(RECORDS, "magnitude").data
    alike = {term: {"projection_ratio": 1 + n / 1e3} for n, term in enumerate("qkvo")}
    close = [{"type": "scores", "step": 1, "scores": alike}]
    names = [one for one in score_lines(close, "projection_ratio").layout.annotations if one.name == "end"]
    places = sorted(-(one.ay or 0) for one in names)  # pixels above the ends, which all but coincide
    assert len(names) == 4 and np.diff(places).min() > 15 and places[0] < 0 < places[-1]
    assert all(one.showarrow and one.arrowcolor == one.font.color for one in names)  # joined to its line


def test_long_scores_are_thinned_and_keep_their_last_value() -> None:
    records = [{"type": "step", "step": 1, "total": 2501, "loss": [0.1]}]
    records += [
        {"type": "scores", "step": step, "scores": {"v": {"projection_ratio": step / 5002}}} for step in range(1, 2502)
    ]
    line, end = score_lines(records, "projection_ratio").data
    assert len(line.x) <= 1001 and (line.x[0], line.x[-1], line.y[-1]) == (1, 2501, 0.5)
    assert (end.x[0], end.y[0]) == (2501, 0.5)


def test_a_probe_says_when_it_is_evaluated() -> None:
    """At step 95 of 114 it said that no epoch had ended, when five had."""
    steps = [record for record in RECORDS if record["type"] == "step"]
    epochs = [{"type": "epoch", "epoch": n, "step": 19 * n, "train_loss": 0.6} for n in range(1, 6)]
    assert not_evaluated(steps, ended=False) == "No epoch has ended yet."
    assert not_evaluated([*steps, epochs[0]], ended=False).startswith(
        "1 epoch has ended. This run is scored after its last"
    )
    assert not_evaluated([*steps, *epochs], ended=False).startswith("5 epochs have ended")
    assert not_evaluated([*steps, *epochs], ended=True) == "Nothing was evaluated."


def test_the_live_component_draws_the_same_lines() -> None:
    told = drawn(score_lines(RECORDS, "projection_ratio"))
    assert [(line["label"], line["y"]) for line in told["lines"]] == [("b_q", [0.2, 0.3]), ("b_v", [0.1, 0.5])]
    assert told["total"] >= 9 and told["zero"]
    assert [(line["name"], line["dotted"]) for line in drawn(metric_curve(RECORDS))["lines"]] == [
        ("mcc", False),
        ("accuracy", True),
    ]
    assert not drawn(metric_curve(RECORDS))["zero"] and drawn(loss_curve([]))["lines"][0]["x"] == []
