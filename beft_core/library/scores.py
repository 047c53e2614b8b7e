"""Scores of one snapshot, as notebooks show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from beft_core.cli.output import number
from beft_core.errors import UserError
from beft_core.library import plots
from beft_core.library.result import Result, Shown
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.scores.table import ScoreTable, score_snapshot
from beft_core.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Scores(Result):
    """Scores of every bias term of a snapshot by every approach that its tensors allow."""

    table: ScoreTable
    """Scores layer by layer, with the geometry that explains them."""
    about: str
    """Description of what was scored, such as ``sst2 on bundled, 1000 examples``."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Scores:
        """Score a snapshot. Raises UserError as `score_snapshot`."""
        return cls(score_snapshot(snapshot), described(snapshot))

    @cached_property
    def selected(self) -> dict[str, str | None]:
        """Term among q, k and v that each approach selects, by approach; None where it selects none."""
        return self.table.selected()

    @property
    def term(self) -> str | None:
        """Term that the paper's approach selects."""
        return self.selected.get(PAPER)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that a reader of the scores must know: null terms that were trained, ties."""
        return self.table.notes

    def shown(self) -> Shown:
        approaches, rows = self.table.approaches, []
        for stack in self.table.stacks:
            means = {key: self.table.mean_scores(key, stack) for key in approaches}
            ranks = {key: self.table.ranks(key, stack) for key in approaches}
            for term, row in self.table.rows(stack).items():
                name = term if len(self.table.stacks) == 1 else f"{stack}.{term}"
                cells = [
                    f"{number(means[key][term])} ({ranks[key][term]})" if term in means[key] else "–" for key in means
                ]
                rows.append([f"{name} null" if row.null else name, *cells])
        reasons = self.table.no_selection()
        chosen = [
            f"{APPROACHES[key].label} selects {term}"
            if term
            else f"{APPROACHES[key].label}: no selection: {reasons[key]}"
            for key, term in self.selected.items()
        ]
        head = ["term", *(APPROACHES[key].label for key in approaches)]
        title = f"{self.about}: score, mean over layers (rank)"
        return Shown(title, head, rows, ["; ".join(chosen), *self.notes])

    def to_pandas(self, layers: bool = False) -> pd.DataFrame:
        """Give one row per stack, term and approach: score (mean over layers), rank, null, trained.

        ``layers``: one row per layer too, with the geometry beside the score.
        """
        return self.table.per_layer.copy() if layers else self.table.means.copy()

    def plot(
        self, kind: str = "heatmaps", *, approach: str = PAPER, stack: str | None = None, dark: bool = False
    ) -> go.Figure:
        """Draw a figure of the dashboard.

        ``kind``: ``heatmaps`` (layer x term), ``ranking`` (bars, by one approach) or ``bumps`` (ranks by each).

        Raises:
            UserError: another kind, or an approach or a stack that the snapshot does not have.
        """
        return plots.drawn(kind, self.figures(approach, stack, dark))

    def figures(self, approach: str, stack: str | None, dark: bool) -> dict[str, Callable[[], go.Figure]]:
        """Give the figures that `plot` can draw, by name. Raises UserError as it does."""
        stack = self.stack(stack)
        require_approach(approach, self.table.approaches)
        return {
            "heatmaps": lambda: plots.heatmaps(self.table, stack, dark),
            "ranking": lambda: plots.ranking(self.table, approach, stack, dark),
            "bumps": lambda: plots.bumps(self.table, stack, dark),
        }

    def stack(self, name: str | None) -> str:
        """Return the stack of a name; None: the first. Raises UserError for one that the snapshot does not have."""
        if name is not None and name not in self.table.stacks:
            raise UserError(f"got the stack {str(name)[:40]!r}", f"one of {', '.join(self.table.stacks)}")
        return name or self.table.stacks[0]


def require_approach(approach: str, known: tuple[str, ...]) -> None:
    """Raise UserError for an approach that is not among those that are known."""
    if approach not in known:
        raise UserError(f"got the approach {str(approach)[:40]!r}", f"one of {', '.join(known)}")


def described(snapshot: Snapshot) -> str:
    """Say in a few words what a snapshot comes from: task, model and number of examples."""
    meta = snapshot.meta
    count = "" if meta.n_train is None else f", {meta.n_train} examples"
    return f"{meta.task} on {meta.model.id}{count}"
