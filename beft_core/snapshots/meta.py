"""Metadata of a snapshot: which model, task and run it comes from; every field has one rule."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from itertools import combinations
from typing import Any

from beft_core.errors import UserError
from beft_core.files.safe_io import parse_json
from beft_core.methods import METHODS, NOT_TRAINED
from beft_core.snapshots.null_elements import is_ranges
from beft_core.terms import TERM_KEYS

FORMAT_VERSION = 1

MODES = (*METHODS, *NOT_TRAINED)
HEAD_KINDS = ("classification", "regression", "choice", "text")
"""Kinds of labels; the last two are those of prompts, which need no head."""


Rule = tuple[str, Callable[[Any], bool]]
"""Rule of a field: (what is expected, whether a value is that)."""


def _text(limit: int = 300) -> Rule:
    return (
        f"a text of at most {limit} printable characters",
        lambda v: isinstance(v, str) and len(v) <= limit and v.isprintable(),
    )


def _count(low: int = 0) -> Rule:
    return f"a whole number, at least {low}", lambda v: type(v) is int and low <= v < 2**53


def _or_none(rule: Rule) -> Rule:
    return f"{rule[0]}, or null", lambda v: v is None or rule[1](v)


def _among(choices: Iterable[str]) -> Rule:
    known = tuple(choices)
    return f"one of {', '.join(known)}", lambda v: isinstance(v, str) and v in known


def _distinct(what: str, rule: Rule) -> Rule:
    return (
        f"distinct {what}",
        lambda v: isinstance(v, tuple) and all(map(rule[1], v)) and len(set(v)) == len(v),
    )


def _is_plain(value: Any, depth: int = 8) -> bool:
    """Whether a value is JSON that any program can show: finite numbers, texts, and not too deep."""
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(k, str) and _is_plain(v, depth - 1) for k, v in value.items())
    if isinstance(value, list | tuple):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < 2**63)


def _is_epoch(value: Any) -> bool:
    """Whether a value is the record of an epoch: {"epoch": 1, "train_loss": 0.4, "accuracy": 0.8}."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and (number is None or (isinstance(number, int | float) and _is_plain(number)))
        for name, number in value.items()
    )


def _is_constant(value: Any) -> bool:
    """Whether a value is the record of a constant answer: {"value": 0.51, "examples": 872}."""
    return (
        isinstance(value, dict)
        and set(value) == {"value", "examples"}
        and isinstance(value["value"], int | float)
        and not isinstance(value["value"], bool)
        and math.isfinite(value["value"])
        and _count(1)[1](value["examples"])
    )


def _is_head(value: Any) -> bool:
    labels = value.get("labels") if isinstance(value, dict) else ()
    return (
        _is_plain(value)
        and isinstance(value, dict)
        and value.get("kind") in HEAD_KINDS
        and (labels is None or (isinstance(labels, list | tuple) and all(isinstance(x, str) for x in labels)))
        and _are_columns(value.get("columns"))
        and _or_none(_text())[1](value.get("objective"))
    )


def _are_columns(value: Any) -> bool:
    """{"text": "review", "text_pair": None, "label": "stars"}, three different names; None where there are none."""
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {"text", "text_pair", "label"}:
        return False
    names = [name for key, name in value.items() if name is not None or key != "text_pair"]
    return all(map(_text()[1], names)) and len(set(names)) == len(names)


_TABLE: Rule = ("a table of plain JSON values", lambda v: isinstance(v, dict) and _is_plain(v))
_TERMS = _distinct(f"terms out of {', '.join(TERM_KEYS)}", _among(TERM_KEYS))

_HASH: Rule = (
    "64 hexadecimal digits",
    lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v) is not None,
)
_MODEL_RULES: dict[str, Rule] = {
    "id": _text(),
    "revision": _or_none(_text()),
    "architecture": _text(),
    "layers": _count(1),
    "hidden_size": _count(1),
    "fingerprint": _HASH,
    "weights": _or_none(_HASH),
    "folder": _or_none(_text(4096)),
}

