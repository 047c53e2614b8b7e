"""Scores of a snapshot: every term by every approach, ranking, and the selection of a term.

A term's score is the mean over its layers. The numbers are numpy; tables for users are pandas, imported only when one
is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from beft_core.architectures.certified import certified
from beft_core.errors import UserError
from beft_core.methods import method_of
from beft_core.scores.approaches import APPROACHES
from beft_core.scores.formulas import Movement
from beft_core.scores.learning import of_probe
from beft_core.scores.no_selection import NoSelection, no_selection, set_aside
from beft_core.snapshots.null_elements import Ranges, count_of, mask_of, noise_share, said
from beft_core.snapshots.snapshot import Snapshot
from beft_core.terms import CANDIDATES, TERM_KEYS

if TYPE_CHECKING:
    import pandas as pd


# --- tables ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TermScores:
    """Scores of one bias term of one snapshot, layer by layer."""

    stack: str
    term: str
    null: bool
    """Whether the term is certified to have no effect on the model."""
    trained: bool
    scores: dict[str, np.ndarray]
    """Scores by approach: float64 [layers]."""
    movement: Movement
    null_elements: int = 0
    """Number of elements of each layer that are certified null, although the term acts."""

    @property
    def width(self) -> int:
        """Number of elements of a layer."""
        return self.movement.width

    def undefined_from_zero(self, approach: str) -> bool:
        """Whether an approach compares with the start of the term, which is zero: it then scores 1 wherever the term
        ends.
        """
        return APPROACHES[approach].from_start and self.trained and self.movement.started_at_zero

    @cached_property
    def geometry(self) -> dict[str, np.ndarray]:
        """Geometry that explains the projection ratio, as `Movement.geometry`."""
        return self.movement.geometry()


@dataclass(frozen=True)
class ScoreTable:
    """Table of the scores of one snapshot. Rank 1 is the highest score of all terms of a stack that were scored."""

    terms: tuple[TermScores, ...]
    remarks: tuple[str, ...] = ()
    """Remarks that a reader must know of the run: null terms or elements that were trained, layers left out."""

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the run, which terms are set aside since they started at zero, and which tie (unless at 0: there,
        nothing moved).
        """
        aside, ties = [], []
        for stack in self.stacks:
            for approach in self.approaches:
                groups: dict[float, list[str]] = {}
                undefined = [term for term, row in self.rows(stack).items() if row.undefined_from_zero(approach)]
                if undefined:
                    aside.append(set_aside(undefined, APPROACHES[approach].label))
                for term, score in self.mean_scores(approach, stack).items():
                    if term not in undefined:
                        groups.setdefault(score, []).append(term)
                ties += [
                    f"{', '.join(terms)} tie on {approach} at {score:g}: ranked in the order of the terms"
                    for score, terms in groups.items()
                    if len(terms) > 1 and score > 0
                ]
        return (*self.remarks, *dict.fromkeys(aside), *ties)

    @property
    def stacks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.stack for row in self.terms))

    def rows(self, stack: str) -> dict[str, TermScores]:
        """Scores of the terms of a stack, by term in canonical order."""
        return {row.term: row for row in self.terms if row.stack == stack}

    @property
    def approaches(self) -> tuple[str, ...]:
        """Approaches for which the snapshot holds the tensors."""
        return tuple(key for key in APPROACHES if any(key in row.scores for row in self.terms))

    def mean_scores(self, approach: str, stack: str | None = None) -> dict[str, float]:
        """Mean scores over layers, by term in canonical order; by default of the first stack."""
        stack = stack or self.stacks[0]
        return {
            term: float(row.scores[approach].mean()) for term, row in self.rows(stack).items() if approach in row.scores
        }

    def contestants(self, approach: str, stack: str | None = None) -> tuple[str, ...]:
        """Terms among q, k and v that an approach can select.

        They were scored, trained if it looks at movement, are not null, and did not start at zero if it compares with
        the start.
        """
        took_part, undefined = self._took_part(approach, stack), self.undefined_from_zero(approach, stack)
        return tuple(term for term in took_part if term not in undefined)

    def undefined_from_zero(self, approach: str, stack: str | None = None) -> tuple[str, ...]:
        """Terms among q, k and v that an approach scores without a meaning, since they started at zero.

        A bias that was added, or that random initialisation left at zero, has a projection ratio of 1 wherever it ends.
        """
        rows = self.rows(stack or self.stacks[0])
        return tuple(term for term in self._took_part(approach, stack) if rows[term].undefined_from_zero(approach))

    def ranks(self, approach: str, stack: str | None = None) -> dict[str, int]:
        """Rank the terms of a stack by their mean scores, as `rank_terms`; those whose score has no meaning, since they
        started at zero, come last.
        """
        return rank_rows(self.rows(stack or self.stacks[0]).values(), approach)

    def _took_part(self, approach: str, stack: str | None) -> tuple[str, ...]:
        moves = APPROACHES[approach].of_change
        return tuple(
            term
            for term, row in self.rows(stack or self.stacks[0]).items()
            if term in CANDIDATES and approach in row.scores and not row.null and (row.trained or not moves)
        )

    def selected(self, stack: str | None = None) -> dict[str, str | None]:
        """Selected term of each approach, among its `contestants`; None where there is a reason of `no_selection`."""
        chosen: dict[str, str | None] = {}
        for approach in self.approaches:
            rivals = self.contestants(approach, stack)
            scores = self.mean_scores(approach, stack)
            chosen[approach] = select_term(scores, rivals) if len(rivals) > 1 else None
        return chosen

    def no_selection(self, stack: str | None = None) -> dict[str, NoSelection]:
        """Reason why an approach selects no term, by approach; without those that select one."""
        reasons = {
            approach: no_selection(
                self.mean_scores(approach, stack),
                self.contestants(approach, stack),
                self.undefined_from_zero(approach, stack),
            )
            for approach in self.approaches
        }
        return {approach: reason for approach, reason in reasons.items() if reason is not None}

    @cached_property
    def per_layer(self) -> pd.DataFrame:
        """Table of one row per stack, term, layer and approach, with the geometry beside the score."""
        import pandas as pd

        frames = [
            pd.DataFrame(
                {
                    "stack": row.stack,
                    "term": row.term,
                    "layer": np.arange(len(scores)),
                    "approach": approach,
                    "score": scores,
                    **row.geometry,
                    "null": row.null,
                }
            )
            for row in self.terms
            for approach, scores in row.scores.items()
        ]
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def means(self) -> pd.DataFrame:
        """Table of one row per stack, term and approach: score (mean over layers), rank, null, trained, selected."""
        import pandas as pd

        flags = {(row.stack, row.term): (row.null, row.trained) for row in self.terms}
        rows = []
        for stack in self.stacks:
            selected = self.selected(stack)
            for approach in self.approaches:
                scores = self.mean_scores(approach, stack)
                ranks = self.ranks(approach, stack)
                for term, score in scores.items():
                    null, trained = flags[stack, term]
                    rows.append((stack, term, approach, score, ranks[term], null, trained, term == selected[approach]))
        columns = ["stack", "term", "approach", "score", "rank", "null", "trained", "selected"]
        return pd.DataFrame(rows, columns=columns)


