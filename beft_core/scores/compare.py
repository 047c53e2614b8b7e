"""Comparison of any snapshots: differences of scores, cosines between what was learnt, agreement of rankings.

Unlike :func:`beft_core.merging.similarity.compare`, which asks for fine-tunes of one base, everything here compares
whatever can be compared and says of the rest why it cannot. Numbers are float64 and numpy only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beft_core.architectures.certified import certified
from beft_core.presets import hyperparameters
from beft_core.scores.approaches import APPROACHES
from beft_core.scores.rank_correlation import kendall_tau, spearman_rho
from beft_core.scores.table import ABSENT, FROZEN, NOT_TRAINED, ScoreTable, rank_terms, reason_without_score
from beft_core.snapshots.null_elements import count_of
from beft_core.snapshots.snapshot import Key, Snapshot, SnapshotMeta
from beft_core.tasks.own_table import columns_of, labels_in_words
from beft_core.terms import TERM_KEYS, TERMS

if TYPE_CHECKING:
    import pandas as pd

Names = tuple[str, str]
"""Names of two snapshots, as the reasons call them."""


# --- scores --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Difference of a term's scores in two snapshots, the first minus the second."""

    term: str
    layers: np.ndarray | None
    """Difference in each layer, float64 [layers]; None where the two have different numbers of layers."""
    mean: float | None
    """Difference of the means over layers; None where one is missing."""
    reason: str | None
    """Reason why one of the two scores is missing; None where both are there."""


def differences(
    a: ScoreTable, b: ScoreTable, approach: str, stack: str, names: Names = ("A", "B")
) -> tuple[Difference, ...]:
    """Difference of the scores of every term that one of two snapshots has: first minus second."""
    first, second = a.rows(stack), b.rows(stack)
    found = []
    for term in TERM_KEYS:
        pair = first.get(term), second.get(term)
        if pair == (None, None):
            continue
        reason = _both([reason_without_score(row, approach) for row in pair], names)
        if reason is not None or pair[0] is None or pair[1] is None:
            found.append(Difference(term, None, None, reason))
            continue
        x, y = pair[0].scores[approach], pair[1].scores[approach]
        mean = float(x.mean() - y.mean())
        if len(x) != len(y):
            found.append(Difference(term, None, mean, f"{len(x)} and {len(y)} layers: only the means compare"))
        else:
            found.append(Difference(term, x - y, mean, None))
    return tuple(found)


def _both(reasons: Sequence[str | None], names: Sequence[str]) -> str | None:
    if all(reasons) and len(set(reasons)) == 1:
        return f"{reasons[0]} in both"
    return ", ".join(f"{why} in {name}" for why, name in zip(reasons, names, strict=True) if why) or None


# --- directions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alike:
    """Likeness of the movements of one term in two snapshots, as cosines."""

    term: str
    layers: np.ndarray | None
    """Cosine in each layer, float64 [layers]; NaN where one of the two did not move."""
    whole: float | None
    """Cosine of all layers as one vector."""
    reason: str | None
    """Reason why there is nothing to compare; None where there is."""


