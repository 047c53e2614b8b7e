"""Header of a GGUF file, checked as a whole before any library opens the file: what it claims must fit into it.

Format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), little-endian: ``GGUF``, version, number of tensors,
number of values; values as key, kind, value; tensors as name, shape, kind, offset; then aligned data. Texts and lists
begin with their length, which may be a lie: nothing is allocated for a length before it is known to fit into the file.
Needs no library.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from beft_core.errors import UserError
from beft_core.files.plain_file import open_plain

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_TENSORS = 100_000
MAX_VALUES = 10_000
MAX_TEXT = 2**20
"""Most bytes of one text; templates of conversations have some ten thousand."""
MAX_NAME = 1000
MAX_LIST = 4_000_000
"""Most elements of one list, such as the tokens of a vocabulary; the largest vocabularies have 256,000."""
MAX_HEADER = 256 * 2**20
"""Most bytes before the data."""
MAX_RANK = 4
ALIGNMENT = 32

BOUNDS: dict[str, int] = {
    "context_length": 2**24,
    "attention.head_count": 2**12,
    "attention.head_count_kv": 2**12,
    "attention.key_length": 2**12,
    "attention.value_length": 2**12,
    "attention.sliding_window": 2**24,
}
"""Largest values of what no tensor shows."""

QUERY_SCALES: dict[str, int] = {"gemma2": 46, "gemma3": 62}
"""Architectures -> number of layers of the one size (27B) that scales queries otherwise than all others."""

TYPES: dict[str, str] = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi3": "phi3",
}
"""Architectures of GGUF files that the lab can take -> model types."""

NUMBERS: dict[int, str] = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""Kinds of values that are one number -> their format for :mod:`struct`."""
TEXT, LIST = 8, 9

TENSOR_KINDS: dict[int, tuple[int, int]] = {
    0: (1, 4),  # float32
    1: (1, 2),  # float16
    30: (1, 2),  # bfloat16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    20: (32, 18),  # IQ4_NL
    23: (256, 136),  # IQ4_XS
}
"""Kinds of tensors -> (elements of a block, bytes of a block)."""


