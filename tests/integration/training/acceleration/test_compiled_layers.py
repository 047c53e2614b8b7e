"""Layers as compiled programs: which they are, that fine-tunes are the same, and how the layers are left."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from tiny_models import inputs, tiny
from training_tools import config, difference, examples, fit, trace_layers

from beft_core.training.acceleration import session
from beft_core.training.acceleration.compiled_layers import compiled_layers, layers_of, layers_run_once, uncompiled


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return trace_layers(monkeypatch)


def test_the_layers_from_the_first_to_the_last() -> None:
    backbone = (model := tiny("gpt2")).backbone
    assert layers_of(model) == [backbone.get_submodule("h.0"), backbone.get_submodule("h.1")]
    assert layers_run_once(model)
    shared = tiny("albert")
    assert len(layers_of(shared)) == 2 and shared.config.num_hidden_layers == 4
    assert not layers_run_once(shared)


def test_layers_run_their_programs_while_it_is_open_and_not_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        def run(*given: torch.Tensor) -> object:
            programs.append(1)
            return graph(*given)

        return run

    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda layer: real(layer, backend=backend))
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    data, limit = inputs(model), torch.compiler.config.recompile_limit

    def hidden() -> torch.Tensor:
        programs.clear()
        with torch.no_grad():
            return model.backbone(**data)[0]

    plain = hidden()
    assert not programs
    with pytest.raises(ZeroDivisionError), compiled_layers(model):
        torch.testing.assert_close(hidden(), plain)
        assert len(programs) >= model.layout.layers and torch.compiler.config.recompile_limit == 64
        with uncompiled():
            hidden()
        assert not programs
        raise ZeroDivisionError
    assert torch.equal(hidden(), plain) and not programs
    assert torch.compiler.config.recompile_limit == limit


def test_compiled_layers_make_the_same_updates(traced: list[str]) -> None:
    runs = [config(terms=("v",), lr=2e-3, epochs=1), config(mode="all", seed=1, lr=1e-3, epochs=1)]
    trains = [examples(6, seed, longest=3) for seed in (0, 1)]  # steps of two shapes
    plain = fit("bert", *runs, trains=trains)
    assert not traced
    compiled = fit("bert", *(dataclasses.replace(run, compile=True) for run in runs), trains=trains)
    for one, other in zip(plain, compiled, strict=True):
        assert difference(one, other) < 1e-5
    assert traced == ["BertLayer", "LastLayer"]


def test_compiled_layers_drop_the_same_elements(traced: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where dropout of compiled layers is hashed, with the same layers as they are."""
    monkeypatch.setattr(session, "HASHED", {"cpu"})
    runs = [config(seed=seed, dropout=True, compile=True, epochs=1, batch_size=2) for seed in (0, 1)]
    trains = [examples(4, seed, longest=3) for seed in (0, 1)]
    compiled = fit("bert", *runs, trains=trains)
    assert traced == ["BertLayer", "LastLayer"]
    monkeypatch.setattr(session, "compiled_layers", lambda model: nullcontext())
    for one, other in zip(compiled, fit("bert", *runs, trains=trains), strict=True):
        assert difference(one, other) < 1e-5
    monkeypatch.setattr(session, "HASHED", set())
    assert difference(compiled[0], fit("bert", *runs, trains=trains)[0]) > 1e-4