class Moves:
    """Movements of a snapshot: ``post - pre`` of its trained terms, float64 [layers, width] each.

    Raises:
        UserError: values that are not finite.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.null = set(certified(snapshot.meta).terms)
        self.trained = set(snapshot.meta.trained_terms)
        self.pre: dict[Key, np.ndarray] = {key: snapshot.pre(*key) for key in snapshot.keys()}  # noqa: SIM118
        self.delta = {
            key: np.subtract(snapshot.post(*key), pre, dtype=np.float64)
            for key, pre in self.pre.items()
            if key[1] in self.trained
        }

    def not_like(self, other: Moves, key: Key, names: Names = ("A", "B")) -> str | None:
        """Reason why two movements of a term cannot be compared; None if they can."""
        reason = _both([one._still(key) for one in (self, other)], names)
        if reason is not None:
            return reason
        x, y = self.pre[key], other.pre[key]
        if x.shape != y.shape:
            return f"{_size(x)} and {_size(y)}"
        return None if np.array_equal(x, y) else "started from different values: another base model"

    def _still(self, key: Key) -> str | None:
        if key not in self.pre:
            return ABSENT
        if key[1] not in self.trained:
            return FROZEN if key[1] in self.null else NOT_TRAINED
        return None if self.delta[key].any() else "did not move"


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} × {array.shape[1]}"


def alike(a: Moves, b: Moves, stack: str, names: Names = ("A", "B")) -> tuple[Alike, ...]:
    """Cosines between what two snapshots learnt, for every term that one of them has."""
    found = []
    for term in TERM_KEYS:
        key = (stack, term)
        if key not in a.pre and key not in b.pre:
            continue
        reason = a.not_like(b, key, names)
        if reason is not None:
            found.append(Alike(term, None, None, reason))
            continue
        x, y = a.delta[key], b.delta[key]
        dots, xx, yy = (x * y).sum(axis=1), (x * x).sum(axis=1), (y * y).sum(axis=1)
        layers = np.array([_cosine(*three) for three in zip(dots, xx, yy, strict=True)])
        found.append(Alike(term, layers, _cosine(dots.sum(), xx.sum(), yy.sum()), None))
    return tuple(found)


def _cosine(dot: float, xx: float, yy: float) -> float:
    return float(np.clip(dot / (math.sqrt(xx) * math.sqrt(yy)), -1, 1)) if xx > 0 and yy > 0 else math.nan


def cosines(moves: Sequence[Moves], stack: str, terms: Iterable[str] | None = None) -> np.ndarray:
    """Cosines between snapshots two by two, float64 [n, n]: all layers of what both trained as one vector.

    NaN where two have nothing to compare. Null terms are left out unless `terms` names them: they move by rounding.
    """
    wanted = list(terms) if terms is not None else None
    matrix = np.full((len(moves), len(moves)), np.nan)
    for i, j in itertools.combinations_with_replacement(range(len(moves)), 2):
        a, b = moves[i], moves[j]
        null = a.null | b.null if wanted is None else set()
        keys = [(stack, t) for t in (wanted or TERM_KEYS) if t not in null and a.not_like(b, (stack, t)) is None]
        pairs = [(a.delta[key], b.delta[key]) for key in keys]
        dot, xx, yy = (sum(float((p[m] * p[n]).sum()) for p in pairs) for m, n in ((0, 1), (0, 0), (1, 1)))
        matrix[i, j] = matrix[j, i] = _cosine(dot, xx, yy)
    return matrix


def chance(width: int) -> float:
    """Bound within which the cosine of two random directions of ``width`` elements lies 19 times in 20.

    A cosine of random directions has mean 0 and standard deviation ``1 / sqrt(width)``.
    """
    return 1.96 / math.sqrt(width)


# --- rankings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """Agreement of two rankings of the same terms: 1 the same order, 0 unrelated, -1 reversed."""

    terms: tuple[str, ...]
    """Terms that have a score in both rankings."""
    kendall: float
    """Kendall's tau-b; NaN for fewer than two terms, or where all tie."""
    spearman: float
    ranks: dict[str, tuple[int, int]]
    """Ranks of each term in the two rankings, among these terms; 1 for the highest score."""


def agreement(a: ScoreTable, b: ScoreTable, approach: str, stack: str) -> Agreement:
    """Agreement of two snapshots on the ranking of the terms that have a score in both."""
    first, second = a.rows(stack), b.rows(stack)
    terms = [
        t
        for t in TERM_KEYS
        if reason_without_score(first.get(t), approach) is reason_without_score(second.get(t), approach) is None
    ]
    scores = [{t: float(of[t].scores[approach].mean()) for t in terms} for of in (first, second)]
    x, y = (np.array([one[t] for t in terms]) for one in scores)
    ranks = [rank_terms(one) for one in scores]
    return Agreement(
        tuple(terms), float(kendall_tau(x, y)), spearman_rho(x, y), {t: (ranks[0][t], ranks[1][t]) for t in terms}
    )


# --- how they were made --------------------------------------------------------------------------------------------


