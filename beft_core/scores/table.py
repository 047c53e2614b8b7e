"""How much a bias term matters: projection ratio, Magnitude and Fisher; ranking and selection of terms.

Everything is computed in float64 from [layers, width] arrays. A term's score is the mean over its layers.
The numbers are numpy; tables for users are pandas, imported only when one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from beft_core.architectures.certified import certified
from beft_core.errors import UserError
from beft_core.snapshots.null_elements import count_of, noise_share, said
from beft_core.snapshots.snapshot import Snapshot
from beft_core.terms import CANDIDATES, TERM_KEYS

if TYPE_CHECKING:
    import pandas as pd

# --- formulas ----------------------------------------------------------------------------------


class Movement:
    """What a bias term did, layer by layer, from its values before and after: [layers, width] twice.

    Holds only [layers] numbers, so that a table of a thousand snapshots does not keep their tensors.

    Raises:
        UserError: shapes that differ, NaN or infinite values.
    """

    def __init__(self, pre: np.ndarray, post: np.ndarray) -> None:
        if pre.ndim != 2 or pre.shape != post.shape or not pre.size:
            raise UserError(f"shapes {pre.shape} and {post.shape}", "twice the same [layers, width]")
        self.width = pre.shape[1]
        """Elements of a layer."""
        a, b = pre.astype(np.float64), post.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            moved = b - a
            self._l1 = np.abs(moved, out=moved).sum(axis=1)
            self._a_exponent, self._b_exponent = _take_exponents(a, pre), _take_exponents(b, post)
            self._aa, self._bb, self._ab = np.vecdot(a, a), np.vecdot(b, b), np.vecdot(a, b)
        _refuse_non_finite(self._aa + self._bb + self._l1)

    def magnitude(self) -> np.ndarray:
        """``sum |post - pre|``, the paper's L1: float64 [layers]."""
        return self._l1

    def magnitude_mean_abs(self) -> np.ndarray:
        """``mean |post - pre|``, the authors' code: fair where widths differ (grouped-query k and v)."""
        return self._l1 / self.width

    def projection_ratio(self) -> np.ndarray:
        """``1 - pre.post / max(|pre|, |post|)^2``: float64 [layers].

        Exactly 0 where nothing changed (also where both are zero), 1 where exactly one is zero, above 1 where
        the angle exceeds 90 degrees. Equals ``1 - cos(angle) * min(r, 1/r)`` with ``r = |post|/|pre|``.

        The paper's summary equation (section 2.1) prints the norm unsquared; its derivation and the authors'
        code square it.
        """
        top = np.maximum(self._a_exponent, self._b_exponent)
        dot = np.ldexp(self._ab, self._a_exponent + self._b_exponent - 2 * top)
        square = np.maximum(
            np.ldexp(self._aa, 2 * (self._a_exponent - top)), np.ldexp(self._bb, 2 * (self._b_exponent - top))
        )
        changed = self._l1 > 0
        return np.where(changed, 1 - dot / np.where(changed, square, 1), 0.0)

    def geometry(self) -> dict[str, np.ndarray]:
        """What the projection ratio is made of: arrays [layers].

        ``cosine``; ``angle_degrees`` (to about 1e-6); ``length_ratio`` = |post|/|pre|; ``reversed``: the
        angle exceeds 90 degrees. Both zero: angle 0, ratio 1. Exactly one zero: 90 degrees, ratio 0 or
        infinity.
        """
        a_zero, b_zero = self._aa == 0, self._bb == 0
        neither = ~(a_zero | b_zero)
        norms = np.where(neither, np.sqrt(self._aa * self._bb), 1)
        cosine = np.clip(np.where(neither, self._ab / norms, a_zero & b_zero), -1, 1)
        with np.errstate(over="ignore"):
            ratio = np.ldexp(np.sqrt(self._bb / np.where(a_zero, 1, self._aa)), self._b_exponent - self._a_exponent)
        return {
            "cosine": cosine,
            "angle_degrees": np.degrees(np.arccos(cosine)),
            "length_ratio": np.where(a_zero, np.where(b_zero, 1.0, np.inf), ratio),
            "reversed": cosine < 0,
        }


