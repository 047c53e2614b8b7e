"""Results on stdout, as tables or as one JSON document, and the paths that they are written to."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from beft_core.cli import tables
from beft_core.cli.parser.command import OUTPUT
from beft_core.errors import UserError
from beft_core.files.disk import with_room
from beft_core.files.paths import user_path
from beft_core.snapshots.snapshot import SUFFIX, Snapshot, SnapshotMeta, read_snapshot, write_snapshot

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of the signal, as shells have it."""
MAX_NUMBER = 10_000
"""Largest number in a default name: more names of one stem are a slip of the hand."""
MAX_OUT_BYTES = 200
"""Most bytes of a name to write: the temporary file beside it, whose name is longer, must fit too."""

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of tables.", rich_help_panel=OUTPUT)
]
Out = Annotated[
    str | None, typer.Option("--out", metavar="FILE", help=f"Snapshot to write (*{SUFFIX}).", rich_help_panel=OUTPUT)
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace a file that has the default name, instead of adding a number.", rich_help_panel=OUTPUT
    ),
]
Files = Annotated[list[str], typer.Argument(metavar="FILE", help=f"Snapshots (*{SUFFIX}).", show_default=False)]
File = Annotated[str, typer.Argument(metavar="FILE", help=f"A snapshot (*{SUFFIX}).", show_default=False)]


def print_json(document: Any) -> None:
    """Print one JSON document; values that JSON does not have become null."""
    sys.stdout.write(json.dumps(plain(document), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """Turn arrays, tuples and paths into JSON values; numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]], keys: int = 1) -> None:
    """Print a table whose columns of numbers stand to the right.

    ``keys``: how many columns at the left say what a row is, and are repeated where a terminal is too narrow for all.
    """
    say(title)
    for line in table_lines(head, rows, keys):
        sys.stdout.write(f"{line}\n")


def table_lines(head: Sequence[str], rows: Iterable[Sequence[Any]], keys: int = 1) -> list[str]:
    """Write the lines of :func:`print_table`, without its title."""
    # Names in a stranger's file are shown, never interpreted.
    texts = [[printable(number(cell) if isinstance(cell, float) else str(cell)) for cell in row] for row in rows]
    return [*tables.table([*map(printable, head)], texts, tables.width(), keys), ""]


def say(*lines: str) -> None:
    """Print lines of the result, broken between words where a terminal is too narrow."""
    for line in lines:
        for part in tables.wrapped(printable(line)):
            sys.stdout.write(f"{part}\n")


def note(line: str) -> None:
    """Print a line beside the result. Where that cannot be (a log on a full disk), the work goes on without it."""
    with suppress(OSError):
        sys.stderr.write(f"{printable(line)}\n")


def number(value: float | None) -> str:
    """Write a number with four significant digits, without an exponent where that reads well."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
    return f"{value:.2e}"


def percentage(meta: SnapshotMeta) -> str:
    """Write the share of parameters that were trained: ``2,304 of 22,713,216 parameters (0.010 %)``, or words where
    unknown.
    """
    if meta.trained_parameters is None:
        return "unknown number of parameters"
    if not meta.total_parameters:
        return f"{meta.trained_parameters:,} parameters"
    share = 100 * meta.trained_parameters / meta.total_parameters
    return f"{meta.trained_parameters:,} of {meta.total_parameters:,} parameters ({share:.3f} %)"


def out_path(out: str) -> Path:
    """Check that a path can be written, before hours of training. Raises UserError."""
    path = user_path(out, "--out")
    if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
        plain_name = re.sub(r"(\.beft|\.safetensors)+$", "", path.name) or "snapshot"
        raise UserError(
            f"got --out {out}", f"a file name that ends in {SUFFIX}", str(path.with_name(plain_name + SUFFIX))
        )
    if len(os.fsencode(path.name)) > MAX_OUT_BYTES:
        raise UserError(f"got --out {out}", f"a name of at most {MAX_OUT_BYTES} bytes", "a shorter one")
    if path.is_dir():
        raise UserError(f"got --out {out}, which is a folder", "a file")
    folder = path.parent
    if not folder.is_dir():
        raise UserError(f"got --out {out}, whose folder does not exist", "a folder that exists", f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"got --out {out}, whose folder cannot be written", "a folder that you may write to")
    return path


def default_path(name: str, force: bool) -> Path:
    """Choose the path of a default name in the working directory; where it exists and is not forced, it gets a
    number.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    path = out_path(f"{stem}{SUFFIX}")
    if force or not path.exists():
        return path
    numbered = (path.with_name(f"{stem}-{number}{SUFFIX}") for number in range(2, MAX_NUMBER))
    free = next((other for other in numbered if not other.exists()), None)
    if free is None:
        raise UserError(f"got no --out, and {path} exists {MAX_NUMBER:,} times", "a name of your own", "--out FILE")
    return free


def read_all(files: Sequence[str]) -> list[Snapshot]:
    """Read snapshots, in the order of the arguments. Raises UserError."""
    return [read_snapshot(user_path(file, "the file")) for file in files]


def save_trained(path: Path, snapshot: Snapshot, checkpoint: Path | None = None) -> None:
    """Write a snapshot that took long to make: a full disk is waited for, and what is left in the end is told."""
    try:
        with_room(partial(save, path, snapshot), note)
    except UserError:
        if checkpoint is not None and checkpoint.is_file():
            note(f"the fine-tune is kept in {checkpoint}: the same command goes on from there")
        raise


def save(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot and say so."""
    replaced = path.exists()
    write_snapshot(path, snapshot)
    note(f"{'replaced' if replaced else 'wrote'} {path}")


def printable(text: str) -> str:
    """Copy a text without control characters, and only with what the stream's encoding has."""
    clean = "".join(char if char.isprintable() else "�" for char in text)
    encoding = sys.stdout.encoding or "utf-8"
    return clean.encode(encoding, "replace").decode(encoding)
