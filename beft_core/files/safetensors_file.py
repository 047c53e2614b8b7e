"""Reader and writer of safetensors files with numpy alone: what a header claims is checked before a byte of data is
allocated.

Format: 8 bytes little-endian header length, the header (a JSON object: name -> dtype, shape, data_offsets,
and ``__metadata__``), then the data without holes. https://huggingface.co/docs/safetensors#format

The `safetensors` library's errors are not for users, and its numpy half cannot hold bfloat16. This reader
gives one line for any byte string, opens a 13 GB checkpoint in the memory of its header, and reads one tensor
at a time.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.files.safe_io import atomic_write, parse_json

MAX_HEADER = 16 * 2**20
"""Most bytes of a header. A checkpoint of 50 000 tensors needs 6 MB; parsed JSON takes up to twenty times its room."""

MAX_RANK = 32

BLOCK = 2**24
"""Most bytes that are read at once of a tensor which is only copied; a multiple of every element's size."""

DTYPE_BITS: dict[str, int] = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
    "C64": 64,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U64": 64,
    "U32": 32,
    "U16": 16,
    "U8": 8,
    "BOOL": 8,
}
"""Bits per element of every dtype that a safetensors header may name."""

READABLE: dict[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
"""Dtypes that numpy can hold (bfloat16 through its bit pattern), by their names in a header."""

_WRITABLE = {"<f8": "F64", "<f4": "F32", "<i8": "I64"}


@dataclass(frozen=True)
class Piece:
    """Tensor that is to be written, whose bytes are made when their turn comes."""

    dtype: str
    """Name in a header, a key of :data:`DTYPE_BITS`."""
    shape: tuple[int, ...]
    blocks: Callable[[], Iterable[bytes | memoryview]]
    """Gives the bytes, in order, as many as dtype and shape say."""

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return math.prod(self.shape) * DTYPE_BITS[self.dtype] // 8


@dataclass(frozen=True)
class TensorInfo:
    """Row of the header, checked."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    """Offset of the data in bytes from the start of the file."""
    nbytes: int


class SafetensorsFile:
    """Safetensors file or byte string whose header has been validated; tensors are read on demand.

    No file handle is kept: a thousand open snapshots would exhaust them. A read reopens the file and
    refuses it if it is no longer the one that was validated.

    Raises:
        UserError: anything that is not a well-formed safetensors file.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes, *, max_header: int = MAX_HEADER) -> None:
        self._bytes: memoryview | None = None
        self._path: Path | None = None
        if isinstance(source, bytes | bytearray | memoryview):
            self.name = "these bytes"
            self._bytes = memoryview(source)
            self._size = self._bytes.nbytes
        else:
            self.name = str(source)
            self._path = Path(source)
            self._identity = self._stat()
            self._size = self._identity[0]
        self.metadata, self.tensors = _parse_header(self._read_header(max_header), self._size, self.name)

    def read(self, name: str) -> np.ndarray:
        """Read one tensor, and only its bytes: F16, BF16 and F32 become float32, F64 float64, integers stay.

        Raises:
            UserError: no such tensor, a dtype that numpy cannot hold, or the file has changed meanwhile.
        """
        info = self._info(name)
        return self._numbers(name, info, info.nbytes).reshape(info.shape)

    def first_row(self, name: str) -> np.ndarray:
        """Read the first row of a matrix, and only its bytes: its type as :meth:`read` has it, [columns].

        Raises:
            UserError: no matrix, or as :meth:`read`.
        """
        info = self._info(name)
        if len(info.shape) != 2 or not info.shape[0]:
            raise UserError(f"{self.name}: {name} is {list(info.shape)}", "a matrix")
        return self._numbers(name, info, info.nbytes // info.shape[0])

    def _info(self, name: str) -> TensorInfo:
        info = self.tensors.get(name)
        if info is None:
            raise UserError(f"{self.name}: no tensor {name!r}", f"one of {', '.join(list(self.tensors)[:8])}")
        return info

    def _numbers(self, name: str, info: TensorInfo, nbytes: int) -> np.ndarray:
        """Read the first bytes of a tensor as numbers, one after another."""
        if info.dtype not in READABLE:
            raise UserError(f"{self.name}: {name} has dtype {info.dtype}", f"one of {', '.join(READABLE)}")
        values = np.frombuffer(self._pread(info.offset, nbytes), dtype=READABLE[info.dtype])
        if info.dtype == "BF16":  # bfloat16 is the upper half of a float32
            return (values.astype("<u4") << 16).view("<f4")
        return values.astype("<f4") if info.dtype == "F16" else values

    def blocks(self, name: str) -> Iterator[bytes | memoryview]:
        """Read the bytes of one tensor as they are, :data:`BLOCK` at most at a time.

        Raises:
            UserError: no such tensor, or the file has changed meanwhile.
        """
        info = self._info(name)
        for start in range(0, info.nbytes, BLOCK):
            yield self._pread(info.offset + start, min(BLOCK, info.nbytes - start))

    def _read_header(self, max_header: int) -> bytes:
        if self._size < 8:
            raise UserError(f"{self.name}: {self._size} bytes", "a safetensors file (at least 8 bytes)")
        first = bytes(self._pread(0, 8))
        length = int.from_bytes(first, "little")
        if length > min(self._size - 8, max_header):
            if other := _looks_like(first):
                raise UserError(
                    f"{self.name}: not a safetensors file, its first bytes look like {other}",
                    "a safetensors file, which begins with the length of its header",
                )
            raise UserError(
                f"{self.name}: claims a header of {length} bytes",
                f"at most {min(self._size - 8, max_header)} in a file of {self._size} bytes",
                "a complete safetensors file (a torn download, a pickle and a zip look like this)",
            )
        header = bytes(self._pread(8, length))
        if not header.startswith(b"{"):
            raise UserError(f"{self.name}: header does not start with a brace", "a safetensors file")
        return header

    def _pread(self, offset: int, nbytes: int) -> bytes | memoryview:
        if self._bytes is not None:
            return self._bytes[offset : offset + nbytes]
        assert self._path is not None
        try:
            with self._path.open("rb", buffering=0) as file:
                if _identity(os.fstat(file.fileno())) != self._identity:
                    raise UserError(f"{self.name}: changed since it was opened", try_="opening it again")
                file.seek(offset)
                data = _read_fully(file, nbytes)
        except OSError as error:
            raise UserError(f"cannot read {self.name}: {error.strerror}", "a readable file") from None
        if len(data) != nbytes:
            raise UserError(f"{self.name}: ended early", "the bytes that its header promises")
        return data

    def _stat(self) -> tuple[int, ...]:
        assert self._path is not None
        try:
            status = self._path.stat()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot read {self.name}: {reason}", "a safetensors file") from None
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
            raise UserError(f"{self.name}: not a plain file", "a safetensors file")
        return _identity(status)


_OTHERS: dict[bytes, str] = {
    b"PK\x03\x04": "a zip archive, as PyTorch's .bin and .pt files are",
    b"\x80": "a pickle, which is never opened here",
    b"PAR1": "a Parquet table",
    b"\x1f\x8b": "a gzip archive",
}
"""Formats that are mistaken for safetensors, by their first bytes."""


def _looks_like(first: bytes) -> str | None:
    """Say what a file seems to be whose first 8 bytes are no length of a header; None where that cannot be told."""
    if not any(first[4:]):
        return None  # a length, of a header that is torn
    known = next((what for magic, what in _OTHERS.items() if first.startswith(magic)), None)
    if known is not None:
        return known
    decoded = first.decode("utf-8", "ignore")
    whole = len(decoded.encode()) >= 5  # the last character may be cut in two
    text = decoded.removeprefix("\ufeff")
    return f"text ({text!r})" if whole and all(char.isprintable() or char in "\t\r\n" for char in text) else None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)