def projection_ratio(pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """`Movement.projection_ratio` of [layers, width] twice: float64 [layers]."""
    return Movement(pre, post).projection_ratio()


def geometry(pre: np.ndarray, post: np.ndarray) -> dict[str, np.ndarray]:
    """`Movement.geometry` of [layers, width] twice: arrays [layers]."""
    return Movement(pre, post).geometry()


def magnitude(pre: np.ndarray, post: np.ndarray, variant: Literal["l1", "mean_abs"] = "l1") -> np.ndarray:
    """`Movement.magnitude` or `Movement.magnitude_mean_abs` of [layers, width] twice: float64 [layers]."""
    movement = Movement(pre, post)
    return movement.magnitude() if variant == "l1" else movement.magnitude_mean_abs()


def fisher_score(fisher: np.ndarray, variant: Literal["exact", "batch"] = "exact") -> np.ndarray:
    """Empirical Fisher information of each layer from squared gradients [layers, width]: float64 [layers].

    "exact" sums over the elements: (1/N) sum_i |grad_b log p(y_i|x_i)|^2. "batch" averages over them, as the
    authors' code does with the squared mean gradient of batches of 8.

    Raises:
        UserError: not two-dimensional, NaN, infinite or negative values.
    """
    if fisher.ndim != 2 or not fisher.size:
        raise UserError(f"squared gradients of shape {fisher.shape}", "[layers, width]")
    total = fisher.sum(axis=1, dtype=np.float64) / (1 if variant == "exact" else fisher.shape[1])
    _refuse_non_finite(total)
    if (fisher < 0).any():
        raise UserError("negative squared gradients", "values of at least zero")
    return total


def _take_exponents(vectors: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Divide each layer of float64 [layers, width] by a power of two, exactly, so that squares stay in range.

    Returns the exponents, int64 [layers]. Squares of what is stored as float32 are in range as they are.
    """
    if stored.dtype.itemsize <= 4:
        return np.zeros(len(vectors), dtype=np.int64)
    peak = np.abs(vectors).max(axis=1)
    # Clipped so that 2**-exponent is finite; what lies below 2**-1000 is then still large enough to square.
    exponent = np.where(peak > 0, np.frexp(peak)[1].astype(np.int64), -1000).clip(-1000)
    vectors *= np.ldexp(1.0, -exponent)[:, None]
    return exponent


def _refuse_non_finite(per_layer: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(per_layer))
    if len(bad):
        raise UserError(f"layer {bad[0]} holds a NaN or an infinite value", "finite numbers")


# --- the approaches ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Approach:
    """One way to score a term: it computes and explains itself."""

    key: str
    label: str
    formula: str
    """Per layer, as plain text; a term's score is the mean over layers."""
    reference: str
    per_layer: Callable[[Any], np.ndarray]
    """`Movement`, or squared gradients [layers, width], -> float64 [layers]."""
    needs: Literal["movement", "fisher", "fisher_batch"] = "movement"
    """What `per_layer` takes; of these a snapshot may lack the squared gradients."""
    caveat: str = ""
    """What it depends on besides learning, in plain sentences: see :mod:`beft_core.models.value_shift`."""


_PAPER = "BEFT, https://arxiv.org/abs/2509.15974"
_ORIGIN = (
    "Depends on how the model is written down. A constant c added to b_v, with W_o c taken from the bias of the "
    "attention output, changes no output and no gradient, yet it changes this score of b_v, even which term is "
    "selected. It mostly reads the pre-trained norm: the shorter a bias is at first, the higher it scores."
)
_SCALE = (
    "Depends on the scale in which values, or queries against keys, are written down, which changes no output. A "
    "constant moved between b_v and the bias of the attention output leaves it as it is."
)

APPROACHES: dict[str, Approach] = {
    approach.key: approach
    for approach in (
        Approach(
            "projection_ratio",
            "Projection ratio",
            "1 − pre·post / max(‖pre‖, ‖post‖)²",
            f"{_PAPER}, section 2.1",
            Movement.projection_ratio,
            caveat=_ORIGIN,
        ),
        Approach(
            "magnitude",
            "Magnitude (L1)",
            "Σ |post − pre|",
            f"{_PAPER}, section 2",
            Movement.magnitude,
            caveat=_SCALE,
        ),
        Approach(
            "magnitude_mean_abs",
            "Magnitude (mean)",
            "mean |post − pre|",
            f"{_PAPER}, the authors' code",
            Movement.magnitude_mean_abs,
            caveat=_SCALE,
        ),
        Approach(
            "fisher",
            "Fisher",
            "(1/N) Σᵢ ‖∇b log p(yᵢ|xᵢ)‖²",
            f"{_PAPER}, section 2",
            fisher_score,
            needs="fisher",
            caveat=_SCALE,
        ),
        Approach(
            "fisher_batch",
            "Fisher (batches)",
            "mean over elements of (mean gradient of a batch)²",
            f"{_PAPER}, the authors' code",
            partial(fisher_score, variant="batch"),
            needs="fisher_batch",
            caveat=_SCALE,
        ),
    )
}
"""The order of tables. Which of them a snapshot allows depends on the tensors that it holds."""


# --- tables ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TermScores:
    """One bias term of one snapshot, layer by layer."""

    stack: str
    term: str
    null: bool
    """Certified to have no effect on the model."""
    trained: bool
    scores: dict[str, np.ndarray]
    """Approach -> float64 [layers]."""
    movement: Movement
    null_elements: int = 0
    """Elements of each layer that are certified null, although the term acts."""

    @property
    def width(self) -> int:
        """Elements of a layer."""
        return self.movement.width

    @cached_property
    def geometry(self) -> dict[str, np.ndarray]:
        """`Movement.geometry`: explains the projection ratio."""
        return self.movement.geometry()


@dataclass(frozen=True)
class ScoreTable:
    """The scores of one snapshot. Rank 1 is the highest score of all terms of a stack that were scored."""

    terms: tuple[TermScores, ...]
    remarks: tuple[str, ...] = ()
    """What a reader must know of the run: null terms or elements that were trained, layers left out."""

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The remarks, and which terms tie (unless at 0: there, nothing moved)."""
        ties = []
        for stack in self.stacks:
            for approach in self.approaches:
                groups: dict[float, list[str]] = {}
                for term, score in self.mean_scores(approach, stack).items():
                    groups.setdefault(score, []).append(term)
                ties += [
                    f"{', '.join(terms)} tie on {approach} at {score:g}: ranked in the order of the terms"
                    for score, terms in groups.items()
                    if len(terms) > 1 and score > 0
                ]
        return (*self.remarks, *ties)

    @property
    def stacks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.stack for row in self.terms))

    @property
    def approaches(self) -> tuple[str, ...]:
        """Those for which the snapshot holds the tensors."""
        return tuple(key for key in APPROACHES if any(key in row.scores for row in self.terms))

    def mean_scores(self, approach: str, stack: str | None = None) -> dict[str, float]:
        """Term -> mean over layers, in canonical order; by default of the first stack."""
        stack = stack or self.stacks[0]
        return {
            row.term: float(row.scores[approach].mean())
            for row in self.terms
            if row.stack == stack and approach in row.scores
        }

    def contestants(self, approach: str, stack: str | None = None) -> tuple[str, ...]:
        """Those of q, k and v among which an approach can select: scored, trained if it looks at movement, not null."""
        stack = stack or self.stacks[0]
        moves = APPROACHES[approach].needs == "movement"
        return tuple(
            row.term
            for row in self.terms
            if row.stack == stack
            and row.term in CANDIDATES
            and approach in row.scores
            and not row.null
            and (row.trained or not moves)
        )

    def selected(self, stack: str | None = None) -> dict[str, str | None]:
        """Approach -> the term it selects among its `contestants`.

        None where nothing is selected: fewer than two took part, so there is no contest, or none of them moved.
        """
        chosen: dict[str, str | None] = {}
        for approach in self.approaches:
            rivals = self.contestants(approach, stack)
            scores = self.mean_scores(approach, stack)
            chosen[approach] = select_term(scores, rivals) if len(rivals) > 1 else None
        return chosen

    @cached_property
    def per_layer(self) -> pd.DataFrame:
        """One row per stack, term, layer and approach, with the geometry beside the score."""
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
        """One row per stack, term and approach: score (mean over layers), rank, null, trained."""
        import pandas as pd

        flags = {(row.stack, row.term): (row.null, row.trained) for row in self.terms}
        rows = []
        for stack in self.stacks:
            for approach in self.approaches:
                scores = self.mean_scores(approach, stack)
                ranks = rank_terms(scores)
                for term, score in scores.items():
                    null, trained = flags[stack, term]
                    rows.append((stack, term, approach, score, ranks[term], null, trained))
        return pd.DataFrame(rows, columns=["stack", "term", "approach", "score", "rank", "null", "trained"])


def rank_terms(scores: Mapping[str, float]) -> dict[str, int]:
    """Term -> rank, 1 for the highest score. Equal scores rank in canonical order, so that results repeat."""
    order = sorted(scores, key=lambda term: (-scores[term], TERM_KEYS.index(term)))
    return {term: rank for rank, term in enumerate(order, 1)}


def select_term(scores: Mapping[str, float], candidates: Iterable[str] = CANDIDATES) -> str | None:
    """The candidate with the highest score (paper, section 2.1); ties as in `rank_terms`.

    None without a candidate, and where all score 0: nothing moved, so there is nothing to select by.
    """
    ranks = rank_terms({term: scores[term] for term in candidates if scores.get(term, 0) > 0})
    return min(ranks, key=ranks.__getitem__, default=None)


def score_snapshot(snapshot: Snapshot) -> ScoreTable:
    """Score every term of a snapshot by every approach that its tensors allow.

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
        measured = {
            "movement": movement,
            "fisher": snapshot.fisher(stack, term),
            "fisher_batch": snapshot.fisher(stack, term, "batch"),
        }
        scores = {
            key: approach.per_layer(measured[approach.needs])
            for key, approach in APPROACHES.items()
            if measured[approach.needs] is not None
        }
        null, trained = term in known.terms, term in meta.trained_terms
        ranges = known.elements.get(term, ())
        rows.append(TermScores(stack, term, null, trained, scores, movement, count_of(ranges)))
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
    if meta.layers is not None and len(meta.layers) < meta.model.layers:
        count = f"only {len(meta.layers)} of {meta.model.layers} layers were trained"
        remarks.append(f"{count}; means are over all of them")
    return ScoreTable(tuple(rows), tuple(remarks))


def aggregate_seeds(tables: Sequence[ScoreTable | pd.DataFrame]) -> pd.DataFrame:
    """Several seeds of one experiment (`ScoreTable` or their `means`) -> one row per stack, term and
    approach.

    Columns: seeds (how many scored the term), mean and std over seeds (n - 1 in the denominator; NaN for
    one seed), first (how often it ranked first of all terms), first_of_candidates (of those of q, k and v
    that took part, as in `ScoreTable.contestants`).

    Raises:
        UserError: no table.
    """
    import pandas as pd

    if not tables:
        raise UserError("no scores to aggregate", "at least one")
    frames = [table.means if isinstance(table, ScoreTable) else table for table in tables]
    runs = pd.concat([frame.assign(run=run) for run, frame in enumerate(frames)], ignore_index=True)
    moves = runs["approach"].map(lambda key: APPROACHES[key].needs == "movement")
    took_part = runs["term"].isin(CANDIDATES) & ~runs["null"] & (runs["trained"] | ~moves)
    contests = runs[took_part].groupby(["run", "stack", "approach"])["rank"]
    best, rivals = (contests.transform(how).reindex(runs.index) for how in ("min", "size"))
    runs["is_first"] = runs["rank"] == 1
    runs["is_first_of_candidates"] = (runs["rank"] == best) & (rivals > 1)
    return runs.groupby(["stack", "approach", "term"], sort=False, as_index=False).agg(
        seeds=("score", "size"),
        mean=("score", "mean"),
        std=("score", "std"),
        first=("is_first", "sum"),
        first_of_candidates=("is_first_of_candidates", "sum"),
    )
