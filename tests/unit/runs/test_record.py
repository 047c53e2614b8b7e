"""What the files of a run folder may hold, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.files.json_shape import check
from beft_core.runs.record import CONFIG, RESULT, damage_of, record_of

GOOD: list[dict[str, Any]] = [
    {"type": "stage", "name": "train", "total": None, "seconds": 0.5},
    {"type": "step", "step": 1, "total": 9, "loss": [0.5, None]},
    {"type": "epoch", "epoch": 1, "step": 9, "run": 0, "accuracy": 0.5, "f1": None},
    {"type": "scores", "step": 1, "scores": {"v": {"magnitude": 0.5}}},
    {"type": "message", "text": "words"},
    {"type": "of a later version", "anything": [{"a": 1}]},
    {"no": "type"},
]
BAD: list[dict[str, Any]] = [
    {"type": "step", "step": -1, "total": 9, "loss": []},
    {"type": "step", "step": 1, "total": 9, "loss": "low"},
    {"type": "step", "step": 1, "total": 9},
    {"type": "epoch", "step": 1.5},
    {"type": "epoch", "accuracy": "high"},
    {"type": "scores", "step": 1, "scores": {"v": 0.5}},
    {"type": "message", "text": "x" * 10_001},
    {"type": 1},
]


@pytest.mark.parametrize("record", GOOD, ids=lambda record: str(record.get("type")))
def test_what_a_run_writes_is_read(record: dict[str, Any]) -> None:
    line = json.dumps(record).encode()
    assert record_of(line) == record
    assert damage_of(line) is None


@pytest.mark.parametrize("record", BAD, ids=str)
def test_anything_else_is_damage(record: dict[str, Any]) -> None:
    line = json.dumps(record).encode()
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        record_of(line)
    assert "metrics.jsonl" in (damage_of(line) or "")


def test_a_line_that_a_crash_cut_off_is_left_out_and_no_damage() -> None:
    for line in (b'{"type": "step", "st', b"", b"\x00\x00"):
        assert damage_of(line) is None
    for line in (b"[]", b"1", b'{"a": NaN}', b"[" * 100_000 + b"]" * 100_000):
        assert damage_of(line) is not None


def test_configurations_and_results_within_bounds() -> None:
    check({"kind": "train", "config": {"task": "sst2", "seed": 2**64 - 1, "lr": 0.5}, "host": "x"}, CONFIG, "c")
    check({"selected": {"magnitude": None}, "runs": 3, "more": [1]}, RESULT, "r")
    for value, shape in (
        ({"kind": "other", "config": {}}, CONFIG),
        ({"kind": "train"}, CONFIG),
        ({"kind": "train", "config": {"seed": 2**64}}, CONFIG),
        ({"kind": "train", "config": {"terms": "v"}}, CONFIG),
        ({"runs": -1}, RESULT),
        ({"selected": {"magnitude": 1}}, RESULT),
    ):
        with pytest.raises(UserError):
            check(value, shape, "file")
