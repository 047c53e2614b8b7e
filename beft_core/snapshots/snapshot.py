"""Snapshots: the bias terms of a model before and after a fine-tune, in one small file.

A safetensors file of float32 tensors ``{stack}.{term}.pre`` and ``.post`` [layers, width]; optionally
``.fisher`` and ``.fisher_batch`` (before the fine-tune, under a random head: what the scores read) and
``.fisher_tuned`` (at the fine-tuned model, under its trained head: what a Fisher average reads), [layers, width] each,
``.output_change`` [layers] (how far q, k and v moved what their layers compute, on validation examples);
``.steps`` [checkpoints, layers, width] with
``trajectory.step`` [checkpoints], and ``extra.{task}.{part}``. The header's metadata has one key, ``beft``:
JSON of `SnapshotMeta`.

A snapshot comes from a stranger's cluster as often as from this machine, so what is wrong with it is found
when it is opened and told in one line. Only the header is read then; a tensor is read, and checked, when
asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from beft_core.errors import UserError
from beft_core.files.safetensors_file import SafetensorsFile, write_safetensors
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.snapshots.meta import FORMAT_VERSION, HEAD_KINDS, MODES, ModelInfo, SnapshotMeta
from beft_core.terms import STACKS, TERM_KEYS

__all__ = [
    "EXTRA_PARTS",
    "FORMAT_VERSION",
    "HEAD_KINDS",
    "MODES",
    "SUFFIX",
    "Key",
    "ModelInfo",
    "Snapshot",
    "SnapshotMeta",
    "adapter_beside",
    "canonical",
    "fingerprint",
    "read_snapshot",
    "write_snapshot",
]

SUFFIX = ".beft.safetensors"

MAX_HEADER = 4 * 2**20
"""Most bytes of a snapshot's header; a run of 60 epochs needs about 15 kB."""

Key = tuple[str, str]
"""Key of a bias term: (stack, term), such as ("encoder", "v")."""

PARTS: dict[str, int] = {
    "pre": 2,
    "post": 2,
    "fisher": 2,
    "fisher_batch": 2,
    "fisher_tuned": 2,
    "output_change": 1,
    "steps": 3,
}
"""Tensors that a term may have, with their rank."""

EXTRA_PARTS: dict[str, int] = {
    "pooler.bias": 1,  # [width]
    "outside.bias": 1,  # every other bias (LayerNorm of the embeddings, ...), joined in the model's order
    "head.dense.weight": 2,  # [width, width]
    "head.dense.bias": 1,  # [width]
    "head.norm.weight": 1,  # [width]
    "head.norm.bias": 1,  # [width]
    "head.weight": 2,  # [classes, width]; one row for a regression
    "head.bias": 1,  # [classes]
}
"""Tensors that a task needs beyond the bias terms to be evaluated again, with their ranks."""

STEP = "trajectory.step"

_CANONICAL = {key: i for i, key in enumerate((stack, term) for stack in STACKS for term in TERM_KEYS)}


def canonical(keys: Iterable[Key]) -> list[Key]:
    """Sort keys in the order of stacks and terms that every table and hash uses."""
    return sorted(keys, key=_CANONICAL.__getitem__)


def fingerprint(pre: Mapping[Key, np.ndarray]) -> str:
    """Compute the SHA-256 over pre-trained float32 biases in canonical order (stack, term, layer): names a base
    model.
    """
    digest = hashlib.sha256()
    for key in canonical(pre):
        digest.update(np.asarray(pre[key], dtype="<f4", order="C").tobytes())
    return digest.hexdigest()


def weights_fingerprint(rows: Iterable[np.ndarray]) -> str:
    """Compute the SHA-256 over rows of a model's matrices, float32 each: names a base model that has no biases.

    They are rounded to bfloat16, to the nearest and halves to even, so that it is the same in whichever of the two
    types the model is read. Of each matrix one row is enough: a fine-tune of the model, and also what an adapter of
    low rank adds, changes all of them.
    """
    digest = hashlib.sha256()
    for row in rows:
        bits = np.ascontiguousarray(row, "<f4").view("<u4")
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        digest.update(rounded.astype("<u2").tobytes())
    return digest.hexdigest()