ABSENT, NOT_MEASURED, FROZEN, NOT_TRAINED = "absent", "not measured", "null and frozen", "not trained"
FROM_ZERO = "undefined from zero"
"""Reasons why a term has no score that says something."""


def reason_without_score(row: TermScores | None, approach: str) -> str | None:
    """Reason why a term has no score of an approach that can be compared, in words; None if it has one.

    ``row``: None where the snapshot or the stack does not have the term.
    """
    if row is None:
        return ABSENT
    if approach not in row.scores:
        return NOT_MEASURED
    if row.undefined_from_zero(approach):
        return FROM_ZERO
    if not APPROACHES[approach].of_change or row.trained:
        return None
    return FROZEN if row.null else NOT_TRAINED


def is_noise(row: TermScores, approach: str) -> bool:
    """Whether a score is rounding noise: that of a null term that was trained all the same."""
    return row.null and row.trained and APPROACHES[approach].needs == "movement"


def rank_terms(scores: Mapping[str, float]) -> dict[str, int]:
    """Rank terms by their scores, 1 for the highest. Equal scores rank in canonical order, so that results repeat."""
    order = sorted(scores, key=lambda term: (-scores[term], TERM_KEYS.index(term)))
    return {term: rank for rank, term in enumerate(order, 1)}


def rank_rows(rows: Iterable[TermScores], approach: str) -> dict[str, int]:
    """Rank terms as `rank_terms` by their mean scores; those that are undefined from zero come last."""
    return rank_terms(
        {
            row.term: -math.inf if row.undefined_from_zero(approach) else float(row.scores[approach].mean())
            for row in rows
            if approach in row.scores
        }
    )


