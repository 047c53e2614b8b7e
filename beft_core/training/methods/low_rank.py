"""Low-rank changes of frozen matrices in a bank, as LoRA makes them (https://arxiv.org/abs/2106.09685).

The product with the frozen matrix is computed once for the rows of all runs. The change of each row is a product with
the two factors of the run that owns it, all rows in one batched product, so that no run's numbers touch another's. A
single fine-tune has the modules of the PEFT library instead, against which this is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from beft_core.architectures.layout import BiasSlot
from beft_core.training.batches.run_index import spread
from beft_core.training.methods.bank_linear import OfRuns

DOWN, UP = "lora_A", "lora_B"
"""Names of the factors, as PEFT has them: the change of a matrix is ``scale * lora_B @ lora_A``."""
_START = "adapter."


@dataclass(frozen=True)
class LowRank:
    """Changes ``W + scale * B A`` of matrices, which every run of a bank trains with factors of its own."""

    slots: Sequence[BiasSlot]
    """One slot of each module whose matrix is changed."""
    rank: int
    scales: Sequence[float]
    """Factor ``scale`` of each run."""

    def shapes(self, backbone: nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield the part of a bank and the shape of each factor: [rank, in] and [out, rank]."""
        for slot in self.slots:
            module: Any = backbone.get_submodule(slot.module)
            outputs, inputs = module.weight.shape[::-1] if isinstance(module, Conv1D) else module.weight.shape
            yield factor_name(slot.module, DOWN), (self.rank, inputs)
            yield factor_name(slot.module, UP), (outputs, self.rank)


def factor_name(module: str, factor: str) -> str:
    """Name the part of a bank that holds a factor of a module, by the module's path in the backbone."""
    return f"{_START}{module}.{factor}"


def is_factor(name: str) -> bool:
    """Say whether a part of a bank of this name is a factor."""
    return name.startswith(_START)


class LowRankShared(OfRuns):
    """Module whose product is computed once for all runs; each row then gets the low-rank change of its run."""

    def __init__(self, inner: nn.Module, down: Tensor, up: Tensor, scales: Tensor, per_example: bool) -> None:
        """Add to ``inner``, which computes the product as it is for all runs.

        ``down`` [runs, rank, in], ``up`` [runs, out, rank]: factors; ``scales`` [runs]; ``per_example``: rows are
        examples and not sequences of tokens.
        """
        super().__init__()
        self.inner, self.down, self.up = inner, down, up
        self.scales = scales[:, None, None]
        self.per_example = per_example

    @property
    def weight(self) -> Tensor:
        """Frozen weight, for code of the model that looks at it."""
        return self.inner.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        """Frozen bias [out], for code of the model that looks at it."""
        return self.inner.bias  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        """Compute [rows, ..., in] -> [rows, ..., out], on the device of the weight."""
        assert self.run_of is not None and self.items_of is not None, (
            "the bank says before each pass whose rows are whose"
        )
        out: Tensor = self.inner(x)
        down = spread(self.down, self.run_of, self.items_of).to(out.device)  # (rows, rank, in)
        up = spread(self.up * self.scales, self.run_of, self.items_of).to(out.device)  # (rows, out, rank)
        # Some models (OPT) flatten rows and tokens before the MLP, and an example has but one vector.
        tokens = x.to(out.device).reshape(len(down), -1, x.shape[-1])
        few = torch.bmm(tokens, down.mT)  # (rows, tokens, rank)
        return torch.baddbmm(out.view(len(up), -1, out.shape[-1]), few, up.mT).view(out.shape)
