"""Merging fine-tunes of one base model, and comparing them; numpy only.

A method is data: a name, a formula, its parameters, where it comes from, and one pure function from the
differences ``post - pre`` of several tasks to one difference. The command line, the dashboard and the
documentation read this registry. Heads are never averaged: the merge keeps one for each task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beft_core import __version__
from beft_core.errors import UserError
from beft_core.scores.table import geometry
from beft_core.snapshots.snapshot import Key, Snapshot
from beft_core.terms import TERM_KEYS

# --- methods: [tasks, elements] float64 -> [elements] ------------------------------------------------------


def mean(deltas: np.ndarray) -> np.ndarray:
    """The arithmetic average, with which the paper merges b_v of RTE and SST-2 (Table 3)."""
    return deltas.mean(axis=0)


def weighted(deltas: np.ndarray, *, weights: Sequence[float]) -> np.ndarray:
    """An average in which some tasks count more; the weights are normalised to sum to 1."""
    shares = np.asarray(weights, dtype=np.float64)
    return shares / shares.sum() @ deltas


def task_arithmetic(deltas: np.ndarray, *, scale: float) -> np.ndarray:
    """The sum of the differences, scaled."""
    return scale * deltas.sum(axis=0)


def ties(deltas: np.ndarray, *, density: float, scale: float) -> np.ndarray:
    """Trim, elect sign, merge: keep each task's largest elements, average those that agree with the majority.

    The majority is the sign of the sum of what was kept, so larger movements have more say. Where it is
    exactly zero, so is the result. Of equal magnitudes at the border the first are kept.
    """
    kept = np.zeros_like(deltas)
    count = max(1, round(density * deltas.shape[1]))
    for task, delta in enumerate(deltas):
        largest = np.argsort(-np.abs(delta), kind="stable")[:count]
        kept[task, largest] = delta[largest]
    elected = np.sign(kept.sum(axis=0))
    agrees = (np.sign(kept) == elected) & (kept != 0)
    total = np.where(agrees, kept, 0).sum(axis=0)
    return scale * total / np.maximum(agrees.sum(axis=0), 1)


def dare(deltas: np.ndarray, *, density: float, seed: int) -> np.ndarray:
    """Drop and rescale: each element survives with probability `density`, divided by it; then the average.

    In expectation over seeds this is `mean`.
    """
    survives = np.random.default_rng(seed).random(deltas.shape) < density
    return np.where(survives, deltas / density, 0).mean(axis=0)


def slerp(deltas: np.ndarray, *, t: float) -> np.ndarray:
    """Along the arc from the first difference (t = 0) to the second (t = 1), lengths interpolated with it.

    Where there is no arc (a zero, parallel or opposite differences) it is the straight line.
    """
    first, second = deltas
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if min(lengths) > 0:
        one, two = first / lengths[0], second / lengths[1]
        angle = 2 * math.atan2(np.linalg.norm(one - two), np.linalg.norm(one + two))  # exact also where small
        if math.sin(angle) > 1e-9:
            return (math.sin((1 - t) * angle) * first + math.sin(t * angle) * second) / math.sin(angle)
    return (1 - t) * first + t * second


def fisher(deltas: np.ndarray, fisher: np.ndarray) -> np.ndarray:
    """An average of each element weighted by its Fisher information; where no task has any, the plain average.

    `fisher` [tasks, elements], at the fine-tuned models, is first divided by each task's L2 norm over all that is
    merged, as the code of the paper does. For the scale of a Fisher information says nothing about a task: that of a
    regression depends on the variance that its likelihood assumes, that of a classification on how sure the model has
    become. Only where a task's information lies then decides, and no task outweighs another by its loss.

    From one base, averaging differences or values so is the same.
    """
    norms = np.linalg.norm(fisher, axis=1, keepdims=True)
    fisher = fisher / np.where(norms > 0, norms, 1)
    total = fisher.sum(axis=0)
    shares = np.where(total > 0, fisher / np.where(total > 0, total, 1), 1 / len(deltas))
    return (shares * deltas).sum(axis=0)


# --- the registry ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One setting of a method: its default says its type."""

    name: str
    default: float | int | str | None
    """None: a list of numbers, one per snapshot, by default all equal."""
    help: str
    low: float = 0.0
    high: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The range in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        kind = "numbers, one per snapshot, each" if self.default is None else kind
        return f"{kind} from {self.low:g}" + (f" to {self.high:g}" if self.high < math.inf else "")

    def parse(self, value: Any, tasks: int) -> Any:
        """A value in range, from a number or a text ("0.5", "1,2").

        Raises:
            UserError: of another type or out of range.
        """
        wrong = UserError(f"{self.name} = {value!r}", self.expected)
        if self.choices:
            if value not in self.choices:
                raise wrong
            return value
        try:
            if self.default is None:
                parts = value.split(",") if isinstance(value, str) else list(value or [1.0] * tasks)
                numbers = [float(part) for part in parts]
                if len(numbers) != tasks or sum(numbers) <= 0:
                    raise UserError(f"{self.name} = {value!r}", f"{tasks} {self.expected}, not all zero")
            else:
                numbers = [float(value)]
                if isinstance(self.default, int):
                    if not numbers[0].is_integer():
                        raise wrong
                    numbers = [int(value)]
        except (TypeError, ValueError) as error:
            raise (error if isinstance(error, UserError) else wrong) from None
        if not all(self.low <= number <= self.high and math.isfinite(number) for number in numbers):
            raise wrong
        return numbers if self.default is None else numbers[0]


