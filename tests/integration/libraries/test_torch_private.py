"""Private names of PyTorch do what they are used for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from beft_core.libraries.torch_private import (
    end_allocation_to_pool,
    has_triton,
    norms,
    product_with_relu,
    scale_,
    uncompile,
)


class Doubled(nn.Module):
    """Not a module of PyTorch itself: those are left as they are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_norms_and_scaling_of_many_tensors() -> None:
    arrays = [np.random.default_rng(seed).normal(size=shape) for seed, shape in enumerate([(3,), (4, 5), (1, 2, 3)])]
    tensors = [torch.tensor(array, dtype=torch.float32) for array in arrays]
    addresses = [one.data_ptr() for one in tensors]
    assert [float(one) for one in norms(tensors)] == pytest.approx([np.sqrt((array**2).sum()) for array in arrays])
    scale_(tensors, 0.25)
    assert [one.data_ptr() for one in tensors] == addresses
    for tensor, array in zip(tensors, arrays, strict=True):
        np.testing.assert_allclose(tensor.numpy(), 0.25 * array, rtol=1e-6)


def test_a_product_has_its_relu() -> None:
    x, weight, bias = torch.randn(5, 8), torch.randn(6, 8), torch.randn(6)
    torch.testing.assert_close(product_with_relu(x, weight, bias), torch.relu(nn.functional.linear(x, weight, bias)))


def test_a_module_that_was_compiled_runs_as_it_is_again() -> None:
    module, x, compiled = Doubled(), torch.ones(1, 3), []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        def run(*inputs: torch.Tensor) -> object:
            compiled.append(1)
            return graph(*inputs)

        return run

    module.compile(backend=backend)
    expected = module(x)
    assert len(compiled) == 1
    uncompile(module)
    assert torch.equal(module(x), expected) and len(compiled) == 1


def test_the_allocator_is_told_of_the_device_and_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", lambda *given: told.extend(given), raising=False)
    end_allocation_to_pool(3, (0, 7))
    assert told == [3, (0, 7)]


def test_triton_compiles_for_gpus_alone() -> None:
    assert has_triton() == torch.cuda.is_available()
