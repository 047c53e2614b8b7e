"""Every parameter, trained outside of the bank."""

from __future__ import annotations

import torch
from tiny_models import inputs, tiny

from beft_core.training.methods.base import Adam
from beft_core.training.methods.full import FullWeights


def test_parameters_have_gradients_only_while_they_are_trained() -> None:
    backbone = tiny("bert", attn="sdpa", dtype=torch.float32).backbone
    weights = FullWeights(backbone, Adam())
    assert weights.count == sum(parameter.numel() for parameter in backbone.parameters())
    with weights.installed():
        backbone(**inputs(tiny("bert")))[0].square().sum().backward()
        before = [parameter.detach().clone() for parameter in backbone.parameters()]
        assert float(weights.square_norm()) > 0
        weights.step(float("nan"), 0.1)  # a step that is not finite changes nothing
        assert all(map(torch.equal, before, backbone.parameters()))
        weights.step(1.0, 0.1)
        assert not all(map(torch.equal, before, backbone.parameters()))
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in backbone.parameters())
