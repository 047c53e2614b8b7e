"""LayerNorms of a frozen model that compute in float32 and round their result, in one kernel each way.

PyTorch takes one kernel to widen the input, one to normalise it and one to round the result, and as many backward: of a
hidden state in bfloat16 they move 26 bytes per element, where 10 do. A compiler makes one kernel of them by itself, so
compiled layers keep PyTorch's operations.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from beft_core.models.biases import LoadedModel
from beft_core.training.methods.bank_linear import OwnAffine
from beft_core.training.module_swap import standing_in
from beft_core.training.precision import rounded_layer_norm


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        from beft_core.training.acceleration.fused import norm_kernels

        flat = x.reshape(-1, x.shape[-1]).contiguous()
        out, mean, scale = norm_kernels.forward(flat, weight, bias, eps)
        ctx.save_for_backward(flat, weight, mean, scale)
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        from beft_core.training.acceleration.fused import norm_kernels

        flat, weight, mean, scale = ctx.saved_tensors
        grad = grads[0].reshape(flat.shape).contiguous()
        return norm_kernels.backward(grad, flat, weight, mean, scale).view(grads[0].shape), None, None, None


class RoundedNorm(nn.Module):
    """Module that stands in for a frozen ``LayerNorm`` in float32 whose result is rounded to bfloat16."""

    def __init__(self, own: OwnAffine, eps: float) -> None:
        """Replace what a bank has put in the place of the ``LayerNorm``."""
        super().__init__()
        self.weight, self.bias, self.eps = own.weight, own.bias, eps

    def forward(self, x: Tensor) -> Tensor:
        """Compute [..., width] -> bfloat16 [..., width]; the gradient has the type of ``x``."""
        out: Tensor = _Norm.apply(x, self.weight, self.bias, self.eps)
        return out


def rounded_norms(model: LoadedModel) -> AbstractContextManager[None]:
    """Make a model's LayerNorms one kernel each while the context is open; the bank must be installed.

    Those whose weight or bias is trained, and those of a bank that does not round, stay as they are.
    """
    from beft_core.training.acceleration.fused.norm_kernels import MAX_WIDTH

    stand_ins: dict[nn.Module, nn.Module] = {}
    for module in model.backbone.modules():
        frozen = isinstance(module, OwnAffine) and not any(one.requires_grad for one in module.parameters())
        how = module.affine if frozen else None
        if isinstance(how, partial) and how.func is rounded_layer_norm:
            (*axes, width), eps = how.keywords["shape"], how.keywords["eps"]
            if not axes and width <= MAX_WIDTH:
                stand_ins[module] = RoundedNorm(module, eps)
    return standing_in([model.backbone], stand_ins)
