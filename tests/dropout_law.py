"""What every dropout must do, whatever draws its mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


def check_share_scale_and_gradient(drop: Callable[[Tensor], Tensor], p: float, scale_tolerance: float) -> None:
    """The right share is dropped, the scale keeps the mean, backward uses the same mask."""
    x = torch.ones(400, 501, requires_grad=True)
    y = drop(x)
    dropped = (y == 0).float().mean().item()
    assert dropped == pytest.approx(p, abs=5 * (p * (1 - p) / x.numel()) ** 0.5)
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=scale_tolerance)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