@dataclass(frozen=True)
class GgufHeader:
    """Header that was checked."""

    architecture: str
    values: dict[str, float | str]
    """Values that are one number or one text, by key; of lists only the lengths are known."""
    lengths: dict[str, int] = field(repr=False)
    """Lengths of lists, by key."""
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    """Shapes of tensors, by name, as the file has them: the axis that lies together comes first."""

    @property
    def model_type(self) -> str:
        """Model type of the architecture, as ``config.json`` names it."""
        return TYPES[self.architecture]

    def size(self, name: str) -> int | None:
        """Whole number under a key of the architecture; None where it has none, or no whole number."""
        value = self.values.get(f"{self.architecture}.{name}")
        return value if type(value) is int else None

    @property
    def parameters(self) -> int:
        """Number of elements of all tensors."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def read_header(path: Path) -> GgufHeader:
    """Read and check the header of a GGUF file.

    Raises:
        UserError: no such file, not a GGUF file, a damaged or cut one, one that claims more than it holds, or an
            architecture or a quantisation that the lab does not know.
    """
    try:
        with open_plain(path, what="a GGUF file") as file:
            return _Reader(file, path.name).header()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "a GGUF file") from None


class _Reader:
    """Reader of one file, which knows how much is left of it."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name = file, name
        self.size = os.fstat(file.fileno()).st_size
        self.at = 0

    def header(self) -> GgufHeader:
        if self.size < 24 or (magic := self.take(4)) != MAGIC:
            found = "an empty file" if not self.size else f"a file of {self.size:,} bytes"
            found = found if self.size < 24 else f"a file that begins with {magic!r}"
            raise UserError(f"{self.name}: {found}", f"a GGUF file, which begins with {MAGIC!r}")
        version = self.number("I")
        if version not in VERSIONS:
            raise UserError(f"{self.name}: GGUF of version {version}", "version 2 or 3, little-endian")
        tensors = self.count(MAX_TENSORS, "tensors", least=24)
        keys = self.count(MAX_VALUES, "values", least=13)
        values: dict[str, float | str] = {}
        lengths: dict[str, int] = {}
        for _ in range(keys):
            key = self.text(MAX_NAME, "the name of a value")
            if key in values or key in lengths:
                raise self.damaged(f"{key[:80]!r} stands twice")
            kind = self.number("I")
            if kind == LIST:
                lengths[key] = self.skip_list(key)
            else:
                values[key] = self.value(kind, key)
        shapes = self.tensors(tensors, values)
        header = GgufHeader(self.architecture(values), values, lengths, shapes)
        self.require_sizes(header)
        return header

    def architecture(self, values: dict[str, float | str]) -> str:
        found = values.get("general.architecture")
        if not isinstance(found, str) or found not in TYPES:
            raise UserError(
                f"{self.name}: a GGUF file of the architecture {str(found)[:80]!r}",
                f"one of {', '.join(sorted(TYPES))}",
            )
        return found

    def require_sizes(self, found: GgufHeader) -> None:
        """Check the sizes that a model would be built of against the tensors: they must not ask for more memory."""
        embedding = found.shapes.get("token_embd.weight", ())
        width, layers = found.size("embedding_length"), found.size("block_count")
        tokens = found.lengths.get("tokenizer.ggml.tokens")
        if embedding != (width, tokens):
            raise self.damaged(f"an embedding of {embedding} for {tokens} tokens of {width} numbers")
        if (other := QUERY_SCALES.get(found.architecture)) == layers:
            raise UserError(
                f"{self.name}: a {found.architecture} with {other} layers, whose scale of queries no GGUF file says",
                "a smaller Gemma",
            )
        blocks = {name.split(".")[1] for name in found.shapes if name.startswith("blk.")}
        if blocks != {str(layer) for layer in range(len(blocks))} or layers != len(blocks):
            raise self.damaged(f"it claims {layers} layers and has tensors of {len(blocks)}")
        sizes = {size for shape in found.shapes.values() for size in shape}
        inner = found.size("feed_forward_length")
        if inner is not None and inner not in sizes:
            raise self.damaged(f"it claims a hidden layer of {inner} numbers, which no tensor has")
        for name, most in BOUNDS.items():
            value = found.size(name)
            if value is not None and not 0 <= value <= most:
                raise self.damaged(f"it claims {name} = {value}")

    def tensors(self, count: int, values: dict[str, float | str]) -> dict[str, tuple[int, ...]]:
        """Read the tensors' names and shapes, and check that their data lie one after another within the file."""
        shapes: dict[str, tuple[int, ...]] = {}
        ranges: list[tuple[int, int, str]] = []
        for _ in range(count):
            name = self.text(MAX_NAME, "the name of a tensor")
            rank = self.number("I")
            if not 1 <= rank <= MAX_RANK:
                raise self.damaged(f"tensor {name[:80]!r} has {rank} axes")
            shape = tuple(self.number("Q") for _ in range(rank))
            kind, offset = self.number("I"), self.number("Q")
            if name in shapes:
                raise self.damaged(f"tensor {name[:80]!r} stands twice")
            if kind not in TENSOR_KINDS:
                raise UserError(
                    f"{self.name}: tensor {name[:80]!r} has a quantisation that is not known (number {kind})",
                    "float32, float16, bfloat16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL or IQ4_XS",
                )
            elements, size = TENSOR_KINDS[kind]
            if shape[0] % elements or not all(shape):
                raise self.damaged(f"tensor {name[:80]!r} has a shape of {shape}, in blocks of {elements}")
            shapes[name] = shape
            ranges.append((offset, math.prod(shape) // elements * size, name))
        alignment = values.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or not 8 <= alignment <= 2**16 or alignment % 8:
            raise self.damaged(f"an alignment of {alignment!r}")
        start = -(-self.at // alignment) * alignment
        end = 0
        for offset, size, name in sorted(ranges):
            if offset < end or offset % alignment:
                raise self.damaged(f"the data of tensor {name[:80]!r} overlap others or are not aligned")
            end = offset + size
        if start + end > self.size:
            raise UserError(
                f"{self.name}: {self.size:,} bytes",
                f"{start + end:,} bytes, as its header says",
                "downloading it again",
            )
        if not shapes:
            raise self.damaged("it has no tensors")
        return shapes

    # ---- Values ----------------------------------------------------------------------------------------------

    def take(self, size: int) -> bytes:
        if size > self.size - self.at or self.at + size > MAX_HEADER:
            raise UserError(
                f"{self.name}: its header ends after {self.at:,} bytes of {self.size:,}",
                "a complete GGUF file",
                "downloading it again",
            )
        data = self.file.read(size)
        self.at += size
        if len(data) != size:
            raise self.damaged("it became shorter while it was read")
        return data

    def number(self, kind: str) -> int:
        value: int = struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]
        return value

    def count(self, most: int, what: str, least: int) -> int:
        """Read a count of things of which each takes at least ``least`` bytes."""
        found = self.number("Q")
        if found > most or found * least > self.size:
            raise self.damaged(f"it claims {found:,} {what} in {self.size:,} bytes")
        return found

    def text(self, most: int, what: str) -> str:
        length = self.number("Q")
        if length > most:
            raise self.damaged(f"{what} has {length:,} bytes")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged(f"{what} is not UTF-8") from None

    def value(self, kind: int, key: str) -> float | str:
        if kind == TEXT:
            return self.text(MAX_TEXT, f"the text {key[:80]!r}")
        if kind not in NUMBERS:
            raise self.damaged(f"{key[:80]!r} has a kind that is not known (number {kind})")
        found = self.number(NUMBERS[kind])
        if isinstance(found, float) and not math.isfinite(found):
            raise self.damaged(f"{key[:80]!r} is {found}")
        return found

    def skip_list(self, key: str) -> int:
        """Read a list to its end and return its length; its elements are numbers or texts, never lists."""
        kind, length = self.number("I"), self.number("Q")
        if length > MAX_LIST:
            raise self.damaged(f"the list {key[:80]!r} has {length:,} elements")
        if kind in NUMBERS:
            self.take(length * struct.calcsize(f"<{NUMBERS[kind]}"))
        elif kind == TEXT:
            for _ in range(length):
                self.take(self.short_length(key))
        else:
            raise self.damaged(f"the list {key[:80]!r} has elements of a kind that is not known (number {kind})")
        return length

    def short_length(self, key: str) -> int:
        length = self.number("Q")
        if length > MAX_TEXT:
            raise self.damaged(f"a text of the list {key[:80]!r} has {length:,} bytes")
        return length

    def damaged(self, what: str) -> UserError:
        return UserError(f"{self.name}: {what}", "a sound GGUF file", "downloading it again")