def settings(meta: SnapshotMeta) -> dict[str, str]:
    """Settings to repeat a fine-tune by, as text: its model, data, hyper-parameters, seed and versions."""
    model, known = meta.model, certified(meta)
    digest_of, digest = model.digest
    table: dict[str, Any] = {
        "base model": model.id,
        "revision": model.revision,
        "architecture": model.architecture,
        "layers": model.layers,
        "hidden size": model.hidden_size,
        digest_of: digest and digest[:12],
        "task": meta.task,
        **_own_table(meta),
        "regime": meta.regime,
        "training examples": meta.n_train,
        "mode": meta.mode,
        "trained terms": _symbols(meta.trained_terms),
        "trained layers": None if meta.layers is None else ", ".join(map(str, meta.layers)),
        "null terms": _symbols(known.terms),
        "null elements": ", ".join(f"{TERMS[term].symbol} {count_of(of)}" for term, of in known.elements.items()),
        "trained parameters": meta.trained_parameters,
        **hyperparameters(meta.hyperparameters),
        "seed": meta.seed,
        f"{meta.metric} at the end": meta.final_metrics.get(meta.metric) if meta.metric else None,
        "device": meta.device,
        **meta.versions,
    }
    return {name: _text(value) for name, value in table.items() if value not in (None, "")}


def _own_table(meta: SnapshotMeta) -> dict[str, str]:
    """Write how the rows of a table of the user's own were read; nothing of a task of the lab."""
    head = meta.heads.get(meta.task, {})
    columns = columns_of(head)
    if columns is None:
        return {}
    labels = labels_in_words(head)
    return {
        "rows": str(meta.provenance.get("data", "")),
        "columns": f"{' + '.join(filter(None, (columns.text, columns.text_pair)))} → {columns.label}",
        "labels": f"{labels}: {', '.join(head['labels'])}" if head.get("labels") else labels,
    }


def differing(metas: Sequence[SnapshotMeta]) -> dict[str, list[str]]:
    """Settings that are not the same in all snapshots: name -> one text each, a dash where a snapshot has none."""
    tables = [settings(meta) for meta in metas]
    names = dict.fromkeys(name for table in tables for name in table)
    values = {name: [table.get(name, "–") for table in tables] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def _symbols(terms: Iterable[str]) -> str:
    return ", ".join(TERMS[term].symbol for term in terms)


def _text(value: object) -> str:
    return (f"{value:g}" if isinstance(value, float) else str(value))[:200]


# --- one table -----------------------------------------------------------------------------------------------------


def everything(names: Sequence[str], tables: Sequence[ScoreTable], moves: Sequence[Moves]) -> pd.DataFrame:
    """Table with one row per number: snapshot, other, stack, term, layer, quantity, value.

    Scores and geometry of each snapshot (``other`` is empty), and of each two of them the difference of every score and
    the cosine of their movements. ``layer`` is empty for what is over all layers.
    """
    import pandas as pd

    columns = ["snapshot", "other", "stack", "term", "layer", "quantity", "value"]
    lines: list[tuple[Any, ...]] = []
    for name, table in zip(names, tables, strict=True):
        for row in table.terms:
            numbers: Mapping[str, np.ndarray] = {**row.scores, **row.geometry}
            for quantity, values in numbers.items():
                lines += [(name, "", row.stack, row.term, n, quantity, float(v)) for n, v in enumerate(values)]
            lines += [
                (name, "", row.stack, row.term, None, f"mean {key}", float(v.mean())) for key, v in row.scores.items()
            ]
    for i, j in itertools.combinations(range(len(names)), 2):
        two, pair = (names[i], names[j]), (tables[i], tables[j])
        for stack in (s for s in pair[0].stacks if s in pair[1].stacks):
            for approach in APPROACHES:
                for found in differences(*pair, approach, stack):
                    lines += _lines(two, stack, found.term, f"difference of {approach}", found.layers, found.mean)
            for cosine in alike(moves[i], moves[j], stack):
                lines += _lines(two, stack, cosine.term, "cosine of movements", cosine.layers, cosine.whole)
    return pd.DataFrame(lines, columns=columns).astype({"layer": "Int64"})


def _lines(
    names: Names, stack: str, term: str, quantity: str, layers: np.ndarray | None, whole: float | None
) -> list[tuple[Any, ...]]:
    lines: list[tuple[Any, ...]] = [
        (*names, stack, term, n, quantity, float(v)) for n, v in enumerate(layers if layers is not None else ())
    ]
    return lines if whole is None else [*lines, (*names, stack, term, None, quantity, whole)]