def _read_fully(file: Any, nbytes: int) -> bytes:
    """Read until all bytes are there: an unbuffered read returns at most 2 GiB at once and may return less."""
    data = file.read(nbytes)
    if len(data) == nbytes or not data:
        return data
    return data + _read_fully(file, nbytes - len(data))


def _parse_header(header: bytes, size: int, name: str) -> tuple[dict[str, str], dict[str, TensorInfo]]:
    """Read the header: check every row, then that the data ranges tile the rest of the file."""
    rows = parse_json(header, f"header of {name}")
    metadata = rows.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UserError(f"{name}: __metadata__ is not a table of texts", "text keys with text values")
    start = 8 + len(header)
    tensors = {key: _tensor_info(key, row, start, name) for key, row in rows.items()}
    end = start
    for key, info in sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].nbytes)):
        if info.offset != end:
            kind = "overlaps the one before" if info.offset < end else "leaves a hole before it"
            raise UserError(f"{name}: tensor {key!r} {kind}", "data without holes or overlaps")
        end = info.offset + info.nbytes
    if end != size:
        raise UserError(f"{name}: tensors end at byte {end} of {size}", "tensors that fill the file exactly")
    return metadata, tensors


def _tensor_info(key: str, row: Any, start: int, name: str) -> TensorInfo:
    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "data_offsets"}:
        raise UserError(f"{name}: tensor {key!r} is not described", "exactly dtype, shape and data_offsets")
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise UserError(f"{name}: tensor {key!r} has dtype {str(dtype)[:40]!r}", f"one of {', '.join(DTYPE_BITS)}")
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        raise UserError(f"{name}: tensor {key!r} has a broken shape", "a list of integers, none negative")
    # Non-zero sizes are bounded too: numpy refuses to reshape nothing to (0, 2**62).
    if math.prod(size or 1 for size in shape) * DTYPE_BITS[dtype] >= 2**60:
        raise UserError(f"{name}: tensor {key!r} claims an impossible size", "a shape that fits the file")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise UserError(f"{name}: tensor {key!r} has broken data_offsets", "two integers, begin and end")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits != 8 * (offsets[1] - offsets[0]):
        raise UserError(
            f"{name}: tensor {key!r} spans {offsets[1] - offsets[0]} bytes",
            f"{bits // 8} for shape {shape} of {dtype}",
        )
    return TensorInfo(dtype, tuple(shape), start + offsets[0], offsets[1] - offsets[0])


