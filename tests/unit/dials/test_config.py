"""Configurations of dials: written and read, and refused in one line where they are wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from example_snapshots import example

from beft_core.dials.config import DialConfig
from beft_core.dials.parts import LAMBDAS
from beft_core.errors import UserError
from beft_core.merging.config import content
from beft_core.runs.kinds import KINDS


def test_what_is_written_is_read() -> None:
    snapshot = example(task="sst2", full=True)
    made = DialConfig.of(snapshot, "sst2", "A title", limit=50, lambdas=(2.0, 0.5), table={"file": "a.csv"})
    assert made.source == content(snapshot) and made.lambdas == (0, 0.5, 1, 2)
    assert KINDS["dial"].read_config(json.loads(json.dumps(made.to_dict()))) == made
    assert DialConfig(task="sst2").lambdas == LAMBDAS


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"task": 1},
        {"task": "sst2", "more": 1},
        {"task": "sst2", "lambdas": "all"},
        {"task": "sst2", "lambdas": [None]},
        {"task": "sst2", "limit": 1},
        {"task": "sst2", "device": "tpu"},
        {"task": "sst2", "precision": None},
        {"task": "sst2", "max_length": 1.5},
        {"task": "sst2", "table": [1]},
        {"task": "sst2", "title": "x" * 500},
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError) as told:
        DialConfig.from_dict(fields)
    assert "\n" not in str(told.value)


def test_a_task_without_a_head_is_refused() -> None:
    with pytest.raises(UserError, match=r"without a head for rte.*sst2"):
        DialConfig.of(example(task="sst2", full=True), "rte")