def select_term(scores: Mapping[str, float], candidates: Iterable[str] = CANDIDATES) -> str | None:
    """Select the candidate with the highest score (paper, section 2.1); of several highest ones as in `rank_terms`.

    None without a candidate, where all score 0 (nothing moved), and where two or more all score the same: there is
    nothing to select by.
    """
    scored = {term: scores[term] for term in candidates if term in scores}
    if len(scored) > 1 and len(set(scored.values())) == 1:
        return None
    ranks = rank_terms({term: score for term, score in scored.items() if score > 0})
    return min(ranks, key=ranks.__getitem__, default=None)


def score_snapshot(snapshot: Snapshot) -> ScoreTable:
    """Score every term of a snapshot by every approach that its tensors allow.

    The Fisher information of what is certified null counts as exactly 0. Its gradient is zero, because nothing that
    these elements do reaches the output; what a file holds for them, such as 1e-18, is the rounding of a sum whose
    parts cancel. Movement is scored as it was: there, that of a null term that was trained is flagged as noise.

    Raises:
        UserError: no bias terms, or values that are not finite, naming the tensor.
    """
    if not snapshot.keys():
        raise UserError(f"{snapshot.source} holds no bias term", "a snapshot of at least one term to score")
    meta = snapshot.meta
    known = certified(meta)
    rows = []
    parts = []
    for stack, term in snapshot.keys():  # noqa: SIM118 - a method of Snapshot, not of a dict
        movement = Movement(snapshot.pre(stack, term), snapshot.post(stack, term))
        null, ranges = term in known.terms, known.elements.get(term, ())
        nothing = ((0, movement.width),) if null else ranges
        measured = {
            "movement": movement,
            "fisher": _without(snapshot.fisher(stack, term), nothing),
            "fisher_batch": _without(snapshot.fisher(stack, term, "batch"), nothing),
            "output_change": snapshot.output_change(stack, term),
        }
        scores = {
            key: approach.per_layer(measured[approach.needs])
            for key, approach in APPROACHES.items()
            if measured[approach.needs] is not None
        }
        rows.append(TermScores(stack, term, null, term in meta.trained_terms, scores, movement, count_of(ranges)))
        if ranges:
            noise = noise_share(snapshot.pre(stack, term), snapshot.post(stack, term), ranges)
            moved = f"were trained: {noise:.0%} of its Magnitude is rounding noise" if noise else "did not move"
            parts.append(f"{said(term, ranges, movement.width)} (null) and {moved}")
    remarks = [
        f"{term} is a null term and was trained: its movement is rounding noise, not learning"
        for term in TERM_KEYS
        if term in known.terms and term in meta.trained_terms
    ]
    remarks += parts
    if known.unknown is not None and any(term == "k" for _, term in snapshot.keys()):  # noqa: SIM118
        remarks.append(f"whether k can act is not known ({known.unknown}): its score may be rounding noise")
    if method_of(meta.mode).every_bias and (nothing_learned := of_probe(meta)):
        remarks.append(nothing_learned)
    if meta.layers is not None and len(meta.layers) < meta.model.layers:
        count = f"only {len(meta.layers)} of {meta.model.layers} layers were trained"
        remarks.append(f"{count}; means are over all of them")
    return ScoreTable(tuple(rows), tuple(remarks))


def _without(fisher: np.ndarray | None, null: Ranges) -> np.ndarray | None:
    """Copy squared gradients [layers, width] with those of null elements set to 0, which they are but for rounding."""
    if fisher is None or not null:
        return fisher
    return np.where(mask_of(null, fisher.shape[1]), 0, fisher)


def aggregate_seeds(tables: Sequence[ScoreTable | pd.DataFrame]) -> pd.DataFrame:
    """Aggregate seeds of one experiment (`ScoreTable` or their `means`): one row per stack, term and approach.

    Columns: seeds (how many scored the term), mean and std over seeds (n - 1 in the denominator; NaN for
    one seed), first (how often it ranked first of all terms), first_of_candidates (how often it was
    selected among q, k and v, as in `ScoreTable.selected`).

    Raises:
        UserError: no table.
    """
    import pandas as pd

    if not tables:
        raise UserError("no scores to aggregate", "at least one")
    frames = [table.means if isinstance(table, ScoreTable) else table for table in tables]
    runs = pd.concat([frame.assign(run=run) for run, frame in enumerate(frames)], ignore_index=True)
    runs["is_first"] = runs["rank"] == 1
    return runs.groupby(["stack", "approach", "term"], sort=False, as_index=False).agg(
        seeds=("score", "size"),
        mean=("score", "mean"),
        std=("score", "std"),
        first=("is_first", "sum"),
        first_of_candidates=("selected", "sum"),
    )
