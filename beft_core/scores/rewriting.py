"""Rewritings of a model that change no output, and what the scores of a snapshot make of them; numpy only.

Softmax attention can be written down in many ways. Its rows sum to one, so a constant c in b_v with ``W_o c`` taken
from the bias of the attention output is the *shift of the values*: outputs and gradients stay, and so does the training
(attention dropout aside), but the projection ratio compares b_v with where it began, and c moves that. W_v and b_v
times s with W_o by s, and W_k, b_k times s with W_q, b_q by s, is the *scale*: the same function again, whose biases
have other lengths, so that Magnitude and Fisher read other numbers.

The same on a loaded model: :mod:`beft_core.training.rewriting`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from beft_core.errors import UserError
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.source import BUNDLED
from beft_core.presets import MAX_SCALE
from beft_core.scores.approaches import PAPER
from beft_core.scores.table import ScoreTable, score_snapshot, select_term
from beft_core.snapshots.snapshot import Key, Snapshot, fingerprint
from beft_core.terms import CANDIDATES

DIRECTIONS: dict[str, str] = {
    "random": "a random direction in each layer, drawn by the seed",
    "along": "along b_v as it is before the fine-tune: c = r b_v",
    "against": "against it: c = -r b_v, so that nothing of b_v is left at r = 1",
}
"""Directions of a shift, each with its description."""
MAX_SHIFT = 100.0
"""Longest shift, in lengths of b_v, that is asked for or looked at for a flip."""

Outputs = Callable[[np.ndarray], np.ndarray]
"""Function from a constant c [layers, width of v] to ``W_o c`` [layers, hidden_size], as
:meth:`beft_core.models.bias_reader.ModelWeights.output_change` computes it.
"""

_GRID = np.concatenate([[0.0], np.geomspace(1e-3, MAX_SHIFT, 600)])
_BISECTIONS = 60


@dataclass(frozen=True)
class Rewriting:
    """Rewriting of a model: a shift of the values, then a scale. Checks itself."""

    shift: float = 0.0
    """Length of the constant c that moves into b_v, relative to the length of b_v in each layer."""
    direction: str = "random"
    """Direction of c, a key of :data:`DIRECTIONS`."""
    seed: int = 0
    """Seed of a random direction."""
    scale: float = 1.0
    """Factor of W_v, b_v and of W_k, b_k; W_o and W_q, b_q are divided by it."""

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise UserError(f"got the direction {str(self.direction)[:40]!r}", f"one of {', '.join(DIRECTIONS)}")
        if not 0 <= self.shift <= MAX_SHIFT:
            raise UserError(f"got a shift of {self.shift:g}", f"0 to {MAX_SHIFT:g} lengths of b_v")
        if not 1 / MAX_SCALE <= self.scale <= MAX_SCALE:
            raise UserError(f"got a scale of {self.scale:g}", f"{1 / MAX_SCALE:g} to {MAX_SCALE:g}")
        if not 0 <= self.seed < 2**53:
            raise UserError(f"got the seed {self.seed}", "0 to 2**53 - 1")

    def constant(self, pre: np.ndarray) -> np.ndarray:
        """Give the constant c that moves into a value bias [layers, width]: float64 [layers, width].

        A layer whose bias is zero has no length to measure by: nothing moves there.
        """
        return self.shift * unit(pre, self.direction, self.seed)

    def factor(self, term: str) -> float:
        """Give the factor of a term's bias."""
        return {"v": self.scale, "k": self.scale, "q": 1 / self.scale}.get(term, 1.0)

    def in_words(self) -> str:
        """Say what is rewritten, such as ``shift of 5 × |b_v| (random, seed 0)``."""
        parts = []
        if self.shift:
            how = f"random, seed {self.seed}" if self.direction == "random" else self.direction
            parts.append(f"shift of {self.shift:g} × |b_v| ({how})")
        if self.scale != 1:
            parts.append(f"scale of {self.scale:g}")
        return " and ".join(parts) or "nothing rewritten"


def unit(pre: np.ndarray, direction: str = "random", seed: int = 0) -> np.ndarray:
    """Give a constant per layer that is as long as the bias [layers, width] is there: float64 [layers, width]."""
    values = np.asarray(pre, np.float64)
    if direction != "random":
        return values if direction == "along" else -values
    drawn = np.random.default_rng(seed).normal(size=values.shape)
    return drawn * (np.linalg.norm(values, axis=1, keepdims=True) / np.linalg.norm(drawn, axis=1, keepdims=True))


# --- the snapshot of the rewritten model -------------------------------------------------------------------------