@dataclass(frozen=True)
class Method:
    """One way to merge; its function is pure."""

    name: str
    label: str
    formula: str
    reference: str
    function: Callable[..., np.ndarray]
    """float64 [tasks, elements] and the parameters -> [elements]."""
    parameters: tuple[Parameter, ...] = ()
    needs_fisher: bool = False
    remark: str = ""
    """What a reader must know of it besides the formula."""
    max_tasks: float = math.inf

    def settings(self, given: dict[str, Any], tasks: int) -> dict[str, Any]:
        """Every parameter of the method, from what was given and the defaults.

        Raises:
            UserError: an unknown parameter or a value out of range.
        """
        names = [parameter.name for parameter in self.parameters]
        unknown = [name for name in given if name not in names]
        if unknown:
            raise UserError(f"{self.name} has no parameter {unknown[0]}", ", ".join(names) or "none")
        return {p.name: p.parse(given.get(p.name, p.default), tasks) for p in self.parameters}


_SCOPE = Parameter("scope", "layer", "what is looked at as one vector", choices=("layer", "global"))
_SMALLEST = 1e-6  # a density of zero would keep nothing

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("mean", "Average", "Σ δₜ / T", "https://arxiv.org/abs/2509.15974", mean),
        Method(
            "weighted",
            "Weighted average",
            "Σ wₜ δₜ / Σ wₜ",
            "https://arxiv.org/abs/2203.05482",
            weighted,
            (Parameter("weights", None, "how much each snapshot counts"),),
        ),
        Method(
            "task_arithmetic",
            "Task arithmetic",
            "λ Σ δₜ",
            "https://arxiv.org/abs/2212.04089",
            task_arithmetic,
            (Parameter("scale", 0.4, "λ; 1 / T is the average", high=4.0),),
        ),
        Method(
            "ties",
            "TIES",
            "λ · mean of the largest elements that agree with the elected sign",
            "https://arxiv.org/abs/2306.01708",
            ties,
            (
                Parameter("density", 0.2, "share of each task's elements that is kept", _SMALLEST, 1.0),
                Parameter("scale", 1.0, "λ", high=4.0),
                replace(_SCOPE, default="global", help="trim each layer, or all layers and terms together"),
            ),
        ),
        Method(
            "dare",
            "DARE",
            "Σ mₜ δₜ / (density · T), mₜ random in {0, 1}",
            "https://arxiv.org/abs/2311.03099",
            dare,
            (
                Parameter("density", 0.5, "probability that an element survives", _SMALLEST, 1.0),
                Parameter("seed", 0, "of the random choice", high=2**53),
            ),
        ),
        Method(
            "slerp",
            "Spherical interpolation",
            "sin((1−t)Ω)/sin Ω · δ₁ + sin(tΩ)/sin Ω · δ₂",
            "https://doi.org/10.1145/325165.325242",
            slerp,
            (
                Parameter("t", 0.5, "0 is the first snapshot, 1 the second", high=1.0),
                replace(_SCOPE, help="an arc for each layer, or one for all layers and terms together"),
            ),
            max_tasks=2,
        ),
        Method(
            "fisher",
            "Fisher average",
            "Σ F̂ₜ δₜ / Σ F̂ₜ, element by element; F̂ₜ = Fₜ / ‖Fₜ‖ at the fine-tuned model",
            "https://arxiv.org/abs/2111.09832",
            fisher,
            needs_fisher=True,
            remark="Fisher information at each fine-tuned model under its trained head, with labels as that model "
            "expects them, divided by its L2 norm over all that is merged: the scale of a loss (squared error, "
            "cross-entropy) says nothing about a task, so only where its information lies decides.",
        ),
    )
}


