"""Predictions of a run for its validation examples: ``predictions.parquet`` in its folder, beside the snapshot.

An example is known by its key (:func:`beft_core.tasks.predictions.example_keys`), and its text is not stored: it may be
private, and it is found again in the task, or in the user's own table where that is unchanged. Files come from
strangers too, in a folder that was copied here: they are read in a process of their own whose memory is limited
(:mod:`beft_core.files.parquet`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from beft_core.errors import UserError
from beft_core.files import parquet
from beft_core.files.safe_io import atomic_write
from beft_core.runs.kinds import PREDICTIONS as FILE
from beft_core.tasks.predictions import Predictions

__all__ = ["FILE", "read_predictions", "write_predictions"]

MAX_ROWS, MAX_BYTES = 2_000_000, 256 * 2**20
MAX_OUTPUTS = 1000
"""Most rows, bytes when unpacked, and outputs of a head that are read."""
_KEYS = ("model", "task", "set", "key", "label")
_GOLDS = "golds"
"""Column of all right candidates, such as ``3 0 7``, in files of examples that have several; None: the label alone."""
_GROUP = "group"
"""Column of the number of the text that each example is about, in files where several are about one; None: of a task
where each has its own.
"""


def write_predictions(path: Path, several: Sequence[Predictions]) -> None:
    """Write the predictions of a run, whole or not at all. Raises UserError where the file cannot be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    outputs = max(one.logits.shape[1] for one in several)

    def column(at: int) -> pa.Array:
        parts = [
            pa.array(one.logits[:, at]) if at < one.logits.shape[1] else pa.nulls(len(one), pa.float32())
            for one in several
        ]
        return pa.concat_arrays(parts)

    def repeated(texts: list[str], counts: list[int]) -> pa.Array:
        return pa.array([text for text, count in zip(texts, counts, strict=True) for _ in range(count)], pa.string())

    counts = [len(one) for one in several]
    golds = pa.array(
        [" ".join(map(str, right)) if right else None for one in several for right in (one.golds or ((),) * len(one))],
        pa.string(),
    )
    groups = pa.concat_arrays(
        [pa.nulls(len(one), pa.int64()) if one.groups is None else pa.array(one.groups) for one in several]
    )
    table = pa.table(
        {
            "model": repeated([one.model for one in several], counts),
            "task": repeated([one.task for one in several], counts),
            "set": pa.array([name for one in several for name in (one.sets or ("",) * len(one))], pa.string()),
            "key": pa.array(np.concatenate([one.keys for one in several])),
            "label": pa.array(np.concatenate([one.labels for one in several])),
            **({_GOLDS: golds} if golds.null_count < len(golds) else {}),
            **({_GROUP: groups} if groups.null_count < len(groups) else {}),
            **{f"logit_{at}": column(at) for at in range(outputs)},
        }
    )
    held = io.BytesIO()
    pq.write_table(table, held, compression="zstd")
    atomic_write(path, [held.getvalue()])


def read_predictions(path: Path) -> list[Predictions]:
    """Read the predictions of a run, one for each model and task.

    Raises:
        UserError: no such file, or one that a run would not write.
    """
    if not path.is_file():
        raise UserError(f"{path.name}: not there", "a run that stored its predictions")
    limits = parquet.Limits(MAX_ROWS, MAX_BYTES, len(_KEYS) + 2 + MAX_OUTPUTS)
    columns: dict[str, list[np.ndarray]] = {}
    with parquet.opened(path, None, limits) as (schema, batches):
        names = list(schema.names)
        known = (*_KEYS, *(name for name in (_GOLDS, _GROUP) if name in names))
        logits = [f"logit_{at}" for at in range(len(names) - len(known))]
        if sorted(names) != sorted([*known, *logits]) or not logits:
            raise UserError(f"{path.name}: got the columns {', '.join(names)[:200]}", ", ".join((*_KEYS, "logit_0 …")))
        for batch in batches:
            for name, values in zip(names, batch.columns, strict=True):
                columns.setdefault(name, []).append(values.to_numpy(zero_copy_only=False))
    if not columns:
        raise UserError(f"{path.name}: got no rows", "a row for each example")
    found = {name: np.concatenate(parts) for name, parts in columns.items()}
    try:
        keys = found["key"].astype(np.int64, casting="same_kind")
        labels = found["label"].astype(np.float64)
        group = np.full(len(keys), np.nan) if _GROUP not in found else found[_GROUP].astype(np.float64)
        matrix = np.stack([found[name].astype(np.float32) for name in logits], axis=1)
    except (TypeError, ValueError):
        raise UserError(f"{path.name}: got other kinds of columns", "numbers in key, label, group and logits") from None
    owner = [(str(model), str(task)) for model, task in zip(found["model"], found["task"], strict=True)]
    right_of: list[tuple[int, ...]] = [()] * len(owner)
    if _GOLDS in found:
        right_of = _golds(found[_GOLDS], len(logits), path.name)
    groups: dict[tuple[str, str], list[int]] = {}
    for at, name in enumerate(owner):
        groups.setdefault(name, []).append(at)
    several = []
    for (model, task), rows in groups.items():
        own = matrix[rows]
        used = np.asarray(~np.isnan(own).all(axis=0))
        outputs = int(used.sum())
        sets = tuple(str(found["set"][at]) for at in rows)
        right = tuple(right_of[at] for at in rows)
        one = Predictions(
            task,
            keys[rows],
            labels[rows],
            own[:, :outputs],
            sets if any(sets) else (),
            right if any(right) else None,
            _groups(group[rows], path.name),
            model,
        )
        if (
            not used[:outputs].all()
            or not outputs
            or not np.isfinite(one.logits).all()
            or not np.isfinite(one.labels).all()
        ):
            raise UserError(f"{path.name}: got outputs or labels that are not finite", "finite numbers")
        if len(np.unique(one.keys)) != len(one):
            raise UserError(f"{path.name}: got an example twice", "each once")
        several.append(one)
    return several


def _groups(column: np.ndarray, name: str) -> np.ndarray | None:
    """Read the numbers of the texts that a task's examples are about; None where there are none.

    Raises UserError for anything else than whole numbers.
    """
    if np.isnan(column).all():
        return None
    if not (np.abs(column) < 2**53).all() or (column % 1 != 0).any():
        raise UserError(f"{name}: got texts without a number, or by a fraction", "whole numbers")
    return column.astype(np.int64)


def _golds(column: np.ndarray, outputs: int, name: str) -> list[tuple[int, ...]]:
    """Read the numbers of the right candidates of each row; empty where the label alone is right.

    Raises UserError for anything else than numbers of outputs.
    """
    found: list[tuple[int, ...]] = []
    for cell in column.tolist():
        words = [] if cell is None else str(cell).split()
        if not all(word.isascii() and word.isdigit() and len(word) < 5 and int(word) < outputs for word in words):
            raise UserError(f"{name}: got the right candidates {str(cell)[:40]!r}", f"numbers below {outputs}")
        found.append(tuple(map(int, words)))
    return found
