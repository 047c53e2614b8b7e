"""Reader of a prompted task from one file: SQuAD's and DROP's JSON, ReCoRD's, or a JSONL file of SuperGLUE.

A file is read whole, or split into halves by record (article, passage, line): all questions on a text are on one side.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.files.plain_file import open_plain
from beft_core.tasks.cells import kind_of
from beft_core.tasks.examples import Examples
from beft_core.tasks.prompts.render import examples_of
from beft_core.tasks.sources.nested_records import flat_rows
from beft_core.tasks.sources.records import MAX_NESTED, jsonl_records
from beft_core.tasks.spec import TaskSpec

MAX_BYTES = 256 * 2**20
"""Most bytes of a file; SQuAD's training file has 30 million."""
FORMATS = (".json", ".jsonl")
"""Endings of the names of such files."""
SPLIT_WORDS = "half of its records for training, the others for validation"


def read_split(spec: TaskSpec, path: Path) -> tuple[Examples, Examples]:
    """Read training and validation examples of one file: the records in an order drawn with seed 0, the first half
    (and the middle one) to train on.

    Raises UserError with file, record and question.
    """
    records = _records(spec, path)
    if len(records) < 2:
        raise UserError(f"{path.name}: got {len(records)} record", "two or more, to have some for validation")
    order = np.random.default_rng([0, 0]).permutation(len(records))
    middle = -(-len(records) // 2)
    first, second = (sorted(part.tolist()) for part in (order[:middle], order[middle:]))
    return _examples(spec, path, [records[i] for i in first]), _examples(spec, path, [records[i] for i in second])


def read_whole(spec: TaskSpec, path: Path) -> Examples:
    """Read all examples of a file. Raises UserError with file, record and question."""
    return _examples(spec, path, _records(spec, path))


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError for one that is too large, too nested, no UTF-8 or no JSON."""
    try:
        with open_plain(path, what="a file") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise UserError(f"{path.name}: got {size / 2**20:.0f} MB", f"at most {MAX_BYTES // 2**20} MB")
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"got {path}, which does not exist", "a file", "its full path") from None
    if raw.count(b"{") + raw.count(b"[") > MAX_NESTED:
        raise UserError(f"{path.name}: got more than {MAX_NESTED:,} lists and objects", "fewer")
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name}: got bytes that are not UTF-8, at byte {error.start}", "text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path.name}, row {error.lineno}: got no JSON ({error.msg})", "a JSON file") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists without end
        raise UserError(f"{path.name}: got numbers or lists that are too long or too deep", "a JSON file") from None


def _records(spec: TaskSpec, path: Path) -> list[tuple[str, Any]]:
    """List the records of a file, each with its place: lines of JSONL, articles of SQuAD, passages of DROP."""
    found: list[tuple[str, Any]]
    if path.suffix.lower() == ".jsonl":
        found = [(f"row {number}", record) for number, record in jsonl_records(path)]
    else:
        content = read_json(path)
        if spec.folder == "DROP":
            if not isinstance(content, dict):
                raise UserError(f"{path.name}: got {kind_of(content)}", "an object of passages, as DROP has it")
            found = [(f"passage {name}", passage) for name, passage in content.items()]
        else:
            data = content.get("data") if isinstance(content, Mapping) else None
            if not isinstance(data, list):
                raise UserError(f"{path.name}: got no list 'data'", "an object with articles in 'data', as in SQuAD")
            found = [(f"article {number}", article) for number, article in enumerate(data, start=1)]
    if not found:
        raise UserError(f"{path.name}: got no records", f"the examples of {spec.title}")
    return found


def _examples(spec: TaskSpec, path: Path, records: list[tuple[str, Any]]) -> Examples:
    def rows() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for place, record in records:
            where = f"{path.name}, {place}"
            try:
                for inside, row in flat_rows(spec.folder, record):
                    yield f"{where}{inside}", row
            except UserError as error:
                raise UserError(f"{where}{error.got}", error.expected, error.try_) from None

    return examples_of(spec, rows(), path.name)
