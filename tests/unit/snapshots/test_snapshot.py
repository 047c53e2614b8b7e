"""Snapshots: what is written comes back, and what is broken is refused in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from example_snapshots import LAYERS, WIDTH, base, example
from hostile import file_bytes, hostile_snapshots, parts
from safetensors import safe_open

from beft_core.errors import UserError
from beft_core.snapshots.snapshot import Snapshot, fingerprint, read_snapshot, weights_fingerprint, write_snapshot

HOSTILE = dict(hostile_snapshots())


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_files_end_in_one_line_and_little_memory(name: str) -> None:
    content = HOSTILE[name]
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        read_snapshot(content).tensors()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    message = str(caught.value)
    assert message.isprintable() and 10 < len(message) < 1300
    assert peak < 2**20 + 20 * len(content)


def test_the_corpus_is_large_and_breaks_one_thing_each() -> None:
    assert len(HOSTILE) >= 100
    assert len(set(HOSTILE.values())) == len(HOSTILE)
    read_snapshot(file_bytes(*parts())).tensors()  # unbroken, it is a sound snapshot


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    snapshot = example(
        full=True,
        layers=(0, 2),
        wall_seconds=1.5,
        hyperparameters={"lr": 1e-3, "betas": [0.9, 0.999]},
    )
    write_snapshot(tmp_path / "x.beft.safetensors", snapshot)
    for source in (tmp_path / "x.beft.safetensors", (tmp_path / "x.beft.safetensors").read_bytes()):
        read = read_snapshot(source)
        assert read.meta == snapshot.meta
        assert read.keys() == [("encoder", "q"), ("encoder", "k"), ("encoder", "v")]
        for name, array in snapshot.tensors().items():
            np.testing.assert_array_equal(read.tensors()[name], array)
        assert read.trajectory_step.tolist() == [0, 10]  # type: ignore[union-attr]
        assert read.fisher("encoder", "v", "batch").shape == (LAYERS, WIDTH)  # type: ignore[union-attr]
        assert read.steps("encoder", "v").shape == (2, LAYERS, WIDTH)  # type: ignore[union-attr]
        assert set(read.extra) == {f"extra.task1.{part}" for part in ("head.weight", "head.bias", "pooler.bias")}
        np.testing.assert_array_equal(read.extra["extra.task1.head.bias"], snapshot.extra["extra.task1.head.bias"])


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "1", example(full=True))
    write_snapshot(tmp_path / "2", read_snapshot(tmp_path / "1"))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_library_opens_it(tmp_path: Path) -> None:
    snapshot = example()
    write_snapshot(tmp_path / "x", snapshot)
    with safe_open(tmp_path / "x", framework="np") as file:
        assert set(file.metadata()) == {"beft"}
        np.testing.assert_array_equal(file.get_tensor("encoder.v.post"), snapshot.post("encoder", "v"))


def test_reading_is_lazy_and_names_the_tensor_that_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "x.beft.safetensors"
    path.write_bytes(HOSTILE["NaN in pre"])
    snapshot = read_snapshot(path)
    snapshot.post("encoder", "v")
    with pytest.raises(UserError, match=r"x\.beft\.safetensors: tensor encoder\.v\.pre holds a NaN"):
        snapshot.pre("encoder", "v")


def test_arrays_cannot_be_changed_from_outside() -> None:
    pre = base(terms=("v",))
    snapshot = example(pre=pre)
    kept = snapshot.pre("encoder", "v").copy()
    pre["encoder", "v"][:] = 0
    np.testing.assert_array_equal(snapshot.pre("encoder", "v"), kept)
    with pytest.raises(ValueError, match="read-only"):
        snapshot.pre("encoder", "v")[0, 0] = 1


def test_optional_tensors_are_none_and_missing_terms_an_error() -> None:
    snapshot = example()
    assert snapshot.fisher("encoder", "v") is None and snapshot.steps("encoder", "v") is None
    assert snapshot.trajectory_step is None and not snapshot.extra
    with pytest.raises(UserError, match=r"no encoder\.o\.pre; expected a term out of: encoder\.q"):
        snapshot.pre("encoder", "o")


def test_a_head_alone_is_a_snapshot() -> None:
    meta = dataclasses.replace(example().meta, mode="head", trained_terms=())
    snapshot = Snapshot.build(meta, {}, {}, extra={"extra.sst2.head.bias": np.zeros(2)})
    assert snapshot.keys() == []


def test_trajectory_steps_may_be_float32() -> None:
    header, data = parts()
    begin, end = header["trajectory.step"]["data_offsets"]
    steps = np.array([0, 10, 20, 30], dtype="<f4").tobytes()
    header["trajectory.step"] = {"dtype": "F32", "shape": [4], "data_offsets": [begin, end]}
    for term in "qkv":  # the same bytes, seen as four checkpoints of a quarter of the size, would not fit
        assert header[f"encoder.{term}.steps"]["shape"][0] == 2
    with pytest.raises(UserError, match="checkpoints"):
        read_snapshot(file_bytes(header, data[:begin] + steps + data[end:]))
    two = np.array([0, 10], dtype="<f4").tobytes()
    header["trajectory.step"] = {"dtype": "F32", "shape": [2], "data_offsets": [begin, begin + 8]}
    for name, row in header.items():
        if name != "__metadata__" and row["data_offsets"][0] >= end:
            row["data_offsets"] = [offset - 8 for offset in row["data_offsets"]]
    read = read_snapshot(file_bytes(header, data[:begin] + two + data[end:])).trajectory_step
    assert read is not None and read.dtype == np.int64 and read.tolist() == [0, 10]


def test_fingerprint_is_the_hash_of_the_bytes_in_canonical_order() -> None:
    pre = base(terms=("v", "ln1", "q"))
    joined = b"".join(pre["encoder", term].tobytes() for term in ("q", "v", "ln1"))
    assert fingerprint(pre) == hashlib.sha256(joined).hexdigest()
    assert fingerprint({key: array.astype(np.float64) for key, array in pre.items()}) == fingerprint(pre)
    pre["encoder", "q"][0, 0] += 1
    assert fingerprint(pre) != hashlib.sha256(joined).hexdigest()


def test_two_stacks_are_kept_apart() -> None:
    pre = base(terms=("v",)) | base(seed=5, terms=("q", "v"), stack="decoder")
    assert example(pre=pre).keys() == [("encoder", "v"), ("decoder", "q"), ("decoder", "v")]


def test_other_metadata_go_with_the_same_arrays_and_must_fit_them() -> None:
    snapshot = example()
    other = snapshot.with_meta(dataclasses.replace(snapshot.meta, task="stsb"))
    assert other.meta.task == "stsb" and snapshot.meta.task != "stsb"
    for key in snapshot.keys():  # noqa: SIM118
        assert np.array_equal(other.post(*key), snapshot.post(*key))
    model = dataclasses.replace(snapshot.meta.model, layers=snapshot.meta.model.layers + 1)
    with pytest.raises(UserError, match=r"layers|shape"):
        snapshot.with_meta(dataclasses.replace(snapshot.meta, model=model))


def test_weights_are_named_by_their_values_in_bfloat16_halves_to_even() -> None:
    # 1 + n / 256 lies half way between two bfloat16 for odd n; 0x3F80 is 1.0, and each next one 1 / 128 more.
    row = np.float32([1, 1 + 1 / 256, 1 + 3 / 256, 1 + 3 / 256 + 2**-20, -1 - 1 / 256 - 2**-20, 0, -0.0])
    bits = np.array([0x3F80, 0x3F80, 0x3F82, 0x3F82, 0xBF81, 0, 0x8000], "<u2")
    assert weights_fingerprint([row]) == hashlib.sha256(bits.tobytes()).hexdigest()
    rounded = (bits.astype("<u4") << 16).view("<f4")
    assert weights_fingerprint([rounded[:3], rounded[3:]]) == weights_fingerprint([row])  # read in bfloat16
    assert weights_fingerprint([row[::-1]]) != weights_fingerprint([row])
