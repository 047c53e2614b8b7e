"""Results of evaluations: read back, and refused where damaged."""

from __future__ import annotations

import dataclasses

import pytest

from beft_core.errors import UserError
from beft_core.merging.result import MergeResult, TaskScored

RESULT = MergeResult(
    tasks={"sst2": TaskScored("accuracy", 10, 20, "made up")},
    rows={name: {"sst2": {"accuracy": 0.5}} for name in ("base model", "merged")},
    line=[(0.0, {"sst2": {"accuracy": None}})],
    position=0.5,
    parameter="weight",
    left_out={},
    evaluations=3,
    seconds=1.0,
    device="cpu",
    versions={},
)


def test_a_result_survives_json_and_damage_is_told() -> None:
    assert MergeResult.from_dict(RESULT.to_dict()) == RESULT
    for change in ({"rows": 3}, {"line": [[0]]}, {"tasks": {"sst2": {}}}, {"more": 1}, {"rows": {"merged": {}}}):
        with pytest.raises(UserError, match=r"result\.json"):
            MergeResult.from_dict(RESULT.to_dict() | change)
    words = {"merged": {"sst2": {"accuracy": "high"}}}
    with pytest.raises(UserError, match="no number"):
        MergeResult.from_dict(dataclasses.replace(RESULT, rows=words).to_dict())  # type: ignore[arg-type]