def rewritten(snapshot: Snapshot, rewriting: Rewriting, outputs: Outputs | None = None) -> Snapshot:
    """Give the snapshot that the same fine-tune of the rewritten model would have left.

    Same function, same training: what is recorded of the shift holds step by step without attention dropout; of the
    scale it is the fine-tuned model itself that is rewritten, not the optimizer's path to it. Its arrays are float64.

    ``outputs``: computes ``W_o c`` of the base model. Without it, what becomes of b_o is not known under a shift, and
    the term ``o`` is left out.

    Raises:
        UserError: a shift of a snapshot that has no b_v, or whose b_v began at zero everywhere.
    """
    stack = snapshot.keys()[0][0] if snapshot.keys() else ""
    added: dict[str, np.ndarray] = {}
    left_out: str | None = None
    if rewriting.shift:
        constant = rewriting.constant(_values_of(snapshot, stack))
        added["v"] = constant
        if (stack, "o") in snapshot.keys():  # noqa: SIM118
            if outputs is None:
                left_out = "o"
            else:
                added["o"] = -outputs(constant)

    def load(name: str) -> np.ndarray:
        array = before[name]
        of, term, part = name.split(".") if name.count(".") == 2 else ("", "", "")
        if of != stack or part == "output_change":  # which no rewriting changes
            return array
        factor = rewriting.factor(term)
        if part.startswith("fisher"):  # of squared gradients: what is longer is pushed less
            return array if factor == 1 else array.astype(np.float64) / factor**2
        values = array.astype(np.float64) + added[term] if term in added else array
        return values if factor == 1 else values.astype(np.float64) * factor

    before = {name: array for name, array in snapshot.tensors().items() if not name.startswith(f"{stack}.{left_out}.")}
    shapes = {name: array.shape for name, array in before.items()}
    now = Snapshot(snapshot.meta, shapes, load, f"{snapshot.source}, rewritten")
    meta = replace(
        snapshot.meta,
        model=replace(snapshot.meta.model, fingerprint=_fingerprint(snapshot, now, rewriting)),
        provenance={**snapshot.meta.provenance, "rewritten": asdict(rewriting)},
    )
    return Snapshot(meta, shapes, load, now.source)


def _values_of(snapshot: Snapshot, stack: str) -> np.ndarray:
    """Read b_v before the fine-tune. Raises UserError where a shift has nothing to be measured by."""
    if (stack, "v") not in snapshot.keys():  # noqa: SIM118
        raise UserError(f"{snapshot.source} has no b_v to shift", "a snapshot with the term v, such as a probe")
    pre = snapshot.pre(stack, "v")
    if not pre.any():
        raise UserError(
            f"{snapshot.source}: b_v began at zero, so a shift cannot be measured in lengths of it",
            "a model that has a value bias",
        )
    return pre


def _fingerprint(snapshot: Snapshot, now: Snapshot, rewriting: Rewriting) -> str:
    """Name the rewritten base model: by its biases where the snapshot holds them all, else by what was done to it."""
    old = snapshot.meta.model.fingerprint

    def biases(one: Snapshot) -> dict[Key, np.ndarray]:
        return {key: one.pre(*key) for key in one.keys()}  # noqa: SIM118

    if now.keys() == snapshot.keys() and fingerprint(biases(snapshot)) == old:
        return fingerprint(biases(now))
    return hashlib.sha256(f"{old} {json.dumps(asdict(rewriting), sort_keys=True)}".encode()).hexdigest()


def base_outputs(snapshot: Snapshot, model: str) -> Outputs:
    """Prepare the computation of ``W_o c`` by the weights of a snapshot's base model, read from its files.

    ``model``: its name, see :class:`beft_core.models.bias_reader.ModelWeights`.

    Raises:
        UserError: no such model, or another one than the snapshot started from.
    """
    weights = ModelWeights(model)
    layout = weights.layout()
    if layout is None:
        raise UserError(f"got {model} without config.json", "the folder of a model")
    held = {key: values for key, values in weights.biases(layout).items() if key[1] in layout.terms}
    if fingerprint(held) != snapshot.meta.model.fingerprint:
        raise UserError(
            f"got the base model {weights.id}, whose biases differ from those that {snapshot.source} started from",
            snapshot.meta.model.id,
        )
    return lambda change: weights.output_change(layout, change)


def outputs_here(snapshot: Snapshot) -> Outputs | None:
    """Prepare `base_outputs` by the model that a snapshot names; None where that is not on this machine.

    A file may name any model, so that nothing but the bundled one is opened.
    """
    if snapshot.meta.model.id != BUNDLED:
        return None
    try:
        return base_outputs(snapshot, BUNDLED)
    except UserError:
        return None


