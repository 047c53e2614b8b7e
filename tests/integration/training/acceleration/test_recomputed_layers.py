"""Gradient checkpointing: the same gradients and dropout, in less memory, and the model as before afterwards."""

from __future__ import annotations

import pytest
import torch
from tiny_models import inputs, tiny
from training_tools import config, difference, fit

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.training.acceleration.recomputed_layers import RecomputedLayer, recomputed_layers

NAMES = ["bert", "albert", "deberta-v2", "gpt2", "opt", "qwen2-sliding", "gemma3_text-bias", "modernbert"]


def gradients(model: LoadedModel) -> tuple[list[torch.Tensor], int]:
    """Gradients of all parameters, and the bytes that the forward pass keeps for the backward pass."""
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    model.backbone.requires_grad_(True)
    torch.manual_seed(4)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        hidden = model.backbone(**inputs(model, tokens=32)).last_hidden_state
    hidden.square().sum().backward()
    found = [value.grad.clone() for value in model.backbone.parameters() if value.grad is not None]
    model.backbone.zero_grad()
    own = {value.untyped_storage().data_ptr() for value in model.backbone.parameters()}
    return found, sum(size for where, size in kept.items() if where not in own)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_same_in_less_memory(name: str) -> None:
    model = tiny(name, attn="eager")
    model.backbone.train()
    modules = list(model.backbone.modules())
    plain, all_kept = gradients(model)
    with recomputed_layers(model):
        assert any(isinstance(module, RecomputedLayer) for module in model.backbone.modules())
        again, kept = gradients(model)
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert kept < 0.4 * all_kept
    assert list(model.backbone.modules()) == modules


def test_without_gradients_nothing_is_kept_for_them() -> None:
    model = tiny("gpt2")
    with torch.no_grad(), recomputed_layers(model):
        assert not model.backbone(**inputs(model)).last_hidden_state.requires_grad


RUNS = {
    "a bank": [{"terms": ("v",), "seed": 0}, {"terms": ("q", "mlp_in"), "seed": 1}],
    "all biases": [{"mode": "all"}],
    "random entries": [{"mode": "random"}],
    "full": [{"mode": "full", "lr": 1e-3, "adam_epsilon": 2e-3}],
}


@pytest.mark.parametrize("what", RUNS)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_fine_tunes_end_at_the_same_values(name: str, what: str) -> None:
    runs = [config(**{"dropout": True, "lr": 2e-3, "epochs": 1, **own}) for own in RUNS[what]]
    kept = [RunConfig.from_dict({**run.to_dict(), "gradient_checkpointing": True}) for run in runs]
    for one, other in zip(fit(name, *runs), fit(name, *kept), strict=True):
        assert difference(one, other) < 2e-6


def test_a_plain_fine_tune_recomputes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    forward = RecomputedLayer.forward
    monkeypatch.setattr(RecomputedLayer, "forward", lambda layer, *a, **k: calls.append(1) or forward(layer, *a, **k))
    (once,) = fit("gpt2", config(plain=True, epochs=1))
    assert not calls
    (again,) = fit("gpt2", config(plain=True, gradient_checkpointing=True, epochs=1))
    assert calls and difference(once, again) < 1e-6


def test_it_does_not_go_with_compiled_layers() -> None:
    with pytest.raises(UserError, match="--gradient-checkpointing with --compile"):
        RunConfig(gradient_checkpointing=True, compile=True)