_META_RULES: dict[str, Rule] = {
    "model": ("a table that describes the model", lambda v: isinstance(v, ModelInfo)),
    "task": _text(),
    "regime": _or_none(_text()),
    "n_train": _or_none(_count()),
    "mode": (f"one of {', '.join(MODES)}", lambda v: isinstance(v, str) and (v in METHODS or v in NOT_TRAINED)),
    "trained_terms": _TERMS,
    "layers": _or_none(_distinct("layer numbers", _count())),
    "hyperparameters": _TABLE,
    "seed": _or_none(_count()),
    "metric": _or_none(_text()),
    "metrics": (
        "a list of tables of finite numbers, one per epoch",
        lambda v: isinstance(v, tuple) and all(map(_is_epoch, v)),
    ),
    "constant_answer": _or_none(('{"value": a finite number, "examples": how many}', _is_constant)),
    "null_terms": _TERMS,
    "null_elements": (
        f"a table of terms out of {', '.join(TERM_KEYS)} with ranges of elements, ascending and apart, or null",
        lambda v: v is None or (isinstance(v, dict) and all(t in TERM_KEYS and is_ranges(r) for t, r in v.items())),
    ),
    "trained_parameters": _or_none(_count()),
    "total_parameters": _or_none(_count()),
    "versions": (
        "a table of texts",
        lambda v: isinstance(v, dict) and all(isinstance(x, str) for kv in v.items() for x in kv),
    ),
    "device": _or_none(_text()),
    "wall_seconds": _or_none(
        (
            "seconds, not negative",
            lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < math.inf,
        )
    ),
    "heads": (
        f"a table of heads, each with a kind ({' or '.join(HEAD_KINDS)}), labels and columns",
        lambda v: isinstance(v, dict) and all(_text()[1](k) and _is_head(h) for k, h in v.items()),
    ),
    "provenance": _TABLE,
}


def _check(values: Any, rules: Mapping[str, Rule], where: str) -> None:
    for name, (expected, holds) in rules.items():
        value = getattr(values, name)
        if not holds(value):
            raise UserError(f"{where}: {name} is {str(value)[:60]!r}", expected)


NO_BIASES = hashlib.sha256(b"").hexdigest()
"""Fingerprint of every model that has no bias term: such models are told apart by their weights."""


@dataclass(frozen=True)
class ModelInfo:
    """Base model that a snapshot belongs to."""

    id: str
    """Id of the model: "bundled", a Hub id, or the name of a folder."""
    revision: str | None
    architecture: str
    """Model type as transformers calls it, such as "bert"."""
    layers: int
    hidden_size: int
    fingerprint: str
    """Hash, by `fingerprint`, of all bias terms that the base model has."""
    folder: str | None = None
    """Absolute path of the folder that held the model, on the machine of the fine-tune."""
    weights: str | None = None
    """Hash, by `weights_fingerprint`, of rows of the matrices of a base model that has no biases; None: it has some, or
    nobody has looked, as in files of before the field.
    """

    def __post_init__(self) -> None:
        _check(self, _MODEL_RULES, "model")

    @property
    def base(self) -> tuple[object, ...]:
        """Key that fine-tunes of one base model share: the fingerprint of its biases; of a model that has none, whose
        fingerprint is that of every such model, its architecture, its size and what is known of its weights.

        Whether two are of one base, as far as is known, says `shares_base`.
        """
        if self.fingerprint == NO_BIASES:
            return self.architecture, self.layers, self.hidden_size, self.weights
        return (self.fingerprint,)

    def shares_base(self, other: ModelInfo) -> bool:
        """Say whether two name one base model, as far as is known: of models without biases whose weights nobody has
        looked at, whether their architecture and size are the same.
        """
        unknown = self.fingerprint == NO_BIASES and None in (self.weights, other.weights)
        if unknown and other.fingerprint == NO_BIASES:
            return self.base[:-1] == other.base[:-1]
        return self.base == other.base

    @property
    def digest(self) -> tuple[str, str | None]:
        """What the hash is of that tells this base model from others, in words, and the hash; None: nobody took one."""
        if self.fingerprint == NO_BIASES:
            return "base weights (SHA-256 of rows)", self.weights
        return "base biases (SHA-256)", self.fingerprint

    @property
    def told_by(self) -> str:
        """Name, in the plural, what this base model is told from others by."""
        return "weights" if self.fingerprint == NO_BIASES else "biases"


def of_two_bases(models: Sequence[ModelInfo]) -> tuple[int, int] | None:
    """Find the positions of two models that do not share a base; None: any two of them do, as far as is known."""
    first_of: dict[object, int] = {}
    for number, model in enumerate(models):
        first_of.setdefault(model.base, number)
    pairs = combinations(first_of.values(), 2)
    return next(((one, other) for one, other in pairs if not models[one].shares_base(models[other])), None)


