"""Modules that stand in for others for a while, and the model as it was afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from beft_core.training.module_swap import for_every_head, standing_in


def small() -> nn.Module:
    shared = nn.Linear(2, 2)
    return nn.Sequential(shared, nn.Sequential(nn.ReLU(), shared), nn.Linear(2, 2))


def test_a_module_is_replaced_everywhere_and_comes_back() -> None:
    model = small()
    before = dict(model.named_modules(remove_duplicate=False))
    with standing_in([model], {model[0]: nn.Identity(), model[2]: nn.Flatten()}):
        assert isinstance(model[0], nn.Identity) and model[1][1] is model[0]
        assert isinstance(model[2], nn.Flatten) and isinstance(model[1][0], nn.ReLU)
    after = dict(model.named_modules(remove_duplicate=False))
    assert after.keys() == before.keys() and all(after[name] is before[name] for name in before)


def test_it_comes_back_after_an_error_too_and_only_below_the_roots() -> None:
    model = small()
    first = model[0]
    with pytest.raises(ZeroDivisionError), standing_in([model[1]], {first: nn.Identity()}):
        assert model[0] is first
        assert isinstance(model[1][1], nn.Identity)
        raise ZeroDivisionError
    assert model[1][1] is first


def test_heads_that_share_keys_get_their_own() -> None:
    query = torch.zeros(2, 6, 5, 4)
    key, value = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    keys, values = for_every_head(query, key, value)
    for head in range(6):
        torch.testing.assert_close(keys[:, head], key[:, head // 2])
        torch.testing.assert_close(values[:, head], value[:, head // 2])
    assert for_every_head(query[:, :3], key, value) == (key, value)