def _are_sizes(value: Any) -> bool:
    """Whether a value is a list of integers in 0 .. 2**60; booleans are integers to Python, not to us."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**60 for item in value)


def write_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write float32, float64 and int64 tensors atomically; equal content in any order gives equal bytes.

    Raises:
        UserError: the file cannot be written, or a header larger than what would be read back.
    """
    atomic_write(Path(path), safetensors_parts(tensors, metadata, str(path)))


def safetensors_parts(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], name: str = "tensors"
) -> Iterator[bytes | memoryview]:
    """Make the bytes of a safetensors file, part by part, as :func:`write_safetensors` writes them.

    Raises:
        UserError: a header larger than what would be read back; ``name`` names the file then.
    """
    arrays = {key: np.asarray(array, array.dtype.newbyteorder("<"), order="C") for key, array in tensors.items()}
    for key, array in arrays.items():
        if array.dtype.str not in _WRITABLE:
            raise TypeError(f"tensor {key!r} is {array.dtype}; expected float32, float64 or int64")
    pieces = {
        key: Piece(_WRITABLE[array.dtype.str], array.shape, partial(_whole, array)) for key, array in arrays.items()
    }
    yield from parts_of(pieces, metadata, name)


def parts_of(pieces: Mapping[str, Piece], metadata: Mapping[str, str], name: str) -> Iterator[bytes | memoryview]:
    """Make the bytes of a safetensors file of any dtypes, block by block, so that no tensor need be in memory.

    Raises:
        UserError: a header larger than what would be read back; ``name`` names the file then.
    """
    # Wide elements first, as the library does: every tensor is then aligned to its own element size.
    order = sorted(pieces, key=lambda key: (-DTYPE_BITS[pieces[key].dtype], key))
    rows: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for key in order:
        begin, end = end, end + pieces[key].nbytes
        rows[key] = {"dtype": pieces[key].dtype, "shape": list(pieces[key].shape), "data_offsets": [begin, end]}
    header = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    header += b" " * (-len(header) % 8)
    if len(header) > MAX_HEADER:
        raise UserError(f"{name}: a header of {len(header)} bytes", f"at most {MAX_HEADER}")
    yield len(header).to_bytes(8, "little")
    yield header
    for key in order:
        count = 0
        for block in pieces[key].blocks():
            count += len(block)
            yield block
        assert count == pieces[key].nbytes, f"{key} has {count} bytes"


def _whole(array: np.ndarray) -> list[bytes]:
    return [array.tobytes()]


def as_float32(data: bytes | memoryview, dtype: str) -> np.ndarray:
    """Read bytes of F64, F32, F16 or BF16 as float32 numbers, a flat array."""
    values = np.frombuffer(data, READABLE[dtype])
    if dtype == "BF16":  # bfloat16 is the upper half of a float32
        return (values.astype("<u4") << 16).view("<f4")
    return values.astype("<f4")


def as_bytes(values: np.ndarray, dtype: str) -> bytes:
    """Write float32 numbers as F64, F32, F16 or BF16, rounded to the nearest, ties to even.

    Raises:
        UserError: a finite number that is not finite in that type.
    """
    flat = np.ascontiguousarray(values, "<f4").ravel()
    if dtype == "BF16":
        bits = flat.view("<u4")
        narrow = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> 16).astype("<u2")
        finite = (narrow & 0x7F80) != 0x7F80
    else:
        with np.errstate(over="ignore"):
            narrow = flat.astype(READABLE[dtype])
        finite = np.isfinite(narrow)
    if not (finite | ~np.isfinite(flat)).all():
        largest = float(np.abs(flat[~finite]).max())
        raise UserError(f"got {largest:g}, too large for {dtype}", "a wider type", "--dtype float32")
    return narrow.tobytes()
