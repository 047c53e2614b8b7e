"""Precision of computing: bfloat16 for the frozen model, float32 for what is trained.

Under autocast, PyTorch casts a frozen weight again in every forward pass (its cast cache holds only weights that
require gradients). Here each weight is rounded to bfloat16 once, which gives the same products.

A CPU without bfloat16 instructions emulates such products at less than half of the float32 speed. There the rounded
weight is kept in float32 and its input is rounded to bfloat16 before the product: a product of two bfloat16 numbers is
exact in float32 and both ways sum in float32, so the numbers agree up to the order of the sum.

Autocast leaves the result of a LayerNorm in float32, and with it the residual stream of a post-norm model. A GPU that
trains a bank waits for memory more than half of the time, so here a LayerNorm computes in float32 and rounds its
result: of the bytes that the operations between the products move in a layer of BERT, that saves a quarter. For the
same reason a decoder whose norms are LayerNorms keeps its residual stream in bfloat16 there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from beft_core.errors import UserError
from beft_core.models.placement import is_product

Affine = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Function that is the arithmetic of a kind of module: (input, weight, bias or None) -> output."""


def pick_device(name: str) -> torch.device:
    """Find the device of ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        UserError: it is not there.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(n for n in ("cuda", "mps", "cpu") if present[n])
    if not present[name]:
        have = ", ".join(n for n, there in present.items() if there)
        raise UserError(
            f"got --device {name}, which this machine does not have", f"one of auto, {have}", "--device auto"
        )
    return torch.device(name)


def cpu_has_bfloat16() -> bool:
    """Say whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX; ARM has kernels)."""
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2", "AVX512"):
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_tile"))
    return True


class Precision:
    """Arithmetic of the frozen products of one run."""

    def __init__(self, name: str, device: torch.device, frozen: bool = True) -> None:
        """Choose the arithmetic. ``frozen``: no weight is trained, so that weights may be rounded once."""
        self.low = name == "bfloat16"
        self.device = device
        self.rounds = self.low and frozen
        """Whether frozen weights, and the results of LayerNorms, are rounded to bfloat16."""
        self.narrow = self.rounds and device.type == "cuda"
        """Whether a decoder with LayerNorms adds up its layers' outputs in bfloat16 (see :meth:`narrow_stream`)."""
        self.emulated = self.rounds and device.type == "cpu" and not cpu_has_bfloat16()

    def prepare(self, backbone: nn.Module) -> None:
        """Round the weights of the matrix products once, in place. Not in float32, nor where weights are trained."""
        if not self.rounds:
            return
        for module in backbone.modules():
            if is_product(module):
                rounded = module.weight.data.to(torch.bfloat16)
                module.weight.data = rounded.float() if self.emulated else rounded

    def autocast(self) -> AbstractContextManager:
        """Open the context in which forward passes run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.low)

    @staticmethod
    def knows(module: nn.Module) -> bool:
        """Say whether :meth:`affine` knows the kind of a module."""
        return isinstance(module, nn.LayerNorm | nn.Linear | Conv1D)

    @contextmanager
    def narrow_stream(self, first: nn.Module) -> Iterator[None]:
        """Round what enters a model's first layer while the context is open, if :attr:`narrow`.

        Embeddings are float32, and a sum with one of them is, too: so would be what the layers add up, forward and
        backward. Rounded at first, it is bfloat16 in all layers, as in a model that is bfloat16 itself.
        """
        if not self.narrow:
            yield
            return

        def rounded(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            if args:
                return (args[0].to(torch.bfloat16), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": kwargs["hidden_states"].to(torch.bfloat16)}

        handle = first.register_forward_pre_hook(rounded, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def affine(self, module: nn.Module) -> Affine:
        """Return the arithmetic of a module, as a function of input, weight and bias.

        It holds nothing of the module itself: what is compiled for one layer then serves all layers.

        Raises:
            TypeError: a kind of module that it does not know.
        """
        if isinstance(module, nn.LayerNorm):
            arithmetic = rounded_layer_norm if self.rounds else _layer_norm
            return partial(arithmetic, shape=tuple(module.normalized_shape), eps=module.eps)
        product = _emulated if self.emulated else F.linear
        if isinstance(module, nn.Linear):
            return product
        if isinstance(module, Conv1D):
            return partial(_transposed, product=product)
        raise TypeError(f"{type(module).__name__} has no bias that can be trained here")

    def computes(self, module: nn.Module) -> bool:
        """Say whether even a module without a trained bias must be computed by :meth:`affine`."""
        if isinstance(module, nn.LayerNorm):
            return self.rounds and module.weight is not None
        return self.emulated and is_product(module)


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, *, shape: tuple[int, ...], eps: float) -> Tensor:
    return F.layer_norm(x, shape, weight, bias, eps)


def rounded_layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, *, shape: tuple[int, ...], eps: float) -> Tensor:
    """Normalise over the last axes, of ``shape``, in float32, and round the result to bfloat16."""
    with torch.autocast(x.device.type, enabled=False):
        return _layer_norm(x.float(), weight, bias, shape=shape, eps=eps).to(torch.bfloat16)


def _transposed(x: Tensor, weight: Tensor, bias: Tensor | None, *, product: Affine) -> Tensor:
    """Compute a product whose weight is stored as [in, out], as in GPT-2."""
    return product(x, weight.t(), bias)


def _emulated(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        exact = F.linear(
            x.to(torch.bfloat16).float(), weight, None if bias is None else bias.to(torch.bfloat16).float()
        )
    return exact.to(torch.bfloat16)
