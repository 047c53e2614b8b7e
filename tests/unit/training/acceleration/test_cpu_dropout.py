"""Fast dropout: the right share is dropped, the scale keeps the mean, backward uses the same mask."""

import pytest
import torch
from dropout_law import check_share_scale_and_gradient

from beft_core.training.acceleration.cpu_dropout import _attention, fast_dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_share_scale_and_gradient(p: float) -> None:
    torch.manual_seed(0)
    check_share_scale_and_gradient(lambda x: fast_dropout(x, p), p, scale_tolerance=1e-4)


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


def test_attention_drops_its_weights() -> None:
    """With the identity as values, attention returns its weights: kept ones are scaled, the rest are zero."""
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(40, 2, 8, 8, generator=generator) for _ in range(2))
    values = torch.eye(8).expand(40, 2, 8, 8)
    plain, _ = _attention(torch.nn.Module(), query, key, values, None)
    torch.manual_seed(1)
    dropped, _ = _attention(torch.nn.Module(), query, key, values, None, dropout=0.25)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], plain[kept] / 0.75)
    assert abs(kept.double().mean() - 0.75) < 0.02  # 5120 weights: five standard errors are 0.03


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_attention_looks_where_the_mask_lets_it(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 2, 5, 4, generator=generator) for _ in range(3))
    see = torch.rand(3, 1, 5, 5, generator=generator) < 0.5
    see |= torch.eye(5, dtype=torch.bool)  # no row of the softmax is empty
    mask = see if kind == torch.bool else torch.zeros(see.shape).masked_fill(~see, torch.finfo(kind).min)
    found, _ = _attention(torch.nn.Module(), query, key, value, mask)
    scores = (query.double() @ key.double().mT / 2).masked_fill(~see, -torch.inf)  # the root of a head of 4 is 2
    expected = (scores.exp() / scores.exp().sum(-1, keepdim=True)) @ value.double()
    torch.testing.assert_close(found.double(), expected.transpose(1, 2), rtol=1e-5, atol=1e-6)