def merge(
    snapshots: Sequence[Snapshot],
    method: str = "mean",
    *,
    terms: Iterable[str] | None = None,
    **parameters: Any,
) -> Snapshot:
    """One snapshot whose difference from the base is merged from those of several fine-tunes.

    Only trained terms are merged (`terms` restricts them). Every task keeps its own head and other extra
    tensors; of several snapshots of one task the first gives them.

    Raises:
        UserError: an unknown method or parameter; fewer than two snapshots or more than the method takes;
            different bases, terms or layers; no Fisher information at the fine-tuned model where the method needs it.
    """
    if method not in METHODS:
        raise UserError(f"merge method {method!r}", f"one of {', '.join(METHODS)}")
    spec = METHODS[method]
    if not 2 <= len(snapshots) <= spec.max_tasks:
        expected = f"exactly 2 for {method}" if spec.max_tasks == 2 else "at least 2"
        raise UserError(f"{len(snapshots)} snapshot(s) to merge", expected)
    settings = spec.settings(parameters, len(snapshots))
    keys = shared_keys(snapshots, terms)
    merged = _apply(spec, snapshots, keys, settings)
    pre = {key: snapshots[0].pre(*key) for key in keys}
    post = {key: pre[key] + delta for key, delta in merged.items()}
    heads, extra = _heads(snapshots)
    first = snapshots[0].meta
    meta = replace(
        first,
        task=" + ".join(dict.fromkeys(s.meta.task for s in snapshots))[:300],
        regime=None,
        n_train=None,
        mode="merged",
        trained_terms=tuple(term for term in TERM_KEYS if any(term == t for _, t in keys)),
        hyperparameters={"method": method, **settings, **_common_settings(snapshots)},
        seed=None,
        metric=None,
        metrics=(),
        trained_parameters=sum(array.size for array in pre.values()),
        versions={"beft-lab": __version__, "numpy": np.__version__},
        device=None,
        wall_seconds=None,
        heads=heads,
        provenance={"sources": [_origin(snapshot) for snapshot in snapshots]},
    )
    return Snapshot.build(meta, pre, post, extra=extra)


def _apply(
    spec: Method, snapshots: Sequence[Snapshot], keys: Sequence[Key], settings: dict[str, Any]
) -> dict[Key, np.ndarray]:
    """Merged differences, float64 [layers, width] each.

    All layers of all terms stand in one row per task; a method of scope "layer" sees them cut at the layers.
    """
    shapes = [snapshots[0].pre(*key).shape for key in keys]
    inputs = {"deltas": _differences, "fisher": _fisher} if spec.needs_fisher else {"deltas": _differences}
    rows = {
        name: np.concatenate([get(snapshots, key).reshape(len(snapshots), -1) for key in keys], axis=1)
        for name, get in inputs.items()
    }
    options = {name: value for name, value in settings.items() if name != "scope"}
    widths = [width for layers, width in shapes for _ in range(layers)]
    cuts: Any = np.cumsum(widths)[:-1] if settings.get("scope") == "layer" else []
    pieces = [np.split(array, cuts, axis=1) for array in rows.values()]
    merged = np.concatenate([spec.function(*piece, **options) for piece in zip(*pieces, strict=True)])
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return {key: part.reshape(shape) for key, part, shape in zip(keys, np.split(merged, ends), shapes, strict=True)}


