"""Comparison of several snapshots: scores, cosines between what they learnt, and what tells them apart."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from beft_core.errors import UserError
from beft_core.library import plots
from beft_core.library.result import Result, Shown, cell
from beft_core.library.scores import require_approach
from beft_core.library.snapshot import Snapshot
from beft_core.library.words import in_python
from beft_core.scores import compare as numbers
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.scores.table import ScoreTable, reason_without_score
from beft_core.snapshots.snapshot import SUFFIX

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """Comparison of snapshots. They need not have one base model: what cannot be compared is left out."""

    snapshots: tuple[Snapshot, ...]
    names: tuple[str, ...]

    @cached_property
    def tables(self) -> tuple[ScoreTable, ...]:
        """Scores of each snapshot."""
        return tuple(snapshot.scores().table for snapshot in self.snapshots)

    @cached_property
    def moves(self) -> tuple[numbers.Moves, ...]:
        """Movements of each snapshot."""
        return tuple(map(numbers.Moves, self.snapshots))

    @property
    def stack(self) -> str:
        """Name of the stack that is shown by default: the first."""
        return self.tables[0].stacks[0]

    def cosines(self, stack: str | None = None) -> np.ndarray:
        """Cosines between what the snapshots learnt, two by two: float64 [snapshots, snapshots].

        NaN where two have nothing to compare: other base models, or no term that both trained.
        """
        return numbers.cosines(self.moves, stack or self.stack)

    def angles(self, stack: str | None = None) -> np.ndarray:
        """Angles in degrees, two by two; see `cosines`."""
        return np.degrees(np.arccos(self.cosines(stack)))

    @property
    def settings(self) -> dict[str, list[str]]:
        """Settings that are not the same in all snapshots: name -> one text each."""
        return numbers.differing([snapshot.meta for snapshot in self.snapshots])

    def agreement(self, approach: str = PAPER) -> pd.DataFrame:
        """Give one row for each two snapshots: Kendall's tau and Spearman's rho of their rankings of the terms."""
        import pandas as pd

        rows = []
        for i, j in itertools.combinations(range(len(self.names)), 2):
            found = numbers.agreement(self.tables[i], self.tables[j], approach, self.stack)
            rows.append((self.names[i], self.names[j], ", ".join(found.terms), found.kendall, found.spearman))
        return pd.DataFrame(rows, columns=["snapshot", "other", "terms", "kendall", "spearman"])

    def shown(self) -> Shown:
        rows = []
        for term in dict.fromkeys(row.term for table in self.tables for row in table.terms):
            here = [table.rows(self.stack).get(term) for table in self.tables]
            reasons = [reason_without_score(row, PAPER) for row in here]
            scores = [cell(float(row.scores[PAPER].mean())) if row else "" for row in here]
            rows.append([term, *(reason or score for reason, score in zip(reasons, scores, strict=True))])
        cosines = self.cosines()
        notes = [
            f"{self.names[i]} and {self.names[j]}: angle {np.degrees(np.arccos(cosines[i, j])):.1f}°"
            for i, j in itertools.combinations(range(len(self.names)), 2)
            if np.isfinite(cosines[i, j])
        ]
        return Shown(f"{APPROACHES[PAPER].label}, mean over layers", ["term", *self.names], rows, notes)

    def to_pandas(self) -> pd.DataFrame:
        """Give one row per number: snapshot, other, stack, term, layer, quantity, value.

        Scores and geometry of each snapshot, and of each two the difference of every score and the cosine of their
        movements. ``layer`` is empty for what is over all layers.
        """
        return numbers.everything(self.names, self.tables, self.moves)

    @in_python
    def plot(
        self, kind: str = "overview", *, approach: str = PAPER, stack: str | None = None, dark: bool = False
    ) -> go.Figure:
        """Draw a figure of the dashboard.

        ``kind``: ``overview`` (mean score of every term by each approach), ``layers`` (by one approach), ``angles``
        (two by two); of the first two snapshots ``difference`` (layer by term, by one approach) and ``cosine``.

        Raises:
            UserError: another kind, or an approach or a stack that no snapshot has.
        """
        known = tuple(dict.fromkeys(key for table in self.tables for key in table.approaches))
        require_approach(approach, known)
        stacks = list(dict.fromkeys(name for table in self.tables for name in table.stacks))
        if stack is not None and stack not in stacks:
            raise UserError(f"got the stack {str(stack)[:40]!r}", f"one of {', '.join(stacks)}")
        at = stack or self.stack
        return plots.drawn(
            kind,
            {
                "overview": lambda: plots.overview(self.tables, self.names, at, dark),
                "layers": lambda: plots.layers(self.tables, self.names, approach, at, dark),
                "angles": lambda: plots.angles(self.moves, self.names, at, dark),
                "difference": lambda: plots.difference(self.tables, approach, at, dark),
                "cosine": lambda: plots.cosine(self.moves, at, dark),
            },
        )


def named(snapshots: Sequence[Snapshot], names: Sequence[str] | None) -> tuple[str, ...]:
    """Name snapshots: as asked for, or by file, else by task, what was trained and seed; equal ones get a number.

    Raises:
        UserError: another number of names.
    """
    if names is not None:
        if isinstance(names, str) or len(names) != len(snapshots) or not all(isinstance(n, str) for n in names):
            raise UserError(f"got names = {str(names)[:80]!r}", f"a list of {len(snapshots)} texts")
        found = list(names)
    else:
        found = [_name(snapshot) for snapshot in snapshots]
    counts = Counter(found)
    return tuple(name if counts[name] == 1 else f"{number}: {name}" for number, name in enumerate(found, 1))


def _name(snapshot: Snapshot) -> str:
    if snapshot.source.endswith(SUFFIX):
        return Path(snapshot.source).name.removesuffix(SUFFIX)
    seed = "" if snapshot.meta.seed is None else f", seed {snapshot.meta.seed}"
    return f"{snapshot.meta.task}, {snapshot.trained}{seed}"
