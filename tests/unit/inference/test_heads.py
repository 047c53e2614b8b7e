"""Which head several fine-tunes share, and what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.inference.heads import can_answer, labels_of, reads_pairs, shared_task
from beft_core.snapshots.snapshot import ModelInfo, Snapshot, SnapshotMeta

V = {("encoder", "v"): np.zeros((1, 2), np.float32)}
OWN = {"kind": "classification", "labels": ["a", "b"], "columns": {"text": "x", "text_pair": "y", "label": "z"}}
KINDS = {
    "sst2": {"kind": "classification", "labels": ["negative", "positive"]},
    "stsb": {"kind": "regression", "labels": None},
    "mine": OWN,
}


def snapshot(*tasks: str, stored: bool = True) -> Snapshot:
    heads = {task: KINDS[task] for task in tasks}
    meta = SnapshotMeta(ModelInfo("m", None, "bert", 1, 2, "0" * 64), "t", heads=heads)
    rows = {task: np.zeros((len(about["labels"] or [1]), 2)) for task, about in heads.items()}
    return Snapshot.build(meta, V, V, extra={f"extra.{t}.head.weight": r for t, r in rows.items()} if stored else {})


def test_the_task_that_all_share() -> None:
    both = snapshot("sst2", "stsb")
    assert shared_task([snapshot("sst2"), both]) == "sst2"
    assert shared_task([both], "stsb") == "stsb"
    with pytest.raises(UserError, match="share no single head; expected one of: sst2, stsb; try --task"):
        shared_task([both])
    with pytest.raises(UserError, match="share no single head; expected one of: sst2; stsb"):
        shared_task([snapshot("sst2"), snapshot("stsb")])
    with pytest.raises(UserError, match="got the task cola"):
        shared_task([both], "cola")
    with pytest.raises(UserError, match="no snapshot"):
        shared_task([])


def test_a_head_that_is_only_named_cannot_answer() -> None:
    assert can_answer(snapshot("sst2", stored=False)) == [] and can_answer(snapshot("mine")) == ["mine"]


def test_classes_and_pairs() -> None:
    assert labels_of(snapshot("sst2").meta, "sst2", 2) == ("negative", "positive")
    assert labels_of(snapshot("stsb").meta, "stsb", 1) is None
    assert labels_of(snapshot("sst2").meta, "other", 3) == ("0", "1", "2")
    assert reads_pairs(snapshot("sst2").meta, "sst2") is False and reads_pairs(snapshot("stsb").meta, "stsb") is True
    assert reads_pairs(snapshot("mine").meta, "mine") is True and reads_pairs(snapshot("sst2").meta, "other") is None
