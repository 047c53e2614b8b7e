"""Program of the process that unpacks a stranger's Parquet file, and dies of it if it must; it is run by its path.

A file of 3 kB can stand for gigabytes: a dictionary repeats one long text a million times, a compressed page unpacks a
thousandfold, and what the file says of its own size is only what it says. So the work is done here, where memory and
processor time are limited, and only what was counted leaves, as an Arrow stream on stdout. A refusal is a JSON object
on stderr: ``{"got": ..., "expected": ...}``, or ``{"columns": [...]}`` where a wanted column is missing or is there
twice.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

try:
    import resource
except ImportError:  # Windows limits no process like this; there only the time is limited, by the parent
    resource = None  # type: ignore[assignment]

ROWS_AT_ONCE = 8192
"""Rows of a batch: of a table of 100,000 rows and 130 columns, batches of 1,024 take three times as long. What one may
take is bounded by the limit of memory.
"""
BATCH_BYTES = 16 * 2**20
"""Bytes above which batches leave in pieces: the parent holds one at a time."""
PIECE = 16
"""Number of rows of a piece of a batch."""
KEPT_METADATA = b"huggingface"
"""Key of the one entry of a schema's metadata that anyone reads: names of classes."""

REFUSED = 3


class Refused(Exception):
    """Exception that ends the program with a JSON object on stderr."""


def main(request: dict[str, Any], out: IO[bytes]) -> None:
    """Write the wanted columns of ``request["path"]`` to ``out``, at most ``rows`` rows and ``bytes`` decoded bytes.

    ``columns``: those wanted, None: all. ``optional``: also wanted where they are there. ``head``: stop after so many
    rows. ``most_columns``, ``value``: most columns of a file that is wanted as a whole, and most bytes of one text.
    """
    with pq.ParquetFile(request["path"]) as file:
        schema = file.schema_arrow
    names, wanted = list(schema.names), request["columns"]
    if wanted is None:
        wanted = names
        if len(wanted) > request["most_columns"]:
            raise Refused({"got": f"got {len(wanted):,} columns", "expected": f"at most {request['most_columns']:,}"})
    else:
        wanted = [*wanted, *(name for name in request["optional"] if name in names)]
    if any(names.count(name) != 1 for name in wanted):
        raise Refused({"columns": [name[:300] for name in names[:1000]]})
    types = {name: _plain(schema.field(name).type) for name in wanted}
    read = [name for name in wanted if _is_simple(types[name])]
    if request["columns"] is not None and (others := [name for name in wanted if name not in read]):
        kind = str(types[others[0]])[:80]
        raise Refused({"got": f"got {kind} in the column {others[0][:80]!r}", "expected": "text or numbers"})
    about = {k: v for k, v in (schema.metadata or {}).items() if k == KEPT_METADATA and len(v) < 2**20}
    target = pa.schema([(name, types[name] if name in read else pa.string()) for name in wanted], metadata=about)
    texts = [name for name in read if _is_text(types[name])]
    with (
        pq.ParquetFile(request["path"], read_dictionary=texts) as file,
        pa.ipc.new_stream(out, target) as stream,
    ):
        for batch in _counted(file, read, request):
            columns = dict(zip(read, map(_decoded, batch.columns), strict=True))
            # Lists, dates and the like are of no use in a task: their kind is shown, and they are not even read.
            named = {
                name: pa.array([str(types[name])[:80]] * batch.num_rows, pa.string())
                for name in wanted
                if name not in read
            }
            stream.write_batch(pa.RecordBatch.from_arrays([(columns | named)[name] for name in wanted], schema=target))


def _limit(memory: int, seconds: int) -> None:
    """Limit this process to so many bytes more than it has now, and so many seconds of processor time."""
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        memory += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux: the space of the libraries counts too
        memory += 2 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _counted(file: pq.ParquetFile, wanted: list[str], request: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    """Yield batches still in their dictionaries, each counted as what it will be before it is made that."""
    rows = size = 0
    at_once = min(ROWS_AT_ONCE, request["head"] or ROWS_AT_ONCE)
    for batch in file.iter_batches(batch_size=at_once, columns=wanted, use_threads=False):
        batch = batch.select(wanted)
        decoded = sum(_size(name, column, request["value"]) for name, column in zip(wanted, batch.columns, strict=True))
        rows, size = rows + batch.num_rows, size + decoded
        if rows > request["rows"]:
            raise Refused({"got": f"got more than {request['rows']:,} rows", "expected": "fewer"})
        if size > request["bytes"]:
            raise Refused(
                {"got": f"got more than {request['bytes'] >> 20:,} MB when unpacked", "expected": "a smaller table"}
            )
        step = batch.num_rows if decoded <= BATCH_BYTES else PIECE
        for start in range(0, batch.num_rows, max(1, step)):
            yield batch.slice(start, step)
        if request["head"] and rows >= request["head"]:
            return


def _size(name: str, column: pa.Array, most: int) -> int:
    """Count the bytes of a column when decoded; from a dictionary only the lengths are looked up."""
    if isinstance(column, pa.DictionaryArray) and _is_text(column.type.value_type):
        lengths = pc.binary_length(column.dictionary).take(column.indices)
    elif _is_text(column.type):
        lengths = pc.binary_length(column)
    elif isinstance(column, pa.DictionaryArray):
        return column.indices.nbytes + len(column) * max(8, column.dictionary.nbytes // max(1, len(column.dictionary)))
    else:
        return column.nbytes
    longest = pc.max(lengths).as_py() or 0
    if longest > most:
        raise Refused(
            {"got": f"got a text of {longest:,} bytes in the column {name[:80]!r}", "expected": f"at most {most:,}"}
        )
    return (pc.sum(lengths).as_py() or 0) + 8 * len(column)


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in kinds)


def _is_simple(kind: pa.DataType) -> bool:
    """Whether a value is a text, a number, true, false or nothing."""
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return _is_text(kind) or any(test(kind) for test in numbers)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def answer(request: dict[str, Any], out: IO[bytes], err: IO[bytes]) -> int:
    """Do the work, write a refusal to ``err``, and return the exit status."""
    try:
        main(request, out)
        return 0
    except Refused as refused:
        said = refused.args[0]
    except MemoryError:  # also Arrow's own
        said = {"memory": True}
    except BrokenPipeError:
        return REFUSED  # the parent has what it wanted
    except Exception as error:  # a damaged file raises any of a dozen types
        said = {"got": f"got no readable Parquet ({str(error)[:300]})", "expected": "a Parquet file"}
    err.write(json.dumps(said).encode())
    err.flush()
    return REFUSED


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    _limit(asked["memory"], asked["seconds"])
    sys.exit(answer(asked, sys.stdout.buffer, sys.stderr.buffer))
