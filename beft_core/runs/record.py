"""Schema of the files of a run folder. Whatever differs from it makes a run damaged, and never reaches a page."""

from __future__ import annotations

import json
from typing import Any

from beft_core.errors import UserError
from beft_core.files.json_shape import Anything, Flag, ListOf, Maybe, Number, OneOf, Shape, Table, Text, check
from beft_core.files.safe_io import parse_json
from beft_core.runs.kinds import KINDS

CONFIG_BYTES = 2**20
RESULT_BYTES = 16 * 2**20
METRICS_BYTES = 16 * 2**20
"""Most bytes of measurements that are read; a week of fine-tuning leaves about one million."""

_TIME = Number(0, 8e9)
"""Time in Unix seconds, up to the year 2223: pandas counts nanoseconds until 2262."""
_COUNT = Number(0, 2**53, whole=True)
_SENTENCE = Maybe(Text(4000))
_VALUE = Maybe(Number())
"""Measurement; null where it was not finite."""

_NAMES = ListOf(Text(), 256)
CONFIG = Table(
    {
        "kind": OneOf(KINDS),
        "config": Table(
            optional={
                "task": Maybe(Text()),
                "tasks": Maybe(_NAMES),
                "train_file": Maybe(Text(4096)),
                "mode": Maybe(Text()),
                "terms": Maybe(_NAMES),
                "method": Maybe(Text()),
                "seed": Maybe(Number(0, 2**64 - 1, whole=True)),
                "device": Text(),
                "settings": Maybe(Table(optional={"device": Text()}, others=Anything())),
            },
            others=Anything(),
        ),
    },
    others=Anything(),
)
"""Schema of ``config.json``: the fields that every kind of run is listed by; what its own configuration asks for
besides, it checks itself.
"""

RESULT = Table(
    optional={
        "selected": Maybe(Table(others=Maybe(Text()))),
        "runs": _COUNT,
        "failed": _COUNT,
        "stopped": Flag(),
    },
    others=Anything(depth=8),
)
"""Schema of ``result.json``."""

_EXTRA: dict[str, Shape] = {"type": Text(), "seconds": Number()}
RECORDS: dict[str, Table] = {
    "stage": Table({"name": Text(4000)}, {**_EXTRA, "total": Maybe(_COUNT)}),
    "step": Table({"step": _COUNT, "total": _COUNT, "loss": ListOf(_VALUE)}, _EXTRA),
    "epoch": Table({}, {**_EXTRA, "step": _COUNT, "run": _COUNT}, others=_VALUE),
    "scores": Table({"step": _COUNT, "scores": Table(others=Table(others=Number()))}, _EXTRA),
    "message": Table({"text": Text(10_000)}, _EXTRA),
}
"""Schemas of the lines of ``metrics.jsonl`` by their type. Types of later versions are left alone, in the bounds of any
JSON.
"""

_UNKNOWN = Table(optional={"type": Text()}, others=Anything())


def record_of(line: bytes) -> dict[str, Any]:
    """Read one line of ``metrics.jsonl``.

    Raises:
        UserError: not what a run writes.
    """
    record = parse_json(line, "metrics.jsonl")
    kind = record.get("type")
    shape: Shape = (RECORDS.get(kind) if isinstance(kind, str) else None) or _UNKNOWN
    check(record, shape, "metrics.jsonl: a line")
    return record


def damage_of(line: bytes) -> str | None:
    """Say what is wrong with a line of ``metrics.jsonl``; None if nothing is. One that a crash cut off is no damage: it
    is left out.
    """
    try:
        json.loads(line)
    except ValueError:
        return None
    except RecursionError:
        pass
    try:
        record_of(line)
    except UserError as error:
        return str(error)
    return None
