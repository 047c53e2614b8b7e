"""Result of an evaluation: ``result.json`` of a run that scored a merge."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.safe_io import read_json_file

BASE, MERGED = "base model", "merged"
"""Names of the first and the last row of the table."""


@dataclass(frozen=True)
class TaskScored:
    """Metric, examples and data by which a task of the table was scored."""

    metric: str
    """Name of the metric that counts; its value for each row and point is in the tables."""
    examples: int
    """Number of validation examples that were scored.
    """
    available: int
    """Number of validation examples that the task has."""
    data: str
    """Origin of the examples, in words."""


Scores = dict[str, dict[str, float | None]]
"""Metrics by task and name; None where the outputs were not finite."""


@dataclass(frozen=True)
class MergeResult:
    """Scores that an evaluation of a merge found."""

    tasks: dict[str, TaskScored]
    rows: dict[str, Scores]
    """Scores of each row: base model, each source by its label, merged."""
    line: list[tuple[float, Scores]]
    position: float | None
    """Position of the merge itself on the line."""
    parameter: str | None
    """Name of the parameter that the line follows, in words."""
    left_out: dict[str, str]
    """Reason why a task was not scored, by task."""
    evaluations: int
    """Number of passes over a task's examples that the evaluation took."""
    seconds: float
    device: str
    versions: dict[str, str]
    plane: list[tuple[float, float, Scores]] = field(default_factory=list)
    """Points of the plane of two changes: share of the first, share of the second, and the scores there."""

    def value(self, scores: Scores, task: str) -> float | None:
        """Get the value of the metric that counts, in a row or at a point of the line."""
        return scores[task][self.tasks[task].metric]

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> MergeResult:
        """Read the record of :meth:`to_dict`. Raises UserError for anything that it would not write."""
        try:
            values = dict(table)
            values["tasks"] = {name: TaskScored(**task) for name, task in table["tasks"].items()}
            values["line"] = [(float(x), scores) for x, scores in table["line"]]
            values["plane"] = [(float(a), float(b), scores) for a, b, scores in table.get("plane", [])]
            result = cls(**values)
            everywhere = [*result.rows.values(), *(scores for _, scores in result.line)]
            for scores in [*everywhere, *(scores for _, _, scores in result.plane)]:
                for task in result.tasks:
                    if not isinstance(result.value(scores, task), int | float | None):
                        raise ValueError(f"a value for {task} that is no number")
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UserError(f"result.json: {error}", "the result of a merge") from None
        return result


def read_result(path: Path) -> MergeResult:
    """Read ``result.json`` of a merge. Raises UserError where it is missing or damaged."""
    return MergeResult.from_dict(read_json_file(path))
