"""GGUF files made by hand: the smallest sound one, and what is in it, so that each part can be damaged."""

from __future__ import annotations

import struct
from typing import Any

TEXT, LIST = 8, 9


def text(value: str | bytes) -> bytes:
    """A text with its length."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value(key: str, kind: int, data: bytes) -> bytes:
    """A value: key, kind, data."""
    return text(key) + struct.pack("<I", kind) + data


def number(key: str, found: int) -> bytes:
    """A value that is one unsigned number of 32 bits."""
    return value(key, 4, struct.pack("<I", found))


def words(key: str, found: list[str]) -> bytes:
    """A value that is a list of texts."""
    return value(key, LIST, struct.pack("<IQ", TEXT, len(found)) + b"".join(map(text, found)))


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    """What a header says of a tensor."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def parts(**changes: Any) -> dict[str, Any]:
    """The parts of a sound file of a model with one layer, five tokens and width 8."""
    return {
        "magic": b"GGUF",
        "version": 3,
        "values": [
            value("general.architecture", TEXT, text("gemma3")),
            number("gemma3.embedding_length", 8),
            number("gemma3.block_count", 1),
            number("gemma3.feed_forward_length", 16),
            words("tokenizer.ggml.tokens", ["<s>", "a", "b", "c", "d"]),
        ],
        "tensors": [
            tensor("token_embd.weight", (8, 5)),
            tensor("blk.0.ffn_up.weight", (8, 16), offset=160),
        ],
        "data": 160 + 512,
        **changes,
    }


def whole(*, counts: tuple[int, int] | None = None, **changes: Any) -> bytes:
    """The bytes of a file of these parts. ``counts``: of tensors and values, as the file claims."""
    made = parts(**changes)
    claimed = counts or (len(made["tensors"]), len(made["values"]))
    head = made["magic"] + struct.pack("<IQQ", made["version"], *claimed)
    head += b"".join(made["values"]) + b"".join(made["tensors"])
    return head + b"\0" * (-len(head) % 32) + b"\0" * made["data"]