def shared_keys(snapshots: Sequence[Snapshot], terms: Iterable[str] | None = None) -> list[Key]:
    """The trained (stack, term) that all snapshots have, of one base.

    Raises:
        UserError: another base, other trained terms or layers, or a term out of `terms` that was not trained.
    """
    first = snapshots[0]
    wanted = set(terms) if terms is not None else None
    keys = _trained(first, wanted)
    for snapshot in snapshots:
        names = f"{first.source} and {snapshot.source}"
        if snapshot.meta.model.fingerprint != first.meta.model.fingerprint:
            ids = f"{first.meta.model.id} and {snapshot.meta.model.id}"
            raise UserError(f"different base models ({names}: {ids})", "fine-tunes of one base")
        if _trained(snapshot, wanted) != keys:
            both = [", ".join(term for _, term in _trained(s, wanted)) or "none" for s in (first, snapshot)]
            raise UserError(
                f"different trained terms ({names}: {both[0]} and {both[1]})",
                "the same",
                "only those they share",
            )
        if snapshot.meta.layers != first.meta.layers:
            raise UserError(f"different trained layers ({names})", "the same layers")
        for key in keys:
            if not np.array_equal(snapshot.pre(*key), first.pre(*key)):
                raise UserError(f"different {'.'.join(key)} before the fine-tune ({names})", "one base")
    missing = (wanted or set()) - {term for _, term in keys}
    if missing or not keys:
        lacking = ", ".join(sorted(missing)) or "terms"
        trained = ", ".join(first.meta.trained_terms) or "none"
        raise UserError(f"no trained {lacking} in {first.source}", f"one of {trained}")
    return keys


def _trained(snapshot: Snapshot, wanted: set[str] | None) -> list[Key]:
    return [
        (stack, term)
        for stack, term in snapshot.keys()  # noqa: SIM118 - a method of Snapshot, not of a dict
        if term in snapshot.meta.trained_terms and (wanted is None or term in wanted)
    ]


def _differences(snapshots: Sequence[Snapshot], key: Key) -> np.ndarray:
    """float64 [tasks, layers, width]"""
    return np.stack([np.subtract(s.post(*key), s.pre(*key), dtype=np.float64) for s in snapshots])


def _fisher(snapshots: Sequence[Snapshot], key: Key) -> np.ndarray:
    """float64 [tasks, layers, width]"""
    arrays = []
    for snapshot in snapshots:
        array = snapshot.fisher(*key, "tuned")
        if array is None:
            before = snapshot.fisher(*key) is not None
            only = ", only the one from before its fine-tune, under a random head" if before else ""
            raise UserError(
                f"{snapshot.source} has no Fisher information at the fine-tuned model{only}",
                "snapshots of beft train --fisher-tuned",
                "beft merge --method fisher, which measures it where model and data are, or another method",
            )
        arrays.append(array.astype(np.float64))
    return np.stack(arrays)


def has_tuned_fisher(snapshot: Snapshot) -> bool:
    """Whether a snapshot holds what a Fisher average weighs by, for every term that it trained."""
    return all(snapshot.fisher(*key, "tuned") is not None for key in _trained(snapshot, None))


