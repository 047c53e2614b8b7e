"""File of evaluations that were made before: ``evaluations.json``, such as beside the sample snapshots.

It holds ``{"evaluations": [{"config": ..., "result": ...}, ...]}``, each pair as a run's ``config.json`` and
``result.json`` have them, and is read without PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.safe_io import atomic_write, parse_json
from beft_core.merging.config import MergeConfig
from beft_core.merging.result import MergeResult

NAME = "evaluations.json"
MAX_BYTES = 4 * 2**20
"""Most bytes of the file; an evaluation of two tasks with a plane of 49 points has about 20 kB."""


@dataclass(frozen=True)
class Evaluated:
    """Evaluation of a merge: what was asked and what came of it."""

    config: MergeConfig
    result: MergeResult


def read_evaluations(folder: Path) -> tuple[Evaluated, ...]:
    """Read the evaluations in a folder; none where there is no such file.

    Raises:
        UserError: too large, not readable, or anything in it is not what an evaluation writes.
    """
    path = folder / NAME
    if not path.is_file():
        return ()
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{NAME}: {size:,} bytes", f"at most {MAX_BYTES:,}")
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {NAME}: {error.strerror}", "a readable JSON file") from None
    entries = parse_json(text, NAME).get("evaluations")
    if not isinstance(entries, list):
        raise UserError(f"{NAME} without a list of evaluations", '{"evaluations": [...]}')
    return tuple(_entry(entry, number) for number, entry in enumerate(entries, 1))


def _entry(entry: object, number: int) -> Evaluated:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), dict) for name in ("config", "result")):
        raise UserError(f"{NAME}, entry {number}: no config and result", "both, as a run has them")
    try:
        return Evaluated(MergeConfig.from_dict(entry["config"]), MergeResult.from_dict(entry["result"]))
    except UserError as error:
        raise UserError(f"{NAME}, entry {number}: {error.got}", error.expected) from None


def write_evaluations(folder: Path, found: Sequence[Evaluated]) -> None:
    """Write the file of a folder anew."""
    entries = [{"config": one.config.to_dict(), "result": one.result.to_dict()} for one in found]
    text = json.dumps({"evaluations": entries}, allow_nan=False, ensure_ascii=False)
    atomic_write(folder / NAME, [text.encode()])
