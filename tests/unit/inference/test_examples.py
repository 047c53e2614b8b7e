"""Examples that a head is scored on: of a task, of the user's own table, and of nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.inference.examples import scored_examples
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.tasks.load import load_task

SAMPLE = Path(__file__).parents[3] / "sample_snapshots" / "demo-sentiment-low-seed0-v-only.beft.safetensors"


def test_those_of_the_task_or_the_same_few_of_them() -> None:
    snapshot = read_snapshot(SAMPLE)
    whole = scored_examples(snapshot, "demo-sentiment").evals["validation"]
    assert whole.text == load_task("demo-sentiment").evals["validation"].text
    some = scored_examples(snapshot, "demo-sentiment", 5).evals["validation"]
    assert len(some) == 5 and set(some.text) < set(whole.text)
    assert some.text == scored_examples(snapshot, "demo-sentiment", 5).evals["validation"].text


def test_a_table_nobody_names() -> None:
    with pytest.raises(UserError, match="whose table is not known here"):
        scored_examples(read_snapshot(SAMPLE), "reviews")
