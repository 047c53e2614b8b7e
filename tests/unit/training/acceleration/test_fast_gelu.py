"""GELU by a short formula: values and gradient against float64."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from beft_core.training.acceleration.fast_gelu import ShortGelu, _Gelu, normal, short_gelu

X = torch.linspace(-12, 12, 48_001)


def test_distribution_and_density() -> None:
    below, density = normal(X)
    standard = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    assert (below - standard.cdf(X.double())).abs().max() < 2.5e-7
    assert (density - standard.log_prob(X.double()).exp()).abs().max() < 1e-7


def test_values_and_gradient() -> None:
    x, exact = X.clone().requires_grad_(), X.double().requires_grad_()
    ours, theirs = _Gelu.apply(x), F.gelu(exact)
    assert ((ours - theirs).abs() <= 2e-7 * exact.abs().clamp(min=1)).all()
    ours.sum().backward()
    theirs.sum().backward()
    assert (x.grad - exact.grad).abs().max() < 5e-7


def test_bfloat16_is_hardly_ever_rounded_to_a_neighbour() -> None:
    x = X[X.abs() < 4].bfloat16()
    ours, theirs = _Gelu.apply(x), F.gelu(x.double()).bfloat16()
    steps = (ours.view(torch.int16).int() - theirs.view(torch.int16).int()).abs()
    assert steps.max() <= 1 and steps.double().mean() < 5e-3


def test_infinite_and_missing_values_stay_what_they_are() -> None:
    out = _Gelu.apply(torch.tensor([float("inf"), float("nan")]))
    assert out[0] == float("inf") and out[1].isnan()


def test_it_is_short_only_where_it_is_compiled() -> None:
    module = ShortGelu()
    assert torch.equal(module(X), F.gelu(X))
    compiled = torch.compile(module, backend="eager")(X)
    assert torch.equal(compiled, _Gelu.apply(X)) and not torch.equal(compiled, F.gelu(X))


def test_only_the_exact_kind_is_replaced_and_given_back() -> None:
    kinds = [ACT2FN["gelu"], nn.GELU(), nn.GELU(approximate="tanh"), ACT2FN["gelu_new"], nn.ReLU()]
    model = nn.ModuleList(kinds)
    with short_gelu([model]):
        assert [type(module) is ShortGelu for module in model] == [True, True, False, False, False]
    assert list(model) == kinds