class Snapshot:
    """Bias terms before and after a fine-tune, from a file (`read_snapshot`) or from memory (`build`).

    Every array is float32 and read-only. Asking for one raises UserError if it holds a NaN or an infinity.
    """

    def __init__(
        self,
        meta: SnapshotMeta,
        shapes: Mapping[str, tuple[int, ...]],
        load: Callable[[str], np.ndarray],
        source: str = "snapshot",
    ) -> None:
        """Make a snapshot. `shapes`: tensor name -> shape; `load`: tensor name -> array; `source`: its name in errors.

        Prefer `build` and `read_snapshot`.

        Raises:
            UserError: a name, rank or shape that the format does not allow.
        """
        self.meta = meta
        self.source = source
        self._shapes = dict(shapes)
        self._load = load
        self._keys = _check_shapes(self._shapes, meta)
        self.extra: Mapping[str, np.ndarray] = _Extra(self)
        self.adapter: AdapterFolder | None = None
        """Adapter that the fine-tune trained instead of biases, in memory; :func:`write_snapshot` puts its folder
        beside the file, and a file that is read does not have it.
        """

    @classmethod
    def build(
        cls,
        meta: SnapshotMeta,
        pre: Mapping[Key, np.ndarray],
        post: Mapping[Key, np.ndarray],
        *,
        fisher: Mapping[Key, np.ndarray] | None = None,
        fisher_batch: Mapping[Key, np.ndarray] | None = None,
        fisher_tuned: Mapping[Key, np.ndarray] | None = None,
        output_change: Mapping[Key, np.ndarray] | None = None,
        steps: Mapping[Key, np.ndarray] | None = None,
        trajectory_step: np.ndarray | None = None,
        extra: Mapping[str, np.ndarray] | None = None,
    ) -> Snapshot:
        """Build a snapshot in memory; arrays are copied as float32, so later training steps do not change it.

        Raises:
            UserError: as `read_snapshot`, and at once for values that are not finite.
        """
        parts = {
            "pre": pre,
            "post": post,
            "fisher": fisher,
            "fisher_batch": fisher_batch,
            "fisher_tuned": fisher_tuned,
            "output_change": output_change,
            "steps": steps,
        }
        tensors = {
            f"{stack}.{term}.{part}": _frozen(array, np.float32)
            for part, arrays in parts.items()
            for (stack, term), array in (arrays or {}).items()
        }
        tensors.update((name, _frozen(array, np.float32)) for name, array in (extra or {}).items())
        if trajectory_step is not None:
            tensors[STEP] = _frozen(trajectory_step, np.int64)
        snapshot = cls(meta, {name: array.shape for name, array in tensors.items()}, tensors.__getitem__)
        for name in tensors:
            snapshot._read(name)
        return snapshot

    def keys(self) -> list[Key]:
        """List the keys (stack, term) of every bias term, in canonical order."""
        return list(self._keys)

    def pre(self, stack: str, term: str) -> np.ndarray:
        """Read the values before the fine-tune: float32 [layers, width]."""
        return self._read(f"{stack}.{term}.pre")

    def post(self, stack: str, term: str) -> np.ndarray:
        """Read the values after the fine-tune: float32 [layers, width]."""
        return self._read(f"{stack}.{term}.post")

    def fisher(self, stack: str, term: str, variant: Literal["exact", "batch", "tuned"] = "exact") -> np.ndarray | None:
        """Read the mean squared gradient [layers, width]; None where the snapshot lacks it.

        `exact` over examples and `batch` over batches are from before the fine-tune, `tuned` is at the fine-tuned model
        under its trained head.
        """
        return self._read_optional(f"{stack}.{term}.{'fisher' if variant == 'exact' else f'fisher_{variant}'}")

    def output_change(self, stack: str, term: str) -> np.ndarray | None:
        """Read how far a term moved what its layers compute, relative to it: [layers]; None where it was not measured.

        See :mod:`beft_core.training.scores.output_change`.
        """
        return self._read_optional(f"{stack}.{term}.output_change")

    def with_fisher_tuned(self, fisher: Mapping[Key, np.ndarray]) -> Snapshot:
        """Copy the snapshot with Fisher information at the fine-tuned model: (stack, term) -> [layers, width].

        Raises:
            UserError: a term that the snapshot does not have, another shape, or values that are not finite.
        """
        return self._with("fisher_tuned", fisher)

    def with_output_change(self, change: Mapping[Key, np.ndarray]) -> Snapshot:
        """Copy the snapshot with the output changes of terms: (stack, term) -> [layers]. Raises UserError as
        `with_fisher_tuned`.
        """
        return self._with("output_change", change)

    def with_meta(self, meta: SnapshotMeta) -> Snapshot:
        """Copy the snapshot with other metadata. Raises UserError where the tensors do not fit them."""
        snapshot = Snapshot(meta, self._shapes, self._load, self.source)
        snapshot.adapter = self.adapter
        return snapshot

    def _with(self, part: str, values: Mapping[Key, np.ndarray]) -> Snapshot:
        new = {f"{stack}.{term}.{part}": _frozen(array, np.float32) for (stack, term), array in values.items()}
        shapes = self._shapes | {name: array.shape for name, array in new.items()}
        snapshot = Snapshot(self.meta, shapes, lambda name: new[name] if name in new else self._load(name), self.source)
        snapshot.adapter = self.adapter
        for name in new:
            snapshot._read(name)
        return snapshot

    def steps(self, stack: str, term: str) -> np.ndarray | None:
        """Read the values of a term along the fine-tune: [checkpoints, layers, width]."""
        return self._read_optional(f"{stack}.{term}.steps")

    @property
    def trajectory_step(self) -> np.ndarray | None:
        """Read the optimizer step of each checkpoint: int64 [checkpoints]."""
        return self._read_optional(STEP)

    def tensors(self) -> dict[str, np.ndarray]:
        """Read all tensors now: name -> array."""
        return {name: self._read(name) for name in sorted(self._shapes)}

    def _read_optional(self, name: str) -> np.ndarray | None:
        return self._read(name) if name in self._shapes else None

    def _read(self, name: str) -> np.ndarray:
        if name not in self._shapes:
            held = ", ".join(f"{stack}.{term}" for stack, term in self._keys)
            raise UserError(f"{self.source} has no {name}", f"a term out of: {held or 'none'}")
        array = self._load(name)
        if not np.isfinite(array).all():
            raise UserError(
                f"{self.source}: tensor {name} holds a NaN or an infinite value",
                "finite numbers",
                "a run that did not diverge",
            )
        if name == STEP:
            if (array < 0).any() or (np.diff(array) <= 0).any() or (array != np.floor(array)).any():
                raise UserError(f"{self.source}: tensor {name} is not a list of steps", "whole numbers that increase")
            return array.astype(np.int64)
        if (".fisher" in name or name.endswith(".output_change")) and (array < 0).any():
            raise UserError(f"{self.source}: tensor {name} is negative", "sizes of at least zero")
        return array