def output_gap(snapshot: Snapshot, rewriting: Rewriting, outputs: Outputs) -> float:
    """Measure how far a shift changes what b_v and b_o together add to every token: the largest change of an element of
    ``W_o b_v + b_o`` over the layers, before and after the fine-tune, relative to the largest element. Float64
    rounding is all that there should be.

    Raises:
        UserError: the snapshot has no b_v or b_o.
    """
    stack = snapshot.keys()[0][0]
    now = rewritten(snapshot, rewriting, outputs)
    gaps = []
    for part in (Snapshot.pre, Snapshot.post):
        was, is_ = (outputs(part(one, stack, "v")) + part(one, stack, "o") for one in (snapshot, now))
        gaps.append(float(np.abs(is_ - was).max() / np.abs(was).max()))
    return max(gaps)


# --- where the selection flips -----------------------------------------------------------------------------------


class Line:
    """Projection ratio of a bias as a constant is added to it before and after, along a line ``r -> r u``.

    Every norm and product is a parabola in r, so that a thousand r cost no more than one.
    """

    def __init__(self, pre: np.ndarray, post: np.ndarray, along: np.ndarray) -> None:
        """Take a bias before and after, and the constant u at r = 1, each [layers, width]."""
        a, b, u = (np.asarray(values, np.float64) for values in (pre, post, along))
        self._aa, self._bb, self._ab = np.vecdot(a, a), np.vecdot(b, b), np.vecdot(a, b)
        self._ua, self._ub, self._uu = np.vecdot(u, a), np.vecdot(u, b), np.vecdot(u, u)
        self._moved = (a != b).any(axis=1)

    def ratios(self, r: np.ndarray | float) -> np.ndarray:
        """Projection ratio of each layer at each r: float64 [..., layers]."""
        r = np.asarray(r, np.float64)[..., None]
        far = r * r * self._uu
        before, after = self._aa + 2 * r * self._ua + far, self._bb + 2 * r * self._ub + far
        longer = np.maximum(before, after)
        usable = self._moved & (longer > 0)
        return np.where(usable, 1 - (self._ab + r * (self._ua + self._ub) + far) / np.where(usable, longer, 1), 0.0)

    def scores(self, r: np.ndarray | float) -> np.ndarray:
        """Score of the term, the mean over layers, at each r: float64 [...]."""
        return self.ratios(r).mean(axis=-1)


@dataclass(frozen=True)
class Flip:
    """Shift at which the projection ratio begins to select another term."""

    at: float
    """Length of the shift, relative to that of b_v in each layer."""
    before: str
    """Term that is selected up to there."""
    after: str
    """Term that is selected from there on."""


class Shifts:
    """Shifts of one snapshot in one direction: the ratio of b_v at any length, and where the selection flips."""

    def __init__(
        self, snapshot: Snapshot, direction: str = "random", seed: int = 0, table: ScoreTable | None = None
    ) -> None:
        """Take a snapshot; ``table``: its scores, where they are known.

        Raises:
            UserError: as :func:`rewritten`, for a shift.
        """
        table = table or score_snapshot(snapshot)
        stack = table.stacks[0]
        pre = _values_of(snapshot, stack)
        self._line = Line(pre, snapshot.post(stack, "v"), unit(pre, direction, seed))
        rivals = table.contestants(PAPER, stack)
        self.contested = len(rivals) > 1 and "v" in rivals
        """Whether b_v takes part in a selection that could flip."""
        scores = table.mean_scores(PAPER, stack)
        self.others = {term: scores[term] for term in rivals if term != "v"}
        """Scores of its rivals, which no shift changes."""

    def scores(self, r: np.ndarray | float) -> np.ndarray:
        """Projection ratio of b_v, the mean over layers, at each length of the shift."""
        return self._line.scores(r)

    def selected(self, r: float) -> str | None:
        """Term that the projection ratio selects at a length of the shift."""
        return select_term({**self.others, "v": float(self.scores(r))}, ("v", *self.others))

    def flip(self) -> Flip | None:
        """Find the shortest shift at which another term is selected; None where there is none up to MAX_SHIFT."""
        first = self.selected(0.0) if self.contested else None
        if first is None:
            return None
        rival = select_term(self.others, self.others) or next(iter(self.others))
        best = self.others[rival]
        # With b_v ahead of, or behind, the best of the others: where the two cross.
        ahead = self.scores(_GRID) > best
        crossed = np.flatnonzero(ahead != ahead[0])
        if not len(crossed):
            return None
        low, high = float(_GRID[crossed[0] - 1]), float(_GRID[crossed[0]])
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if (float(self.scores(middle)) > best) == bool(ahead[0]):
                low = middle
            else:
                high = middle
        return Flip(high, first, rival if ahead[0] else "v")


