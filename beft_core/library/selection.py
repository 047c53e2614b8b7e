"""Results of the paper's method and of evaluating a snapshot on a task, as notebooks show them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beft_core.library.result import Result, Shown, cell
from beft_core.library.scores import Scores
from beft_core.library.snapshot import Snapshot
from beft_core.scores.approaches import PAPER
from beft_core.scores.learning import of_fine_tune

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Selection(Result):
    """Result of the paper's method: the probe, its scores, and the bias term that each approach selects."""

    probe: Snapshot
    """Snapshot of the fine-tune of all bias terms, with the Fisher information measured before it."""
    scores: Scores
    trained: Snapshot | None = None
    """Snapshot of the fine-tune of the selected term alone, where it was asked for."""

    @property
    def selected(self) -> dict[str, str | None]:
        """Approach -> the term that it selects among q, k and v; None where it selects none."""
        return self.scores.selected

    @property
    def term(self) -> str | None:
        """Term that the paper's approach, the projection ratio, selects."""
        return self.scores.term

    def shown(self) -> Shown:
        about = self.scores.shown()
        notes = [
            f"{named}: {_metrics(one)}" for named, one in (("probe", self.probe), ("trained", self.trained)) if one
        ]
        if self.trained is not None:  # of the probe, its scores say it
            notes += filter(None, [of_fine_tune(self.trained.meta)])
        return Shown(about.title, about.head, about.rows, [*about.notes, *notes])

    def to_pandas(self, layers: bool = False) -> pd.DataFrame:
        """Give the scores, as `Scores.to_pandas`."""
        return self.scores.to_pandas(layers)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the probe as `Snapshot.save`, and return the file."""
        return self.probe.save(path)

    def plot(
        self, kind: str = "heatmaps", *, approach: str = PAPER, stack: str | None = None, dark: bool = False
    ) -> go.Figure:
        """Draw a figure of the dashboard, as `Snapshot.plot` of the probe."""
        return self.probe.plot(kind, approach=approach, stack=stack, dark=dark)


def _metrics(snapshot: Snapshot) -> str:
    metrics = ", ".join(f"{name} {cell(value)}" for name, value in snapshot.metrics.items())
    return f"{snapshot.trained}, {metrics or 'not evaluated'}"


@dataclass(frozen=True, repr=False)
class Evaluation(Result, Mapping[str, float]):
    """Metrics of a snapshot on a task: a mapping, such as ``evaluation["accuracy"]``."""

    metrics: dict[str, float]
    about: str
    """Description of what was evaluated on what."""

    def __getitem__(self, name: str) -> float:
        return self.metrics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)

    def shown(self) -> Shown:
        return Shown(self.about, ["metric", "value"], [[name, cell(value)] for name, value in self.metrics.items()])

    def to_pandas(self) -> pd.DataFrame:
        """Give one row per metric."""
        import pandas as pd

        return pd.DataFrame(list(self.metrics.items()), columns=["metric", "value"])
