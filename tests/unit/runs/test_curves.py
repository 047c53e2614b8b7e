"""Curves of a run: read once, grown with it, thinned without losing a peak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import made, tell

from beft_core.runs.curves import Curve, CurveReader


def test_curves_are_read_once_and_grow(tmp_path: Path) -> None:
    run = made(tmp_path, 0.75)
    tell(
        run,
        {"type": "step", "step": 1, "total": 4, "loss": [0.9]},
        {"type": "scores", "step": 1, "scores": {"v": {"magnitude": 0.1}}},
    )
    reader = CurveReader(run)
    first = reader.read()
    assert reader.read() is first
    assert (first.loss.steps, first.loss.values) == ([1], [0.9]) and set(first.metrics) == {
        "train_loss",
        "accuracy",
        "f1",
    }
    assert first.scores["v", "magnitude"].values == [0.1]
    tell(
        run,
        {"type": "step", "step": 2, "total": 4, "loss": [None]},
        {"type": "step", "step": 3, "total": 4, "loss": [0.7]},
    )
    assert reader.read().loss.steps == [1, 3] and first.loss.steps == [1]
    run.metrics.write_text("")
    tell(run, {"type": "step", "step": 1, "total": 4, "loss": [0.1]})
    again = reader.read()
    assert again.loss.values == [0.1] and not again.metrics and not again.scores  # nothing of the file before


def test_strange_records_are_skipped(tmp_path: Path) -> None:
    run = made(tmp_path, None)
    tell(
        run,
        {"type": "step"},
        {"type": "step", "step": "x"},
        {"type": "step", "step": 1, "loss": []},
        {"step": 1},
        {"type": "scores", "step": 1, "scores": None},
        {"type": "epoch", "step": 1, "accuracy": "high"},
    )
    read = CurveReader(run).read()
    assert not read.loss.steps and not read.metrics and not read.scores


def test_a_resumed_run_replaces_what_it_tells_again() -> None:
    curve = Curve()
    for step, value in ((1, 9.0), (2, 8.0), (3, 7.0), (2, 5.0), (4, 4.0)):
        curve.add(step, value)
    assert (curve.steps, curve.values) == ([1, 2, 4], [9.0, 5.0, 4.0])


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=500), st.integers(4, 100))
def test_thinning_keeps_the_ends_and_every_peak(values: list[float], most: int) -> None:
    curve = Curve(list(range(len(values))), values)
    steps, kept = curve.thinned(most)
    assert len(steps) <= most and (np.diff(steps) > 0).all()
    assert steps[0] == 0 and steps[-1] == len(values) - 1 and (kept == np.array(values)[steps]).all()
    assert kept.min() == min(values) and kept.max() == max(values)
