"""Headers of GGUF files: a sound one is read, and what lies about itself is one line, in no memory."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from pathlib import Path

import pytest
from gguf_files import LIST, TEXT, number, parts, tensor, text, value, whole, words

from beft_core.errors import UserError
from beft_core.models.gguf import header
from beft_core.models.gguf.header import NUMBERS, TENSOR_KINDS, GgufHeader, read_header

VALUES = parts()["values"]
HUGE = 2**40


def read(folder: Path, data: bytes) -> GgufHeader:
    file = folder / "model.gguf"
    file.write_bytes(data)
    return read_header(file)


def test_a_sound_file(tmp_path: Path) -> None:
    found = read(tmp_path, whole())
    assert (found.architecture, found.model_type, found.parameters) == ("gemma3", "gemma3_text", 40 + 128)
    assert found.values["gemma3.block_count"] == 1 and found.lengths == {"tokenizer.ggml.tokens": 5}
    assert found.shapes == {"token_embd.weight": (8, 5), "blk.0.ffn_up.weight": (8, 16)}
    kinds = [value(f"k{kind}", kind, struct.pack(f"<{form}", 1)) for kind, form in NUMBERS.items()]
    assert read(tmp_path, whole(values=[*VALUES, *kinds])).values["k12"] == 1.0


def without(key: str) -> list[bytes]:
    return [one for one in VALUES if text(key) != one[: len(text(key))]]


DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "short": (b"GGUF\3\0\0\0", "a file of 8 bytes"),
    "a pickle": (b"\x80\x04" + b"x" * 100, "begins with"),
    "a zip": (b"PK\3\4" + b"x" * 100, "begins with"),
    "version 1": (whole(version=1), "version 1"),
    "big-endian": (whole(version=3 << 24), "version 50331648"),
    "huge count of tensors": (whole(counts=(2**60, 5)), "claims 1,152,921,504,606,846,976 tensors"),
    "huge count of values": (whole(counts=(2, 2**60)), "values in"),
    "more tensors than there are": (whole(counts=(20, 5)), ""),
    "huge name": (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", HUGE) + b"x" * 50, "has 1,099,511"),
    "huge text": (whole(values=[value("a", TEXT, struct.pack("<Q", HUGE))]), "has 1,099,511"),
    "huge list": (whole(values=[value("a", LIST, struct.pack("<IQ", 4, HUGE))]), "has 1,099,511"),
    "list longer than the file": (whole(values=[value("a", LIST, struct.pack("<IQ", 12, 3_000_000))]), "header ends"),
    "list of lists": (whole(values=[value("a", LIST, struct.pack("<IQIQ", LIST, 1, 4, 0))]), "not known"),
    "unknown kind of value": (whole(values=[value("a", 99, b"")]), "not known"),
    "not UTF-8": (whole(values=[value("general.architecture", TEXT, text(b"\xff\xfe"))]), "not UTF-8"),
    "a key twice": (whole(values=[*VALUES, VALUES[1]]), "stands twice"),
    "a tensor twice": (whole(tensors=[tensor("a", (8,)), tensor("a", (8,), offset=32)]), "stands twice"),
    "not a number": (whole(values=[value("a", 6, struct.pack("<f", float("nan")))]), "is nan"),
    "another architecture": (whole(values=[value("general.architecture", TEXT, text("mamba"))]), "'mamba'; expected"),
    "no architecture": (whole(values=without("general.architecture")), "'None'"),
    "nine axes": (whole(tensors=[tensor("a", (1,) * 9)]), "has 9 axes"),
    "unknown quantisation": (whole(tensors=[tensor("a", (32,), 99)]), "quantisation that is not known"),
    "no whole block": (whole(tensors=[tensor("a", (8,), 12)]), "in blocks of 256"),
    "no elements": (whole(tensors=[tensor("a", (8, 0))]), "has a shape"),
    "huge shape": (whole(tensors=[tensor("a", (2**60, 2**60))]), "as its header says"),
    "data that overlap": (whole(tensors=[tensor("a", (64,)), tensor("b", (64,), offset=32)]), "overlap"),
    "data that are not aligned": (whole(tensors=[tensor("a", (64,), offset=8)]), "not aligned"),
    "cut data": (whole(data=300), "downloading it again"),
    "a strange alignment": (whole(values=[*VALUES, number("general.alignment", 0)]), "alignment of 0"),
    "no tensors": (whole(tensors=[]), "no tensors"),
    "no vocabulary": (whole(values=without("tokenizer.ggml.tokens")), "for None tokens"),
    "another vocabulary": (whole(values=[*VALUES[:4], words("tokenizer.ggml.tokens", ["a"])]), "for 1 tokens"),
    "Gemma 3 27B": (
        whole(values=[*without("gemma3.block_count"), number("gemma3.block_count", 62)]),
        "scale of queries",
    ),
    "too many layers": (whole(values=[*without("gemma3.block_count"), number("gemma3.block_count", 99_999)]), "99999"),
    "a huge hidden layer": (
        whole(values=[*without("gemma3.feed_forward_length"), number("gemma3.feed_forward_length", 2**31)]),
        "no tensor has",
    ),
    "a huge head": (whole(values=[*VALUES, number("gemma3.attention.key_length", 2**31)]), "key_length = 2147483648"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_not_sound_is_one_line(case: str, tmp_path: Path) -> None:
    data, said = DAMAGED[case]
    with pytest.raises(UserError) as told:
        read(tmp_path, data)
    assert said in str(told.value) and "model.gguf" in str(told.value) and "\n" not in str(told.value)


def test_any_cut_and_any_damaged_byte_ends_well_and_in_little_memory(tmp_path: Path) -> None:
    sound = whole()
    generator = random.Random(3)
    refused = 0
    tracemalloc.start()
    for n in range(400):
        data = bytearray(sound[: generator.randrange(len(sound))] if n % 2 else sound)
        for _ in range(n % 4):
            if data:
                data[generator.randrange(min(len(data), 400))] = generator.randrange(256)
        try:
            read(tmp_path, bytes(data))
        except UserError:
            refused += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused > 200 and peak < 10 * 2**20


def test_no_header_is_longer_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "MAX_HEADER", 100)
    with pytest.raises(UserError, match="header ends"):
        read(tmp_path, whole())


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    for name in ("pipe.gguf", "none.gguf", "."):
        with pytest.raises(UserError):
            read_header(tmp_path / name)


def test_the_sizes_of_blocks_are_those_of_the_library() -> None:
    gguf = pytest.importorskip("gguf")
    for kind, size in TENSOR_KINDS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)] == size
