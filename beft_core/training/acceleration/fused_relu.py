"""Fusion of a frozen product with the ReLU that follows it, as in OPT's MLP.

The product's output is four times as wide as a hidden state, and a ReLU of its own reads and writes it once more. The
kernel of the product can apply it before it writes at all. The gradient needs only the sign of what it wrote.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from beft_core.libraries.torch_private import product_with_relu
from beft_core.models.biases import LoadedModel
from beft_core.training.module_swap import standing_in


@torch.library.custom_op("beft::product_relu", mutates_args=())
def _product_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return product_with_relu(x, weight, bias)


@_product_relu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


@torch.library.custom_op("beft::relu_gradient", mutates_args=())
def _relu_gradient(grad: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(grad, out, 0)


@_relu_gradient.register_fake
def _(grad: Tensor, out: Tensor) -> Tensor:
    return torch.empty_like(grad)


class _ProductRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out: Tensor = _product_relu(x, weight, bias)
        ctx.save_for_backward(out, weight)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        out, weight = ctx.saved_tensors
        # As an operator of our own: a compiler would write down the signs in the forward pass, one kernel more.
        return _relu_gradient(grads[0], out) @ weight, None, None


class ProductRelu(nn.Module):
    """Module that stands in for a frozen ``Linear`` with a bias and applies the ReLU after it, too."""

    def __init__(self, module: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = module.weight, module.bias.detach().to(module.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Compute [..., in] -> [..., out], in the precision of the weight."""
        flat = x.flatten(0, -2).to(self.weight.dtype)
        out: Tensor = _ProductRelu.apply(flat, self.weight, self.bias)
        return out.view(*x.shape[:-1], out.shape[-1])


def fused_relu(model: LoadedModel) -> AbstractContextManager[None]:
    """Make a model apply ReLU within the product before it while the context is open.

    So it is in each layer where a frozen ``Linear`` with a bias, the first of the MLP, and one ReLU stand side by side.
    """
    stand_ins: dict[nn.Module, nn.Module] = {}
    for slot in model.layout.slots:
        if slot.term != "mlp_in":
            continue
        product = model.backbone.get_submodule(slot.module)
        beside = model.backbone.get_submodule(slot.module.rpartition(".")[0]).children()
        relus = [one for one in beside if type(one) is nn.ReLU]
        if type(product) is nn.Linear and product.bias is not None and len(relus) == 1:
            stand_ins |= {product: ProductRelu(product), relus[0]: nn.Identity()}
    return standing_in([model.backbone], stand_ins)
