"""Weights that are read straight to where they train have the values of those that are rounded and moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prompt_tools import Prompts
from tiny_models import tiny
from torch import nn
from training_tools import config, difference, fit

from beft_core.errors import UserError
from beft_core.models import load
from beft_core.models import placement as placements
from beft_core.models.biases import LoadedModel, add_zero_bias
from beft_core.models.load import load_model
from beft_core.models.null_certificate import null_certificate
from beft_core.models.placement import Placement, is_spread, require_on_devices
from beft_core.training.precision import Precision

CPU = torch.device("cpu")
DECODERS = ["opt", "gpt2", "gpt_neox", "llama-bias", "gemma3_text-bias"]


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer of every model here."""
    monkeypatch.setattr(load, "_load_tokenizer", lambda source: Prompts())


def saved(name: str, folder: Path) -> str:
    """Save a tiny model in shards of a few tensors."""
    tiny(name, dtype=torch.float32).backbone.save_pretrained(folder, max_shard_size="20KB")  # type: ignore[operator]
    (folder / "tokenizer.json").write_text("{}")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return str(folder)


def values(model: LoadedModel) -> dict[str, torch.Tensor]:
    return {**dict(model.backbone.named_parameters()), **dict(model.backbone.named_buffers())}


@pytest.mark.parametrize("name", DECODERS)
def test_products_are_read_rounded_and_all_else_as_it_is(name: str, tmp_path: Path) -> None:
    folder = saved(name, tmp_path)
    straight, whole = load_model(folder, placement=Placement(CPU, bfloat16=True)), load_model(folder)
    rounded = Precision("bfloat16", CPU)
    rounded.emulated = False  # as on a GPU
    rounded.prepare(whole.backbone)
    expected, found = values(whole), values(straight)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key
    assert {one.dtype for one in found.values()} >= {torch.bfloat16, torch.float32}
    assert straight.info == whole.info  # the fingerprint is over the biases, which are exact
    assert not any(one.requires_grad for one in straight.backbone.parameters())


def test_models_made_outside_and_encoders_stay_in_float32(folder: Path) -> None:
    placement = Placement(CPU, bfloat16=True)
    with placement.reading():
        assert nn.Linear(2, 2).weight.dtype == torch.float32  # one with values
    with torch.device("meta"):
        assert nn.Linear(2, 2).weight.dtype == torch.float32
    assert {one.dtype for one in load_model(str(folder), placement=placement).backbone.parameters()} == {torch.float32}


ON_GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))