def _common_settings(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    """What an evaluation of the merge must repeat, where all sources agree on it."""
    tables = [snapshot.meta.hyperparameters for snapshot in snapshots]
    return {
        name: tables[0][name]
        for name in ("max_length", "add_bias")
        if all(name in table and table[name] == tables[0][name] for table in tables)
    }


def _heads(snapshots: Sequence[Snapshot]) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """The head and the extra tensors of every task, from the first snapshot that has them."""
    heads: dict[str, dict[str, Any]] = {}
    extra: dict[str, np.ndarray] = {}
    for snapshot in snapshots:
        for task, head in snapshot.meta.heads.items():
            if task not in heads:
                heads[task] = head
                extra |= {n: a for n, a in snapshot.extra.items() if n.startswith(f"extra.{task}.")}
    return heads, extra


def _origin(snapshot: Snapshot) -> dict[str, Any]:
    """What a reader of a merge wants to know of a source; only the file's name, never its folders."""
    meta = snapshot.meta
    return {
        "file": Path(snapshot.source).name,
        "task": meta.task,
        "mode": meta.mode,
        "regime": meta.regime,
        "n_train": meta.n_train,
        "seed": meta.seed,
    }


# --- comparing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Similarity:
    """How alike vectors of several snapshots are; conventions for zero vectors as in `scores.geometry`."""

    cosine: np.ndarray
    """[tasks, tasks], over all layers and terms as one vector."""
    cosine_per_layer: dict[Key, np.ndarray]
    """[layers, tasks, tasks] for each (stack, term)."""

    @property
    def angle_degrees(self) -> np.ndarray:
        """[tasks, tasks]"""
        return np.degrees(np.arccos(self.cosine))

    @property
    def angle_degrees_per_layer(self) -> dict[Key, np.ndarray]:
        """[layers, tasks, tasks] for each (stack, term)."""
        return {key: np.degrees(np.arccos(cosine)) for key, cosine in self.cosine_per_layer.items()}


@dataclass(frozen=True)
class Comparison:
    """Several fine-tunes of one base, two by two."""

    labels: tuple[str, ...]
    """Task of each snapshot, with the seed or a number where that is not enough."""
    differences: Similarity
    """Of ``post - pre``: what the tasks taught. This is what merging adds up."""
    values: Similarity
    """Of ``post``: as the paper words its 0.18, or 79.5 degrees, between b_v "after fine-tuning on SST-2 and
    RTE". As all share ``pre``, it is high wherever little moved.
    """
    sign_conflicts: np.ndarray
    """[tasks, tasks]: of the elements that both moved, the share that they moved in opposite directions."""
    sign_conflicts_per_layer: dict[Key, np.ndarray]
    """[layers, tasks, tasks] for each (stack, term)."""


def compare(snapshots: Sequence[Snapshot], *, terms: Iterable[str] | None = None) -> Comparison:
    """Cosines, angles and sign conflicts between fine-tunes, overall and per layer; trained terms only.

    Raises:
        UserError: as `shared_keys`, or fewer than two snapshots.
    """
    if len(snapshots) < 2:
        raise UserError(f"{len(snapshots)} snapshot(s) to compare", "at least 2")
    keys = shared_keys(snapshots, terms)
    deltas = {key: _differences(snapshots, key) for key in keys}
    posts = {key: np.stack([s.post(*key) for s in snapshots]) for key in keys}
    return Comparison(
        _labels(snapshots),
        _similarity(deltas),
        _similarity(posts),
        _conflicts(_as_one(deltas))[0],
        {key: _conflicts(delta) for key, delta in deltas.items()},
    )


def _as_one(arrays: dict[Key, np.ndarray]) -> np.ndarray:
    """[tasks, 1, elements]: all layers and terms as one layer."""
    return np.concatenate([array.reshape(len(array), 1, -1) for array in arrays.values()], axis=2)


def _similarity(arrays: dict[Key, np.ndarray]) -> Similarity:
    return Similarity(_cosines(_as_one(arrays))[0], {key: _cosines(array) for key, array in arrays.items()})


def _cosines(vectors: np.ndarray) -> np.ndarray:
    """[tasks, layers, width] -> [layers, tasks, tasks]"""
    return np.stack([np.stack([geometry(a, b)["cosine"] for b in vectors], axis=1) for a in vectors], axis=1)


def _conflicts(deltas: np.ndarray) -> np.ndarray:
    """[tasks, layers, width] -> [layers, tasks, tasks]"""
    signs = np.sign(deltas).transpose(1, 0, 2)  # [layers, tasks, width]
    products = signs[:, :, None] * signs[:, None]
    return (products < 0).sum(axis=3) / np.maximum((products != 0).sum(axis=3), 1)


def _labels(snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    labels = [snapshot.meta.task for snapshot in snapshots]
    if len(set(labels)) < len(labels):
        labels = [f"{s.meta.task}, seed {s.meta.seed}" for s in snapshots]
    if len(set(labels)) < len(labels):
        labels = [f"{number}: {label}" for number, label in enumerate(labels, 1)]
    return tuple(labels)
