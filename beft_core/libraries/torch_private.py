"""Private names of PyTorch that the engine needs; no other module of the engine uses one.

Each use says why, and what the public way lacks that it replaces. They are the same in PyTorch 2.11 and 2.13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._triton import has_triton

__all__ = ["end_allocation_to_pool", "has_triton", "norms", "product_with_relu", "scale_", "uncompile"]
# has_triton: whether Triton is installed and this machine's device is one that it compiles for. Publicly one can only
# import Triton, which succeeds on GPUs that are too old for it.


def norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Compute the L2 norm of each tensor, all in one kernel on a GPU.

    ``torch.nn.utils.get_total_norm`` is public and takes the root of the sum of their squares, which whoever needs the
    square has to undo: other last bits. A loop starts one kernel for each tensor.
    """
    return list(torch._foreach_norm(list(tensors)))


def scale_(tensors: Sequence[Tensor], factor: float) -> None:
    """Multiply tensors by a number, in place and in one kernel on a GPU.

    ``torch.nn.utils.clip_grads_with_norm_`` is public and computes the factor itself, from the norm of these tensors
    alone; here it comes from everything that is clipped together. A loop starts one kernel for each tensor.
    """
    torch._foreach_mul_(list(tensors), factor)


def product_with_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute ``relu(x @ weight.T + bias)``, [n, in] -> [n, out], on a GPU in one kernel.

    ``torch.relu(torch.addmm(...))`` is public and reads and writes the product once more, compiled or not.
    """
    out: Tensor = torch._addmm_activation(bias, x, weight.t())
    return out


def uncompile(module: nn.Module) -> None:
    """Have a module run as it is again, after ``module.compile()``, which is public and has no opposite.

    ``torch.compile(module)`` would leave the module alone but returns another one, below which all paths are longer.
    """
    module._compiled_call_impl = None


def end_allocation_to_pool(device: int, pool: Any) -> None:
    """Have the allocator of a GPU serve from its usual memory again after a CUDA graph's recording failed.

    ``CUDAGraph.capture_end`` is public and does so only where the recording succeeded; without it, every later tensor
    would take memory of the graph's pool. Raises RuntimeError where nothing is allocated to the pool any more, and
    AttributeError in a build without CUDA.
    """
    torch._C._cuda_endAllocateToPool(device, pool)
