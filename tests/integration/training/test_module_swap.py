"""Modules that stand in for others for a while, and the model as it was afterwards."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny
from torch import nn

from beft_core.training.module_swap import attention_called, for_every_head, standing_in, takes_attention


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


def test_a_module_that_stands_twice_below_one_parent_is_replaced_twice() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, shared)
    with standing_in([model], {shared: nn.Identity()}):
        assert [type(one) for one in model] == [nn.Identity, nn.Identity]
    assert model[0] is model[1] is shared


def test_which_models_take_their_attention_from_the_registry() -> None:
    assert takes_attention(tiny("bert", attn="sdpa").backbone) and not takes_attention(tiny("bert").backbone)
    assert not takes_attention(tiny("gptj", attn="sdpa").backbone)
    with pytest.raises(ZeroDivisionError), attention_called(backbone := tiny("bert", attn="sdpa").backbone, "eager"):
        assert not takes_attention(backbone)
        raise ZeroDivisionError
    assert takes_attention(backbone)


def test_heads_that_share_keys_get_their_own() -> None:
    query = torch.zeros(2, 6, 5, 4)
    key, value = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    keys, values = for_every_head(query, key, value)
    for head in range(6):
        torch.testing.assert_close(keys[:, head], key[:, head // 2])
        torch.testing.assert_close(values[:, head], value[:, head // 2])
    assert for_every_head(query[:, :3], key, value) == (key, value)
