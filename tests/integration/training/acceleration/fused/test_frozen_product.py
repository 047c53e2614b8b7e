"""Biases of frozen products that are rounded once: the same numbers, and which products they are."""

from __future__ import annotations

import pytest
import torch
from tiny_models import inputs, tiny
from torch import nn

from beft_core.training.acceleration.fused.frozen_product import FrozenProduct, frozen_products
from beft_core.training.methods.bank_linear import SharedAffine
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["opt", "bert"])
def test_frozen_products_give_the_numbers_of_autocast(name: str) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    precision = Precision("bfloat16", CPU)
    precision.emulated = False
    precision.prepare(model.backbone)
    bank = Bank(model, model.layout.slots_of("v"), runs=1, classes=2, precision=precision)
    before = dict(model.backbone.named_modules())
    found = []
    with bank.installed(), precision.autocast():
        for once in (False, True):
            bank.grads.zero_()
            if once:
                with frozen_products(model):
                    kinds = [type(module) for module in model.backbone.modules()]
                    hidden = model.backbone(**inputs(model))[0]
            else:
                hidden = model.backbone(**inputs(model))[0]
            hidden.float().square().sum().backward()
            found.append((hidden.detach(), bank.grads.clone()))
    layers = model.layout.layers
    assert kinds.count(FrozenProduct) == 5 * layers and kinds.count(SharedAffine) == layers
    assert nn.Linear not in kinds and dict(model.backbone.named_modules()) == before
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    assert found[0][1].abs().max() > 0


def test_products_in_float32_and_trained_ones_stay() -> None:
    model = tiny("opt", dtype=torch.float32)
    trained = model.backbone.get_submodule("decoder.layers.0.fc1").bfloat16()
    trained.weight.requires_grad_()
    with frozen_products(model):
        assert not any(isinstance(module, FrozenProduct) for module in model.backbone.modules())
