"""Predictions of runs on disk: they come back as they were, and what a run would not write is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beft_core.errors import UserError
from beft_core.runs.predictions import FILE, read_predictions, write_predictions
from beft_core.tasks.examples import Examples
from beft_core.tasks.predictions import predictions_of


def examples(*texts: str, pairs: list[str] | None = None) -> Examples:
    return Examples(list(texts), pairs, np.arange(len(texts)) % 2)


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    two = predictions_of("sst2", [("validation", examples("a", "b", "c"), rng.normal(size=(3, 2)))], "merged")
    sets = [
        ("matched", examples("d", "e"), rng.normal(size=(2, 3))),
        ("mismatched", examples("f"), rng.normal(size=(1, 3))),
    ]
    three = predictions_of("mnli", sets)
    value = predictions_of("stsb", [("validation", examples("a", "b"), rng.normal(size=(2, 1)))])
    write_predictions(tmp_path / FILE, [two, three, value])
    found = read_predictions(tmp_path / FILE)
    for one, expected in zip(found, (two, three, value), strict=True):
        assert (one.task, one.model, one.sets) == (expected.task, expected.model, expected.sets)
        for name in ("keys", "labels", "logits"):
            np.testing.assert_array_equal(getattr(one, name), getattr(expected, name))
    assert three.sets == ("matched", "matched", "mismatched") and two.sets == ()
    assert found[2].regression and found[2].predicted.tolist() == pytest.approx(value.logits[:, 0].tolist())
    assert b"sst2" in (tmp_path / FILE).read_bytes() and not list(tmp_path.glob("*.tmp*"))


def test_right_candidates_come_back_too(tmp_path: Path) -> None:
    several = Examples(["a", "b"], None, np.array([0, 1]), [(" x", " y", " z")] * 2, [(0, 2), (1,)])
    chosen = predictions_of("prompt-record", [("validation", several, np.eye(3)[:2])])
    plain = predictions_of("sst2", [("validation", examples("a", "b"), np.eye(2))])
    write_predictions(tmp_path / FILE, [chosen, plain])
    first, second = read_predictions(tmp_path / FILE)
    assert first.golds == chosen.golds == ((0, 2), (1,)) and second.golds is None


def test_what_examples_are_about_comes_back_too(tmp_path: Path) -> None:
    asked = Examples(["a", "b", "c"], None, np.array([0, 1, 0]), groups=[7, 7, 9])
    about = predictions_of("boolq", [("validation", asked, np.eye(3)[:, :2])])
    plain = predictions_of("sst2", [("validation", examples("a", "b"), np.eye(2))])
    write_predictions(tmp_path / FILE, [about, plain])
    first, second = read_predictions(tmp_path / FILE)
    assert first.groups is not None and first.groups.tolist() == [0, 0, 1] and second.groups is None


def _table(**changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "model": ["", ""],
        "task": ["t", "t"],
        "set": ["", ""],
        "key": [1, 2],
        "label": [0.0, 1.0],
        "logit_0": pa.array([0.1, 0.2], pa.float32()),
        "logit_1": pa.array([0.3, 0.4], pa.float32()),
        **changes,
    }
    return pa.table({name: column for name, column in columns.items() if column is not None})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"key": None}, "got the columns"),
        ({"logit_0": None}, "got the columns"),
        ({"logit_0": None, "logit_1": None}, "got the columns"),
        ({"more": [1, 2]}, "got the columns"),
        ({"key": ["a", "b"]}, "other kinds of columns"),
        ({"label": ["x", "y"]}, "other kinds of columns"),
        ({"key": [1, 1]}, "an example twice"),
        ({"logit_0": [float("nan"), 1.0]}, "not finite"),
        ({"logit_0": [None, None]}, "not finite"),
        ({"label": [0.0, float("inf")]}, "not finite"),
        ({"group": [0.5, 1.0]}, "by a fraction"),
        ({"group": [1, None]}, "without a number"),
        ({"group": [1.0, float("inf")]}, "without a number"),
        ({"group": ["a", "b"]}, "other kinds of columns"),
        ({"golds": ["0 1", "2"]}, "the right candidates '2'"),
        ({"golds": ["0 1", "-1"]}, "the right candidates '-1'"),
        ({"logit_0": [[1.0], [2.0]]}, "other kinds of columns"),
    ],
)
def test_what_a_run_would_not_write_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    pq.write_table(_table(**changes), tmp_path / FILE)
    with pytest.raises(UserError, match=says):
        read_predictions(tmp_path / FILE)


def test_no_file_and_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not there"):
        read_predictions(tmp_path / FILE)
    (tmp_path / FILE).write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="no readable Parquet"):
        read_predictions(tmp_path / FILE)
    pq.write_table(_table().slice(0, 0), tmp_path / FILE)
    with pytest.raises(UserError, match="no rows"):
        read_predictions(tmp_path / FILE)
