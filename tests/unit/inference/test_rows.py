"""Rows that different fine-tunes are to answer: what suits each is checked before a model is there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.inference.rows import RowAnswer, Rows
from beft_core.snapshots.snapshot import ModelInfo, Snapshot, SnapshotMeta

V = {("encoder", "v"): np.zeros((1, 2), np.float32)}
KINDS = {
    "sst2": {"kind": "classification", "labels": ["negative", "positive"]},
    "stsb": {"kind": "regression", "labels": None},
    "mine": {"kind": "classification", "labels": ["a", "b", "c"]},
}


def snapshot(*tasks: str, base: str = "0", mode: str = "terms") -> Snapshot:
    heads = {task: KINDS[task] for task in tasks}
    meta = SnapshotMeta(ModelInfo("m", None, "bert", 1, 2, base * 64), (*tasks, "t")[0], heads=heads, mode=mode)
    rows = {task: np.zeros((len(about["labels"] or [1]), 2)) for task, about in heads.items()}
    made = Snapshot.build(meta, V, V, extra={f"extra.{task}.head.weight": row for task, row in rows.items()})
    made.source = f"{'+'.join(tasks) or 'none'}-{base}"
    return made


def test_each_row_has_its_snapshot_and_its_task() -> None:
    several = [snapshot("sst2"), snapshot("stsb"), snapshot("mine", "stsb")]
    rows = Rows.checked(several, ["a", "b", "c", "d"], [1, 0, 2, 2], ["x", "", "y", None])
    assert rows.tasks == ("sst2", "stsb", "mine") and rows.of == (1, 0, 2, 2) and len(rows) == 4
    assert rows.pairs == ("x", None, "y", None)  # nothing says what `mine` reads: it gets what there is
    named = Rows.checked(several[1:], ["a"], [1], ["b"], task="stsb")
    assert named.tasks == ("stsb", "stsb")


@pytest.mark.parametrize(
    ("snapshots", "texts", "of", "pairs", "says"),
    [
        ([], ["a"], [0], None, "got no snapshot"),
        (["sst2"], [], [], None, "got no text"),
        (["sst2"], ["a"], [], None, "got 0 snapshots for 1 texts"),
        (["sst2"], ["a"], [0], ["b", "c"], "got 1 snapshots and 2 second texts for 1 texts"),
        (["sst2"], ["a", "b"], [0, 1], None, "got snapshot number 1; expected 0 to 0"),
        (["sst2"], ["a", "b"], [0, -1], None, "got snapshot number -1"),
        (["sst2"], ["a", " "], [0, 0], None, "row 2: got an empty text"),
        (["stsb"], ["a"], [0], [" "], "row 1: got an empty text"),
        (
            ["sst2", "stsb"],
            ["a", "b"],
            [0, 1],
            None,
            "row 2, which stsb-0 answers: got one text for stsb; expected two texts",
        ),
        (
            ["sst2", "stsb"],
            ["a", "b"],
            [1, 0],
            ["x", "y"],
            "row 2, which sst2-0 answers: got two texts for sst2; expected one text",
        ),
    ],
)
def test_rows_that_do_not_suit(
    snapshots: list[str], texts: list[str], of: list[int], pairs: list[str] | None, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        Rows.checked([snapshot(task) for task in snapshots], texts, of, pairs)


def test_snapshots_that_cannot_answer_together() -> None:
    one = snapshot("sst2")
    for other, says in (
        (
            snapshot("stsb", base="1"),
            "stsb-1, a fine-tune of m, beside sst2-0, one of m with other biases; .* one base",
        ),
        (snapshot("mine", mode="lora"), "mine-0: got a snapshot of mode lora, whose result is the adapter"),
        (snapshot("mine", mode="full"), "mine-0: got a snapshot of mode full, whose weights changed too"),
        (snapshot(), "none-0: got 0 heads; expected one of: a snapshot with a head"),
    ):
        with pytest.raises(UserError, match=says):
            Rows.checked([one, other], ["a"], [0])
    merged = snapshot("sst2", "stsb")
    merged.meta = dataclasses.replace(merged.meta, task="sst2 + stsb")
    with pytest.raises(UserError, match="got 2 heads; expected one of: sst2, stsb; try --task NAME"):
        Rows.checked([merged], ["a"], [0])
    with pytest.raises(UserError, match="stsb-0: got no head for sst2; expected one of: stsb"):
        Rows.checked([one, snapshot("stsb")], ["a"], [0], task="sst2")


def test_an_answer_is_a_class_or_a_value() -> None:
    classes = RowAnswer(0, "mine", ("a", "b", "c"), np.array([0.0, 2.0, 0.0], np.float32))
    assert classes.value == "b" and classes.probabilities is not None
    assert classes.probabilities["a"] == pytest.approx(1 / (2 + np.e**2)) and sum(
        classes.probabilities.values()
    ) == pytest.approx(1)
    number = RowAnswer(1, "stsb", None, np.array([2.5], np.float32))
    assert number.value == 2.5 and number.probabilities is None
