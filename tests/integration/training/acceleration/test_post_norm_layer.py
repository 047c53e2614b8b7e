"""Post-norm layers in our own words against those of transformers, in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny_models import CONFIGS, inputs, tiny
from torch import Tensor, nn

from beft_core.models.biases import LoadedModel
from beft_core.training.acceleration.compiled_layers import layers_of
from beft_core.training.acceleration.post_norm_layer import PostNormLayer, is_post_norm
from beft_core.training.module_swap import standing_in

POST_NORM = ("bert", "roberta", "electra", "distilbert")


class Plain(PostNormLayer):
    """Every token sees every other."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        q, k, v = (self.by_head(self.of(term)(hidden)) for term in "qkv")
        attended = torch.softmax(q @ k.mT / self.head_dim**0.5, -1) @ v
        return self.after_attention(attended.transpose(1, 2).flatten(2), hidden)


class Doubled(nn.Module):
    """Stands where a dropout stood, and shows."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@contextmanager
def in_our_words(model: LoadedModel) -> Iterator[list[Plain]]:
    ours = [Plain(model, number) for number in range(model.layout.layers)]
    with standing_in([model.backbone], dict(zip(layers_of(model), ours, strict=True))):
        yield ours


def test_which_models_have_such_layers() -> None:
    layouts = {name: tiny(name).layout for name in CONFIGS}
    assert {name for name, layout in layouts.items() if is_post_norm(layout)} == set(POST_NORM)
    assert not is_post_norm(dataclasses.replace(layouts["bert"], causal=True))


@pytest.mark.parametrize("name", POST_NORM)
def test_the_same_hidden_states_and_gradients(name: str) -> None:
    model = tiny(name)
    model.backbone.requires_grad_()
    found = []
    for ours in (False, True):
        with in_our_words(model) if ours else standing_in([], {}):
            model.backbone.zero_grad()
            hidden = model.backbone(**inputs(model))[0]
            hidden.square().sum().backward()
        grads = {path: one.grad.clone() for path, one in model.backbone.named_parameters() if one.grad is not None}
        found.append((hidden.detach(), grads))
    (theirs, their_grads), (ours, our_grads) = found
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert our_grads.keys() == their_grads.keys()
    for path, grad in our_grads.items():
        torch.testing.assert_close(grad, their_grads[path], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", POST_NORM)
def test_dropout_acts_after_the_two_projections(name: str) -> None:
    model = tiny(name)
    block = model.layout.block
    assert block is not None
    paths = [path for path in (block.o_dropout, block.mlp_dropout) if path is not None]
    assert paths
    dropped = {layer.get_submodule(path): Doubled() for layer in layers_of(model) for path in paths}
    with torch.no_grad(), standing_in([model.backbone], dropped):
        theirs = model.backbone(**inputs(model))[0]
        with in_our_words(model):
            ours = model.backbone(**inputs(model))[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert (theirs - model.backbone(**inputs(model))[0]).abs().max() > 0.1


def test_it_has_the_modules_of_the_layer_at_their_paths_and_its_mode() -> None:
    model = tiny("bert")
    layer = layers_of(model)[1]
    for training in (True, False):
        layer.train(training)
        ours = Plain(model, 1)
        assert ours.training == training
        assert list(ours.named_modules())[1:] == list(layer.named_modules())[1:]
    assert {term: ours.of(term) for term in ("q", "ln1", "mlp_out")} == {
        "q": layer.attention.self.query,
        "ln1": layer.attention.output.LayerNorm,
        "mlp_out": layer.output.dense,
    }
    with standing_in([ours], {layer.output.dense: (other := nn.Identity())}):  # looked up each time
        assert ours.of("mlp_out") is other
    x = torch.arange(2 * 3 * ours.heads * ours.head_dim).view(2, 3, -1)
    assert torch.equal(ours.by_head(x)[1, 2, 0], x[1, 0, 2 * ours.head_dim : 3 * ours.head_dim])
