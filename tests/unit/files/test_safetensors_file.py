"""The reader and writer of safetensors against the `safetensors` library, and against bytes that lie."""

from __future__ import annotations

import json
import os
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file

from beft_core.errors import UserError
from beft_core.files import safetensors_file
from beft_core.files.safetensors_file import (
    DTYPE_BITS,
    Piece,
    SafetensorsFile,
    as_bytes,
    as_float32,
    parts_of,
    write_safetensors,
)

TENSORS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([np.pi, -0.0, 1e300]),
    "step": np.array([1, 2**40]),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "scalar": np.array(7.0, dtype=np.float32),
}


def test_the_library_opens_what_we_write(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", TENSORS, {"beft": "{}", "text": "ä \N{GRINNING FACE}"})
    loaded = load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype and loaded[name].shape == array.shape


@pytest.mark.parametrize("from_bytes", [False, True])
def test_we_open_what_the_library_writes(tmp_path: Path, from_bytes: bool) -> None:
    save_file(TENSORS, tmp_path / "x.safetensors", metadata={"format": "np"})
    path = tmp_path / "x.safetensors"
    file = SafetensorsFile(path.read_bytes() if from_bytes else path)
    assert file.metadata == {"format": "np"} and file.tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(file.read(name), array)
        assert file.tensors[name].nbytes == array.nbytes


def test_half_precision_is_widened_exactly() -> None:
    values = np.array([1.0, -2.5, 0.099609375, 65280.0], dtype=np.float32)  # all exact in bfloat16
    bf16 = (values.view(np.uint32) >> 16).astype(np.uint16)
    header = json.dumps({"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}).encode()
    read = SafetensorsFile(len(header).to_bytes(8, "little") + header + bf16.tobytes()).read("x")
    np.testing.assert_array_equal(read, values)
    assert read.dtype == np.float32
    half = SafetensorsFile(save({"x": values.astype(np.float16)})).read("x")
    np.testing.assert_array_equal(half, values.astype(np.float16).astype(np.float32))


def test_equal_content_in_any_order_gives_equal_bytes(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "1", TENSORS, {"a": "1", "b": "2"})
    write_safetensors(tmp_path / "2", dict(reversed(TENSORS.items())), {"b": "2", "a": "1"})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, TENSORS, {})
    before = path.read_bytes()
    with pytest.raises(TypeError, match="complex"):
        write_safetensors(path, {"x": np.zeros(2, dtype=complex)}, {})
    with pytest.raises(UserError, match="cannot write"):
        write_safetensors(tmp_path / "missing" / "x.safetensors", TENSORS, {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_safetensors(tmp_path / "folder", TENSORS, {})
    assert path.read_bytes() == before and {entry.name for entry in tmp_path.iterdir()} == {
        "folder",
        "x.safetensors",
    }


def test_a_file_that_changed_is_not_read_with_the_old_offsets(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, TENSORS, {})
    file = SafetensorsFile(path)
    write_safetensors(path, {"b": np.ones((9, 9))}, {})
    with pytest.raises(UserError, match="changed since"):
        file.read("b")
    file = SafetensorsFile(path)
    size = path.stat().st_size
    write_safetensors(path, {"b": np.zeros((9, 9))}, {})  # of the same layout and size, but another
    assert path.stat().st_size == size
    with pytest.raises(UserError, match="changed since"):
        file.read("b")


@pytest.mark.parametrize("count", range(1, 4))
def test_every_tensor_stands_at_a_multiple_of_its_element(count: int, tmp_path: Path) -> None:
    """So that readers which map the file into memory need no copy."""
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": np.ones(count, np.float32), "b": np.ones(2), "c": np.ones(1, np.int64)}, {})
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    for name, row in json.loads(raw[8 : 8 + length]).items():
        at = 8 + length + row["data_offsets"][0]
        assert at % (4 if row["dtype"] == "F32" else 8) == 0, name


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "pipe", "nul\0byte"):
        with pytest.raises(UserError):
            SafetensorsFile(path)


def test_no_such_tensor_and_dtypes_numpy_lacks() -> None:
    header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    file = SafetensorsFile(len(header).to_bytes(8, "little") + header + bytes(4))
    for name, reason in (("x", "F8_E4M3"), ("y", "no tensor 'y'")):
        with pytest.raises(UserError, match=reason):
            file.read(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,label\ngood,1\n", "look like text ('text,lab'); expected a safetensors file"),
        ("\ufeffgrüße und mehr".encode(), "look like text ("),
        (b"PK\x03\x04" + b"\x08" * 60, "look like a zip archive, as PyTorch's .bin and .pt files are"),
        (b"\x80\x02}q\x00X\x0d\x00\x00\x00\x00weights", "look like a pickle, which is never opened here"),
        (b"\x80\x03\0\0\0\0\0\0{}", "claims a header of 896 bytes"),  # torn, and no pickle
        (b"\xff" * 64, "claims a header of"),
    ],
)
def test_what_is_no_safetensors_file_is_named_by_its_first_bytes(content: bytes, said: str) -> None:
    with pytest.raises(UserError) as error:
        SafetensorsFile(content)
    assert said in str(error.value)


def test_a_claimed_giant_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{")
    os.truncate(path, 2**41)  # a sparse file in which the claim is even true
    tracemalloc.start()
    with pytest.raises(UserError, match="claims a header"):
        SafetensorsFile(path)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


@given(st.data())
def test_any_damage_to_a_sound_file_is_an_error_or_harmless(data: st.DataObject) -> None:
    raw = bytearray(save(TENSORS, {"beft": "{}"}))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (bytes(raw), bytes(raw[:cut])):
        try:
            file = SafetensorsFile(damaged)
            for name in file.tensors:
                file.read(name)
        except UserError as error:
            assert str(error).isprintable()


def test_pieces_of_any_type_are_written_block_by_block_and_read_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors_file, "BLOCK", 8)
    contents = {
        "a": ("BF16", (3, 2)),
        "b": ("I64", (2,)),
        "c": ("F8_E4M3", (5,)),
        "d": ("F32", ()),
        "e": ("BOOL", (0, 3)),
    }
    data = {
        key: bytes(range(np.prod(shape, dtype=int) * DTYPE_BITS[dtype] // 8))
        for key, (dtype, shape) in contents.items()
    }

    def halves(key: str) -> list[bytes]:
        return [data[key][:3], data[key][3:]]

    pieces = {key: Piece(dtype, shape, partial(halves, key)) for key, (dtype, shape) in contents.items()}
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"".join(parts_of(pieces, {"format": "pt"}, "x")))
    file = SafetensorsFile(path)
    assert file.metadata == {"format": "pt"}
    for key, (dtype, shape) in contents.items():
        assert (file.tensors[key].dtype, file.tensors[key].shape) == (dtype, shape)
        blocks = list(file.blocks(key))
        assert b"".join(blocks) == data[key] and all(len(block) <= 8 for block in blocks)
    with pytest.raises(UserError, match="no tensor 'z'"):
        list(file.blocks("z"))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(float.fromhex("0x1.ffp127"))
@example(float.fromhex("-0x1.fefffep127"))
def test_numbers_are_rounded_to_the_nearest_of_a_narrow_type(value: float) -> None:
    wide = np.array([value], "<f4")
    bits = int(wide.view("<u4")[0])
    near = [np.array([(bits >> 16) + up], "<u4") << 16 for up in (0, 1)]
    choices = [max(-(2.0**128), min(2.0**128, float(one.view("<f4")[0]))) for one in near]
    best = min(range(2), key=lambda at: (abs(choices[at] - value), ((bits >> 16) + at) & 1))
    if abs(choices[best]) < 2.0**128:
        assert float(as_float32(as_bytes(wide, "BF16"), "BF16")[0]) == choices[best]
    else:  # half way to what would be the next number, or beyond
        with pytest.raises(UserError, match="too large for BF16"):
            as_bytes(wide, "BF16")
    if abs(value) < 60000:
        assert as_float32(as_bytes(wide, "F16"), "F16")[0] == np.float32(np.float16(value))
    for dtype in ("F32", "F64"):
        assert as_float32(as_bytes(wide, dtype), dtype)[0] == wide[0]


def test_a_number_that_a_type_cannot_hold_is_refused() -> None:
    for value, dtype in ((70000.0, "F16"), (3.4e38, "BF16")):
        with pytest.raises(UserError, match=f"too large for {dtype}"):
            as_bytes(np.array([1.0, -value], np.float32), dtype)
    assert as_float32(as_bytes(np.array([70000.0]), "BF16"), "BF16")[0] == 70144


@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<f8", "<i8"])
def test_the_first_row_of_a_matrix_alone(tmp_path: Path, dtype: str) -> None:
    matrix = np.arange(12).reshape(3, 4).astype(dtype)
    save_file({"first": matrix + matrix.dtype.type(1), "m": matrix, "v": matrix[0]}, tmp_path / "x.safetensors")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    row = file.first_row("m")
    np.testing.assert_array_equal(row, file.read("m")[0])
    assert row.dtype == file.read("m").dtype and row.shape == (4,)
    with pytest.raises(UserError, match=r"v is \[4\]; expected a matrix"):
        file.first_row("v")
    with pytest.raises(UserError, match="no tensor 'w'"):
        file.first_row("w")
