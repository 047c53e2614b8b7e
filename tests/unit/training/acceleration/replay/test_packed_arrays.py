"""Arrays in one block: each is what it was, where it begins as memory does, and all are overwritten in place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from beft_core.training.acceleration.replay.packed_arrays import ALIGNMENT, PackedArrays

ARRAYS = {
    "tables": np.arange(3 * 7).reshape(3, 7),
    "share": np.linspace(0, 1, 5, dtype=np.float32),
    "active": np.array([True, False, True]),
    "nothing": np.zeros((0, 4)),
    "turned": np.arange(6, dtype=np.int32).reshape(2, 3).T,
    "alone": np.float32([[2.5]]),
}
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
def test_arrays_come_out_of_the_block_as_they_went_in(device: str) -> None:
    packed = PackedArrays.of(ARRAYS, torch.device(device))
    assert list(packed.tensors) == list(ARRAYS)
    for name, array in ARRAYS.items():
        here = packed.tensors[name].cpu().numpy()
        assert here.dtype == array.dtype and here.shape == array.shape
        np.testing.assert_array_equal(here, array)
        assert packed.tensors[name].storage_offset() * packed.tensors[name].itemsize % ALIGNMENT == 0


@pytest.mark.parametrize("device", DEVICES)
def test_other_numbers_take_the_same_place(device: str) -> None:
    packed = PackedArrays.of(ARRAYS, torch.device(device))
    before = {name: tensor.data_ptr() for name, tensor in packed.tensors.items()}
    packed.put({name: array + 1 if array.dtype != bool else ~array for name, array in ARRAYS.items()})
    assert {name: tensor.data_ptr() for name, tensor in packed.tensors.items()} == before
    assert packed.tensors["tables"].tolist() == (ARRAYS["tables"] + 1).tolist()
    assert packed.tensors["active"].tolist() == [False, True, False]
    assert packed.tensors["alone"].item() == 3.5


def test_what_was_put_is_a_copy() -> None:
    array = np.zeros(3)
    packed = PackedArrays.of({"x": array}, torch.device("cpu"))
    array += 1
    assert packed.tensors["x"].tolist() == [0.0, 0.0, 0.0]