class _Extra(Mapping[str, np.ndarray]):
    """Mapping of ``extra.{task}.{part}`` to arrays that are read when asked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._names = sorted(name for name in snapshot._shapes if name.startswith("extra."))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._snapshot._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _frozen(array: np.ndarray, dtype: type) -> np.ndarray:
    copy: np.ndarray = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], meta: SnapshotMeta) -> list[Key]:
    """Check that every name is known and every rank and shape fits the others; return the keys in canonical order."""
    terms: dict[Key, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        if name.startswith("extra."):
            _check_extra(name, shape, shapes, meta)
            continue
        if name == STEP:
            _check_rank(name, shape, 1)
            continue
        stack, term, part = name.split(".") if name.count(".") == 2 else ("", "", "")
        if (stack, term) not in _CANONICAL or part not in PARTS:
            raise UserError(
                f"tensor name {name!r}",
                f"stack.term.part with one of {', '.join(STACKS)}, one of {', '.join(TERM_KEYS)} "
                f"and one of {', '.join(PARTS)}",
            )
        _check_rank(name, shape, PARTS[part])
        terms.setdefault((stack, term), {})[part] = shape
    for (stack, term), parts in terms.items():
        for part in ("pre", "post"):
            if part not in parts:
                raise UserError(f"{stack}.{term} has no {part}", "pre and post of every term")
        for part, shape in parts.items():
            expected = parts["pre"][:1] if PARTS[part] == 1 else parts["pre"]
            if shape[-2:] != expected:
                raise UserError(f"{stack}.{term}.{part} has shape {list(shape)}", f"the pre's {list(expected)}")
        if "steps" in parts and parts["steps"][:1] != shapes.get(STEP):
            raise UserError(f"{stack}.{term}.steps has {parts['steps'][0]} checkpoints", f"as many in {STEP}")
    if STEP in shapes and not any("steps" in parts for parts in terms.values()):
        raise UserError(f"{STEP} without the steps of any term", "both or neither")
    if not terms and not any(name.startswith("extra.") for name in shapes):
        raise UserError("a snapshot without a bias term", "at least one term with pre and post")
    _check_layers(terms, meta)
    for (stack, term), parts in terms.items():
        end = (meta.null_elements or {}).get(term, ((0, 0),))[-1][1]
        if end > parts["pre"][1]:
            raise UserError(f"null elements up to {end} of {stack}.{term}", f"at most its width, {parts['pre'][1]}")
    return canonical(terms)


def _check_layers(terms: Mapping[Key, Mapping[str, tuple[int, ...]]], meta: SnapshotMeta) -> None:
    """Check that all terms of a stack span its layers; the metadata counts those of the first stack."""
    for stack in STACKS:
        counts = {term: parts["pre"][0] for (s, term), parts in terms.items() if s == stack}
        expected = meta.model.layers if len({s for s, _ in terms}) == 1 else next(iter(counts.values()), 0)
        for term, count in counts.items():
            if count != expected:
                raise UserError(f"{stack}.{term} has {count} layers", f"{expected}, as its model")


def _check_rank(name: str, shape: tuple[int, ...], rank: int) -> None:
    if len(shape) != rank or not all(shape):
        raise UserError(f"tensor {name} has shape {list(shape)}", f"{rank} dimension(s), none of them zero")


def _check_extra(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], meta: SnapshotMeta) -> None:
    part = next((part for part in EXTRA_PARTS if name.endswith(f".{part}")), None)
    task = name[len("extra.") : -len(part) - 1] if part else ""
    if part is None or not task or not task.isprintable() or len(task) > 300:
        raise UserError(f"tensor name {name!r}", f"extra.task.part, with a part out of {', '.join(EXTRA_PARTS)}")
    _check_rank(name, shape, EXTRA_PARTS[part])
    if part == "head.bias" and shape[:1] != shapes.get(f"extra.{task}.head.weight", shape)[:1]:
        raise UserError(f"tensor {name} has {shape[0]} values", "as many as the head's weight has rows")
    labels = meta.heads.get(task, {}).get("labels")
    if part == "head.weight" and labels and shape[0] != len(labels):
        raise UserError(f"tensor {name} has {shape[0]} rows", f"one for each of the {len(labels)} labels")


def read_snapshot(source: str | os.PathLike[str] | bytes) -> Snapshot:
    """Open a snapshot file, or the bytes of one.

    Raises:
        UserError: anything that is not a well-formed snapshot, naming what is wrong and what was expected.
    """
    file = SafetensorsFile(source, max_header=MAX_HEADER)
    if "beft" not in file.metadata:
        raise UserError(
            f"{file.name}: not a snapshot (no beft metadata)",
            f"a *{SUFFIX} file",
            "beft extract, if this is a whole model",
        )
    for name, info in file.tensors.items():
        if info.dtype != "F32" and not (name == STEP and info.dtype == "I64"):
            raise UserError(f"{file.name}: tensor {name!r} has dtype {info.dtype}", "F32")
    try:
        meta = SnapshotMeta.from_json(file.metadata["beft"])
        return Snapshot(meta, {name: info.shape for name, info in file.tensors.items()}, file.read, file.name)
    except UserError as error:
        raise UserError(f"{file.name}: {error.got}", error.expected, error.try_) from None


def adapter_beside(path: str | os.PathLike[str]) -> Path:
    """Name the folder of the adapter that belongs to a snapshot's file: ``x.beft.safetensors`` has ``x.adapter``."""
    file = Path(path)
    return file.with_name(f"{file.name.removesuffix(SUFFIX)}.adapter")


def write_snapshot(path: str | os.PathLike[str], snapshot: Snapshot) -> None:
    """Write a snapshot atomically; equal snapshots give equal bytes. What was computed in float64 is rounded.

    The adapter that it has in memory is written first, beside it (:func:`adapter_beside`).

    Raises:
        UserError: the file cannot be written, or a tensor is not finite.
    """
    tensors = {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in snapshot.tensors().items()
    }
    if snapshot.adapter is not None:
        snapshot.adapter.write(adapter_beside(path))
    write_safetensors(path, tensors, {"beft": snapshot.meta.to_json()})
