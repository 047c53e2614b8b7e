"""Frozen products whose bias is rounded once, with their weight.

A model's biases are float32, whatever its products compute in, and autocast rounds each of them again in every pass: of
OPT's 6.7 billion parameters' shape that are 155 kernels a step, which take less time than starting them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beft_core.models.biases import LoadedModel
from beft_core.training.module_swap import standing_in


class FrozenProduct(nn.Module):
    """Module that stands in for a frozen ``Linear`` whose weight is bfloat16."""

    def __init__(self, module: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = module.weight, module.bias.detach().to(module.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Compute [..., in] -> bfloat16 [..., out]."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


def frozen_products(model: LoadedModel) -> AbstractContextManager[None]:
    """Round the biases of a model's frozen products once while the context is open; the bank must be installed."""
    stand_ins: dict[nn.Module, nn.Module] = {
        module: FrozenProduct(module)
        for module in model.backbone.modules()
        if type(module) is nn.Linear
        and module.weight.dtype == torch.bfloat16
        and module.bias is not None
        and not any(parameter.requires_grad for parameter in module.parameters())
    }
    return standing_in([model.backbone], stand_ins)
