"""Fast dropout: the right share is dropped, the scale keeps the mean, backward uses the same mask."""

import pytest
import torch

from beft_core.training.dropout import fast_dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_share_scale_and_gradient(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 501, requires_grad=True)
    y = fast_dropout(x, p)
    dropped = (y == 0).float().mean().item()
    assert dropped == pytest.approx(p, abs=5 * (p * (1 - p) / x.numel()) ** 0.5)
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=1e-4)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_neighbours_and_rows_are_independent() -> None:
    torch.manual_seed(1)
    kept = (fast_dropout(torch.ones(2000, 256), 0.3) != 0).float() - 0.7
    for shift in (1, 2, 3, 4, 256):
        flat = kept.flatten()
        correlation = (flat[:-shift] * flat[shift:]).mean() / flat.var()
        assert abs(correlation) < 0.01


def test_zero_probability_is_the_identity_and_a_seed_repeats() -> None:
    x = torch.randn(5, 5)
    assert fast_dropout(x, 0.0) is x
    torch.manual_seed(7)
    first = fast_dropout(x, 0.5)
    torch.manual_seed(7)
    assert torch.equal(fast_dropout(x, 0.5), first)
