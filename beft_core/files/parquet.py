"""Reader of Parquet files of strangers by a process of their own whose memory and time are limited.

Nothing that the file says is believed here: :mod:`beft_core.files.parquet_child` unpacks it, counts what comes out, and
sends on what is within the limits.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beft_core.errors import UserError
from beft_core.files.scratch import scratch_file

if TYPE_CHECKING:
    import pyarrow

CHILD = Path(__file__).with_name("parquet_child.py")
MEMORY = 640 * 2**20
"""Most bytes that the process may take beyond its libraries."""
CPU_SECONDS, PATIENCE = 8, 40
"""Most seconds of processor time, and of waiting for the process on a busy machine."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a table when it is unpacked."""

    rows: int
    bytes: int
    """Most bytes of all wanted columns together."""
    columns: int = 1000
    """Most columns of a table that is wanted as a whole."""
    value: int = 2**20
    """Most bytes of one text."""


class MissingColumn(Exception):
    """Error of a wanted column that is not there, or stands there twice; ``columns``: the names that are there."""

    def __init__(self, columns: list[str]) -> None:
        super().__init__(columns)
        self.columns = columns


@contextlib.contextmanager
def opened(
    path: Path, columns: Sequence[str] | None, limits: Limits, *, head: int = 0, optional: Sequence[str] = ()
) -> Iterator[tuple[pyarrow.Schema, Iterator[pyarrow.RecordBatch]]]:
    """Open the schema and the batches of a Parquet file's columns (None: all), texts decoded.

    ``head``: only so many rows. ``optional``: further columns, of those that are there.

    Raises:
        MissingColumn: see there.
        UserError: damaged, or more than the limits, or no room for temporary files; while opening or while the batches
            are read.
    """
    import pyarrow

    request = {
        "path": str(path.absolute()),
        "columns": None if columns is None else list(columns),
        "head": head,
        "optional": list(optional),
        "rows": limits.rows,
        "bytes": limits.bytes,
        "most_columns": limits.columns,
        "value": limits.value,
        "memory": MEMORY,
        "seconds": CPU_SECONDS,
    }
    # Arrow's own allocators reserve address space in advance, which the limit would count.
    environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    # -P: the working folder may be a stranger's too, and holds no modules.
    command = [sys.executable, "-P", str(CHILD), json.dumps(request)]
    with (
        scratch_file() as told,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told, env=environment
        ) as child,
    ):
        assert child.stdout is not None
        clock = threading.Timer(PATIENCE, child.kill)
        clock.daemon = True
        clock.start()
        try:
            try:
                reader = pyarrow.ipc.open_stream(child.stdout)
            except pyarrow.ArrowException:
                _raise(path, child, told)
                raise
            yield reader.schema, _batches(path, reader, child, told)
        finally:
            clock.cancel()
            child.kill()


def _batches(path: Path, reader: Any, child: subprocess.Popen[bytes], told: Any) -> Iterator[Any]:
    import pyarrow

    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return _raise(path, child, told)
        except (pyarrow.ArrowException, OSError):  # the stream breaks off where the process ended
            _raise(path, child, told)
            raise
        yield batch


def _raise(path: Path, child: subprocess.Popen[bytes], told: Any) -> None:
    """Raise what the process said, or how it ended; return if it came to its end."""
    status = child.wait()
    if status == 0:
        return
    told.seek(0)
    said = told.read(2**20)
    if status > 0 and not said:  # it ended itself, and its last words found no room
        raise UserError(
            f"{path.name}: the process that reads it cannot write a temporary file",
            "a folder for temporary files with room",
            "TMPDIR",
        )
    try:
        words = json.loads(said)
    except ValueError:
        words = {"memory": True}  # killed, or ended by a library that does not know how to run out of memory
    if "columns" in words:
        raise MissingColumn(words["columns"])
    if "memory" in words:
        raise UserError(
            f"{path.name}: got more than {MEMORY // 2**20} MB or {CPU_SECONDS} s of work when it is unpacked",
            "a smaller table",
        )
    raise UserError(f"{path.name}: {words['got']}", words["expected"])