@dataclass(frozen=True)
class Spread:
    """Shifts of one length in several random directions."""

    scores: tuple[float, ...]
    """Projection ratio of b_v in each direction."""
    flips: tuple[float, ...]
    """Length at which the selection flips in each direction in which it does."""


def over_directions(snapshot: Snapshot, shift: float, seeds: Sequence[int] = range(20)) -> Spread:
    """Shift a snapshot in as many random directions as there are seeds.

    Raises:
        UserError: as :func:`rewritten`, for a shift.
    """
    table = score_snapshot(snapshot)
    drawn = [Shifts(snapshot, "random", seed, table) for seed in seeds]
    flips = [one.flip() for one in drawn]
    return Spread(tuple(float(one.scores(shift)) for one in drawn), tuple(one.at for one in flips if one is not None))


# --- in words ----------------------------------------------------------------------------------------------------

_STAYS = 1e-6
"""Largest relative difference of two scores that are the same up to rounding of what a snapshot holds."""


@dataclass(frozen=True)
class Rewritten:
    """Scores of a snapshot before and after a rewriting."""

    rewriting: Rewriting
    before: ScoreTable
    after: ScoreTable
    flip: Flip | None = None
    """Shift in this direction at which the selection flips; None where it does not, or nothing is shifted."""

    @classmethod
    def of(cls, snapshot: Snapshot, rewriting: Rewriting, outputs: Outputs | None = None) -> Rewritten:
        """Score a snapshot and its rewriting. Raises UserError as :func:`rewritten`."""
        before = score_snapshot(snapshot)
        after = score_snapshot(rewritten(snapshot, rewriting, outputs))
        flip = Shifts(snapshot, rewriting.direction, rewriting.seed, before).flip() if rewriting.shift else None
        return cls(rewriting, before, after, flip)

    def stays(self, approach: str) -> bool:
        """Whether the scores of q, k and v by an approach are the same up to rounding."""
        pairs = [(table.mean_scores(approach)) for table in (self.before, self.after)]
        return all(math.isclose(pairs[0][t], pairs[1][t], rel_tol=_STAYS) for t in self._shown(approach))

    def verdict(self, name: Callable[[str], str] = str) -> str:
        """Say in a sentence what stays and what does not; ``name``: writes a term."""
        parts = ["every output stays", self._ratio(name)]
        others = {"Magnitude": "magnitude", "Fisher": "fisher"}
        known = {words: key for words, key in others.items() if key in self.before.approaches}
        same = [words for words, key in known.items() if self.stays(key)]
        if same:
            parts.append(f"{' and '.join(same)} unchanged")
        for words, key in known.items():
            if words not in same:
                was, now = self.before.mean_scores(key), self.after.mean_scores(key)
                changed = [f"{name(t)} x{now[t] / was[t]:.3g}" for t in self._shown(key) if was[t]]
                first, second = self.before.selected().get(key), self.after.selected().get(key)
                flips = first and second and first != second
                instead = f" (selects {name(second or '')} instead of {name(first or '')})" if flips else ""
                parts.append(f"{words} {', '.join(changed)}{instead}")
        return "; ".join(parts)

    def _ratio(self, name: Callable[[str], str]) -> str:
        was, now = self.before.mean_scores(PAPER), self.after.mean_scores(PAPER)
        if not self.rewriting.shift:
            return f"the projection ratio stays ({', '.join(f'{name(t)} {now[t]:.3f}' for t in self._shown(PAPER))})"
        moved = f"projection ratio of {name('v')} {was['v']:.3f} -> {now['v']:.3f}"
        rivals = [t for t in self.before.contestants(PAPER) if t != "v"]
        if "v" not in self.before.contestants(PAPER) or not rivals:
            return f"{moved}; no selection that could flip: {self.before.no_selection().get(PAPER)}"
        best = max(rivals, key=lambda t: was[t])
        where = f"the selection flips at r = {self.flip.at:.2g}" if self.flip else "the selection does not flip"
        if "v" in self.after.undefined_from_zero(PAPER):
            return f"{moved}, undefined because nothing of b_v is left to begin with ({name(best)} {now[best]:.3f})"
        still = "still " if self.before.selected()[PAPER] == self.after.selected()[PAPER] else ""
        side = "below" if now["v"] < now[best] else "above"
        return f"{moved}, {still}{side} {name(best)} {now[best]:.3f}: {where}"

    def _shown(self, approach: str) -> list[str]:
        """List those of q, k and v that an approach scored and that can act."""
        rows = self.before.rows(self.before.stacks[0])
        return [term for term in CANDIDATES if term in rows and not rows[term].null and approach in rows[term].scores]
