"""Modules that stand in for those of the frozen model while a bank is installed.

Weights and biases are attributes and the arithmetic is a plain function, so that ``torch.compile`` makes one program
for all layers and not one for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from beft_core.training.batches.run_index import spread
from beft_core.training.precision import Affine


class OwnAffine(nn.Module):
    """Module with the weight and bias of another, computed with our arithmetic."""

    def __init__(self, module: nn.Module, affine: Affine) -> None:
        super().__init__()
        self.weight, self.bias = module.weight, module.bias
        self.affine = affine

    def forward(self, x: Tensor) -> Tensor:
        """Compute [..., in] -> [..., out], on the device of the weight."""
        return self.affine(x.to(self.weight.device), self.weight, self.bias)  # type: ignore[arg-type]


class OfRuns(nn.Module):
    """Module that gives each row of a pass what the run that owns it trains."""

    per_example = False
    """Whether rows are examples (the pooler, most of the last layer) and not sequences of tokens."""
    run_of: Tensor | None = None
    """Run of each row, int64 [rows], set before each pass (see RunIndex)."""
    items_of: Tensor | None = None
    """Rows of each run, int64 [runs, most], set with it."""


class SharedAffine(OfRuns):
    """Module whose product is computed once for all runs; each row then gets the bias of the run that owns it."""

    def __init__(
        self,
        module: nn.Module,
        affine: Affine,
        base: Tensor | None,
        pieces: Sequence[tuple[Tensor, Tensor | None]],
        runs: int,
        per_example: bool,
    ) -> None:
        """Replace a module, whose weight stays frozen.

        ``base``: the frozen bias [out]; ``pieces``: trained biases [runs, size] and which elements of the bias each
        replaces (None: all); ``per_example``: rows are examples (the pooler) and not sequences of tokens.
        """
        super().__init__()
        self.weight: Any = module.weight
        self.affine, self.base, self.pieces = affine, base, list(pieces)
        self.runs, self.per_example = runs, per_example

    @property
    def bias(self) -> Tensor | None:
        """Frozen bias [out], for code of the model that looks at it."""
        return self.base

    def forward(self, x: Tensor) -> Tensor:
        """Compute [rows, ..., in] -> [rows, ..., out], on the device of the weight."""
        x = x.to(self.weight.device)
        if self.runs == 1:
            return self.affine(x, self.weight, self._of_runs()[0].to(x.device))
        out = self.affine(x, self.weight, None)
        rows = self.biases().to(out)  # (rows, out)
        if self.per_example:
            return out + rows
        # Some models (OPT) flatten rows and tokens before the MLP.
        return (out.view(rows.shape[0], -1, out.shape[-1]) + rows[:, None]).view(out.shape)

    def biases(self) -> Tensor:
        """Gather the bias of each row's run: float32 [rows, out] or [examples, out]; of one run [1, out]."""
        if self.runs == 1:
            return self._of_runs()
        assert self.run_of is not None and self.items_of is not None
        return spread(self._of_runs(), self.run_of, self.items_of)

    def _of_runs(self) -> Tensor:
        """Take the biases of the runs from the bank, [runs, out]."""
        if self.base is None or self.pieces[0][1] is None:
            return self.pieces[0][0]
        full = self.base.float().expand(self.runs, -1)
        for leaf, index in self.pieces:
            # Only the slice of this term is replaced: the rest of a fused bias gets no gradient.
            assert index is not None
            full = full.index_copy(1, index, leaf)
        return full
