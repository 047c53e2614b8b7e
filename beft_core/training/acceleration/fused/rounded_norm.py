"""LayerNorms with a frozen weight that compute in float32 and round their result, in one kernel each way.

PyTorch takes one kernel to widen the input, one to normalise it and one to round the result, and as many backward: of a
hidden state in bfloat16 they move 26 bytes per element, where 10 do. Where the bias is trained, backward reads the
gradient once more, and nothing for the weight, of which PyTorch computes a gradient all the same. A compiler makes one
kernel of them by itself, so compiled layers keep PyTorch's operations.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from beft_core.models.biases import LoadedModel
from beft_core.training.methods.bank_linear import OwnAffine, SharedAffine
from beft_core.training.module_swap import standing_in
from beft_core.training.precision import rounded_layer_norm


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        from beft_core.training.acceleration.fused import norm_kernels

        flat = x.reshape(-1, x.shape[-1]).contiguous()
        out, mean, scale = norm_kernels.forward(flat, weight, None if bias is None else bias.contiguous(), eps)
        ctx.save_for_backward(flat, weight, mean, scale)
        ctx.biases = bias.shape if bias is not None and ctx.needs_input_grad[2] else None
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        from beft_core.training.acceleration.fused import norm_kernels

        flat, weight, mean, scale = ctx.saved_tensors
        grad = grads[0].reshape(flat.shape).contiguous()
        of_input = of_bias = None
        if ctx.needs_input_grad[0]:
            of_input = norm_kernels.backward(grad, flat, weight, mean, scale).view(grads[0].shape)
        if ctx.biases is not None:
            groups, width = ctx.biases
            of_bias = grad.view(groups, -1, width).sum(1, dtype=torch.float32)
        return of_input, None, of_bias, None


class RoundedNorm(nn.Module):
    """Module that stands in for a ``LayerNorm`` in float32 whose result is rounded to bfloat16."""

    def __init__(self, own: OwnAffine | SharedAffine, eps: float) -> None:
        """Replace what a bank has put in the place of the ``LayerNorm``, whose weight is frozen."""
        super().__init__()
        self.own, self.eps = own, eps

    @property
    def weight(self) -> Tensor:
        """Weight [width], for code of the model that looks at it."""
        return self.own.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        """Frozen bias [width], likewise."""
        return self.own.bias  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        """Compute [..., width] -> bfloat16 [..., width]; the gradient has the type of ``x``."""
        bias = self.own.biases() if isinstance(self.own, SharedAffine) else self.bias
        out: Tensor = _Norm.apply(x, self.weight, bias, self.eps)
        return out


def rounded_norms(model: LoadedModel) -> AbstractContextManager[None]:
    """Make a model's LayerNorms one kernel each while the context is open; the bank must be installed.

    Those whose weight is trained, or whose bias is by something else than the bank, and those of a bank that does not
    round, stay as they are.
    """
    from beft_core.training.acceleration.fused.norm_kernels import MAX_WIDTH

    stand_ins: dict[nn.Module, nn.Module] = {}
    for module in model.backbone.modules():
        if not isinstance(module, OwnAffine | SharedAffine):
            continue
        how = None if any(one.requires_grad for one in module.parameters()) else module.affine
        if isinstance(how, partial) and how.func is rounded_layer_norm:
            (*axes, width), eps = how.keywords["shape"], how.keywords["eps"]
            if not axes and width <= MAX_WIDTH:
                stand_ins[module] = RoundedNorm(module, eps)
    return standing_in([model.backbone], stand_ins)
