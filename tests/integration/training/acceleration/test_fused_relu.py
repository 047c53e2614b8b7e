"""A ReLU within the product before it: the same values and gradients, and in which layers it is."""

from __future__ import annotations

import pytest
import torch
from tiny_models import inputs, tiny
from torch import nn

from beft_core.training.acceleration.fused_relu import ProductRelu, fused_relu
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision

CPU = torch.device("cpu")


def test_the_operator_is_what_compilers_expect() -> None:
    given = torch.randn(3, 8), torch.randn(6, 8), torch.randn(6)
    torch.library.opcheck(torch.ops.beft.product_relu, given, test_utils=("test_schema", "test_faketensor"))
    back = torch.randn(3, 6), torch.randn(3, 6).relu()
    torch.library.opcheck(torch.ops.beft.relu_gradient, back, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("shape", [(7, 8), (2, 3, 8)])
def test_values_and_gradient_are_those_of_two_modules(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(8, 6).requires_grad_(False)
    x = torch.randn(shape, requires_grad=True)
    weights = torch.randn(*shape[:-1], 6)
    found = []
    for one in (ProductRelu(linear), nn.Sequential(linear, nn.ReLU())):
        out = one(x)
        (gradient,) = torch.autograd.grad((out * weights).sum(), x)
        found.append((out, gradient))
    torch.testing.assert_close(found[0], found[1])


def test_it_stands_where_relu_follows_a_frozen_product() -> None:
    model = tiny("opt", attn="sdpa", dtype=torch.float32)
    slots = [slot for slot in model.layout.slots if slot.term == "mlp_in" and slot.layer == 1]
    bank = Bank(model, slots, runs=1, classes=None, precision=Precision("float32", CPU))
    before = dict(model.backbone.named_modules())
    with torch.no_grad():
        expected = model.backbone(**inputs(model))[0]
        with bank.installed(), fused_relu(model):
            kinds = [type(model.backbone.get_submodule(f"decoder.layers.{n}.fc1")) for n in (0, 1)]
            torch.testing.assert_close(model.backbone(**inputs(model))[0], expected)
            relus = sum(isinstance(one, nn.ReLU) for one in model.backbone.modules())
    assert kinds[0] is ProductRelu and kinds[1] is not ProductRelu and relus == 1
    assert dict(model.backbone.named_modules()) == before


@pytest.mark.parametrize("name", ["gpt2", "llama-bias", "bert"])
def test_other_activations_stay(name: str) -> None:
    model = tiny(name)
    with fused_relu(model):
        assert not any(isinstance(one, ProductRelu) for one in model.backbone.modules())