def in_parts(device: str) -> LoadedModel:
    """A tiny OPT as transformers spreads one: the second layer on the CPU, all else on the device.

    Each part moves its inputs by a hook of its own; what replaces a part while a bank trains has to do so, too.
    """
    hooks = pytest.importorskip("accelerate.hooks")
    model = tiny("opt", attn="sdpa", dtype=torch.float32)
    backbone: Any = model.backbone
    parts = {"": torch.device(device), "decoder.layers.1": CPU}
    for path, where in parts.items():
        backbone.get_submodule(path).to(where)
    hooks.add_hook_to_module(backbone, hooks.AlignDevicesHook(execution_device=device, io_same_device=True))
    decoder = backbone.decoder
    for part in (*decoder.layers, decoder.final_layer_norm):
        own = next(part.parameters()).device
        hooks.add_hook_to_module(part, hooks.AlignDevicesHook(execution_device=own))
    backbone.hf_device_map = {"decoder": 0, "decoder.layers.1": 1}
    return model


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_model_in_parts_is_trained_where_they_are(
    device: str, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = in_parts(device)
    where = {name: one.device for name, one in parts.backbone.named_parameters()}
    assert is_spread(parts.backbone) and not is_spread(tiny("opt").backbone)
    assert null_certificate(parts)["k"].null
    monkeypatch.setattr(parts.backbone, "to", lambda *_: pytest.fail("a model in parts must not be moved"))
    settings: dict[str, Any] = {"device": device, "gradient_checkpointing": checkpointing, "adam_epsilon": 1e-4}
    runs = [config(terms=("v",), **settings), config(terms=("q", "mlp_in"), seed=1, lr=2e-3, **settings)]
    for some in (runs, runs[:1]):
        for a, b in zip(fit(parts, *some), fit("opt", *some), strict=True):
            assert difference(a, b) < 2e-5
            assert max(np.abs(b.post("decoder", term) - b.pre("decoder", term)).max() for term in ("v", "q")) > 1e-3
    assert {name: one.device for name, one in parts.backbone.named_parameters()} == where


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two GPUs")
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_model_is_read_onto_two_gpus_and_trained_there(tmp_path: Path, bfloat16: bool) -> None:
    folder = saved("opt", tmp_path)
    device = torch.device("cuda")
    two = {"embed_tokens": 0, "embed_positions": 0, "layers.0": 0, "layers.1": 1, "final_layer_norm": 1}
    two = {f"decoder.{path}": number for path, number in two.items()}
    placed = [load_model(folder, placement=Placement(device, bfloat16=bfloat16, parts=parts)) for parts in (two, None)]
    assert [is_spread(model.backbone) for model in placed] == [True, False]
    assert {str(one.device) for one in placed[0].backbone.parameters()} == {"cuda:0", "cuda:1"}
    settings: dict[str, Any] = {"device": "cuda", "adam_epsilon": 1e-4}
    settings["precision"] = "bfloat16" if bfloat16 else "float32"
    runs = [config(terms=("v",), **settings), config(terms=("q", "mlp_in"), seed=1, lr=2e-3, **settings)]
    for a, b in zip(*(fit(model, *runs) for model in placed), strict=True):
        assert difference(a, b) < (2e-3 if bfloat16 else 2e-5)


def test_a_bias_is_added_where_its_module_is() -> None:
    model = tiny("llama", dtype=torch.float32)
    model.backbone.get_submodule("layers.1").to("meta")
    add_zero_bias(model, "v")
    found = [model.backbone.get_submodule(slot.module).bias.device.type for slot in model.layout.slots_of("v")]  # type: ignore[union-attr]
    assert found == ["cpu", "meta"]


@pytest.mark.parametrize(
    ("free", "gb", "expected"),
    [
        ([10e9], 8, {"": torch.device("cuda")}),
        ([10e9, 10e9], 8, {"": torch.device("cuda")}),
        ([10e9, 10e9], 16, "auto"),
        ([10e9], 16, None),
        ([10e9, 10e9], 24, None),
    ],
)
def test_a_model_is_spread_only_where_one_gpu_cannot_hold_it(
    free: list[float], gb: float, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (int(free[number]), 0))
    with torch.device("meta"):
        shapes = nn.Linear(1000, int(gb * 1e9 / 4 / 1000 / placements.ROOM), bias=False)
    placement = Placement(torch.device("cuda"))
    if expected is None:
        with pytest.raises(UserError, match=f"needs {gb} GB to be trained.*{len(free)} GPU"):
            placement.device_map(shapes)
    else:
        assert placement.device_map(shapes) == expected
    assert Placement(CPU).device_map(shapes) == {"": CPU}


def test_memory_of_models_before_is_given_back_and_other_gpus_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = [1e9], list[int]()

    def info(number: int) -> tuple[int, int]:
        asked.append(number)
        return int(free[number]), 0

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", info)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: free.__setitem__(0, 10e9))
    with torch.device("meta"):
        shapes = nn.Linear(1000, 1_000_000, bias=False)  # 4 GB
    device = torch.device("cuda")
    assert Placement(device).device_map(shapes) == {"": device} and asked == [0]


def test_what_no_gpu_holds_is_refused() -> None:
    backbone = nn.Linear(1, 1)
    backbone.hf_device_map = {"a": 0, "b": 1}  # type: ignore[assignment]
    require_on_devices(backbone)
    backbone.hf_device_map = {"a": 0, "layers.7": "cpu", "layers.8": "disk"}  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"layers\.7 does not fit on the GPUs"):
        require_on_devices(backbone)
