"""Adding a method is one class and one row: a toy one trains through the public workflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import tiny
from torch import Tensor, nn
from training_tools import config, difference, fit

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.methods import METHODS, MethodRow
from beft_core.models.biases import LoadedModel
from beft_core.training.methods.base import Adam, Information, Method, TrainedWeights, Weights, method_for
from beft_core.training.methods.bias_terms import BiasTerms, EveryBias
from beft_core.training.methods.full import Full
from beft_core.training.methods.random_entries import RandomUniform


class NormWeights(TrainedWeights):
    """The scale of every LayerNorm."""

    def __init__(self, backbone: nn.Module, adam: Adam) -> None:
        self._scales = [one.weight for one in backbone.modules() if isinstance(one, nn.LayerNorm)]
        for scale in self._scales:
            scale.requires_grad_()
        super().__init__(adam)

    def parameters(self) -> list[Tensor]:
        return list(self._scales)


class Norms(Method):
    """The toy: scales outside of the bank, the head inside."""

    def weights(self, model: LoadedModel, information: Information) -> Weights:
        return NormWeights(model.backbone, Adam.of(self.config))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """A row for it; its class is found by the name of this module."""
    monkeypatch.setitem(__import__("sys").modules, "toy_norms", __import__("types").SimpleNamespace(Norms=Norms))
    row = MethodRow(
        "the scales of LayerNorms", "toy_norms:Norms", short="scales", changes_weights=True, shares_pass=False
    )
    monkeypatch.setitem(METHODS, "norms", row)
    return "norms"


def test_a_toy_method_trains_through_the_workflow(toy: str) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    before = {name: one.detach().clone() for name, one in model.backbone.named_parameters()}
    run = config(mode=toy, lr=1e-2)
    (snapshot,) = fit(model, run)
    changed = {name for name, one in model.backbone.named_parameters() if not torch.equal(one, before[name])}
    scales = {f"{path}.weight" for path, one in model.backbone.named_modules() if isinstance(one, nn.LayerNorm)}
    assert changed == scales
    assert snapshot.meta.mode == toy and snapshot.meta.trained_terms == ()
    assert snapshot.meta.trained_parameters == sum(before[name].numel() for name in scales)
    assert np.abs(snapshot.extra["extra.toy.head.weight"]).max() > 0
    assert difference(snapshot, fit("bert", config(mode="head", lr=1e-2))[0]) > 1e-4
    with pytest.raises(UserError, match="one of mode norms, which shares no model; expected runs of terms, all, head"):
        from beft_core.training.workflow import train_bank

        train_bank([run, config(mode=toy, seed=1)])


def test_a_mode_without_a_row_is_refused() -> None:
    with pytest.raises(UserError, match="--mode norms"):
        RunConfig(mode="norms")


@pytest.mark.parametrize(
    ("mode", "kind", "terms"),
    [
        ("terms", BiasTerms, ("q", "v")),
        ("all", EveryBias, None),
        ("head", BiasTerms, ()),
        ("full", Full, ()),
        ("random", RandomUniform, ()),
    ],
)
def test_each_row_has_its_class_and_trains_its_terms(mode: str, kind: type, terms: tuple[str, ...] | None) -> None:
    layout = tiny("bert").layout
    method = method_for(config(mode=mode, terms=("q", "v")))
    assert type(method) is kind
    assert method.terms(layout) == (layout.terms if terms is None else terms)


def test_nothing_outside_of_the_bank_is_nothing_to_do() -> None:
    nothing = Weights()
    nothing.zero_grad()
    nothing.step(torch.ones(1), 0.1)
    assert nothing.count == 0 and nothing.square_norm() == 0.0 and nothing.state() == {}