@dataclass(frozen=True)
class SnapshotMeta:
    """Record of how a snapshot came about. Every field is checked on construction, wherever it comes from.

    Raises:
        UserError: a field of the wrong type, size or vocabulary.
    """

    model: ModelInfo
    task: str
    regime: str | None = None
    n_train: int | None = None
    """Number of training examples."""
    mode: str = "terms"
    trained_terms: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None
    """Numbers of the layers that were trained, from 0; None means all."""
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    metric: str | None = None
    """Name of the primary metric."""
    metrics: tuple[dict[str, float | None], ...] = ()
    """Records of the epochs: {"epoch": 1, "train_loss": 0.6, "accuracy": 0.8}."""
    constant_answer: dict[str, Any] | None = None
    """Primary metric of the best constant answer, and the number of validation examples that it is of: {"value": 0.51,
    "examples": 872}. None in files that do not record it.
    """
    null_terms: tuple[str, ...] = ()
    """Terms certified to have no effect on the base model."""
    null_elements: dict[str, tuple[tuple[int, int], ...]] | None = None
    """Null elements of terms of which only some elements are certified null: [first, end) of those of a layer, the same
    in every layer. None in files that record no certificate of elements.
    """
    trained_parameters: int | None = None
    total_parameters: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    wall_seconds: float | None = None
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Heads by task: {"kind": "classification" or "regression", "labels": [...] or None, ...}; of a user's own table
    also {"columns": {"text": ..., "text_pair": ... or None, "label": ...}}, and of a prompted task, which has no head,
    {"objective": "candidates" or "generation"}.
    """
    provenance: dict[str, Any] = field(default_factory=dict)
    """Sources of a merge or an import."""

    def __post_init__(self) -> None:
        _check(self, _META_RULES, "snapshot")
        if self.layers and max(self.layers) >= self.model.layers:
            raise UserError(f"snapshot: layer {max(self.layers)} was trained", f"0 to {self.model.layers - 1}")

    @property
    def went_on(self) -> tuple[int, int] | None:
        """Steps after which the fine-tune was scored last, and after which it was stopped, amid an epoch: its biases
        are not those that were scored. None where they are.
        """
        scored, steps = (self.metrics[-1].get("step") if self.metrics else None), self.hyperparameters.get("steps")
        if not isinstance(scored, int) or not isinstance(steps, int) or scored >= steps:
            return None
        return scored, steps

    @property
    def final_metrics(self) -> Mapping[str, float | None]:
        """Record of the last epoch; empty where there is none, or where the fine-tune :attr:`went_on` after it."""
        return self.metrics[-1] if self.metrics and self.went_on is None else {}

    def is_prompted(self, task: str) -> bool:
        """Say whether the model's own language-model head answers a task, so that no head was trained for it."""
        return self.heads.get(task, {}).get("objective") is not None

    def to_json(self) -> str:
        """Write canonical JSON: the same metadata gives the same text."""
        table = {"format_version": FORMAT_VERSION, **asdict(self)}
        if self.null_elements is None:
            del table["null_elements"]  # a file of before the field keeps its text, by which merges know it
        if self.constant_answer is None:
            del table["constant_answer"]
        for name in ("folder", "weights"):
            if table["model"][name] is None:
                del table["model"][name]
        return json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> SnapshotMeta:
        """Read the metadata of a file. Unknown extra keys are ignored; an unknown `format_version` is refused.

        Raises:
            UserError: not JSON, another version, a missing or a wrong field.
        """
        table = parse_json(text, "snapshot metadata")
        version = table.get("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise UserError(
                f"snapshot format version {str(version)[:20]}",
                str(FORMAT_VERSION),
                "a newer release of the lab",
            )
        ranges = table.get("null_elements")
        if isinstance(ranges, dict) and all(map(is_ranges, ranges.values())):
            table["null_elements"] = {term: tuple(map(tuple, of_term)) for term, of_term in ranges.items()}
        model = table.get("model")
        if not isinstance(model, dict):
            raise UserError("snapshot metadata without a model", "a table that describes the model")
        return _from_table(cls, {**table, "model": _from_table(ModelInfo, model, "model")}, "snapshot")


def _from_table(kind: type, table: Mapping[str, Any], where: str) -> Any:
    """Read a dataclass from JSON, in which tuples are lists."""
    values = {f.name: table[f.name] for f in fields(kind) if f.name in table}
    missing = [f.name for f in fields(kind) if f.name not in table and f.default is f.default_factory is MISSING]
    if missing:
        raise UserError(f"{where}: no {' or '.join(missing)}", ", ".join(f.name for f in fields(kind)))
    for name in ("trained_terms", "null_terms", "metrics", "layers"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    return kind(**values)
