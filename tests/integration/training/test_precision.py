"""bfloat16 of the frozen model: what is rounded, and how little that changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import VOCABULARY, tiny
from torch import Tensor, nn
from training_tools import config, fit

from beft_core.training.acceleration.last_layer import reader_of
from beft_core.training.batches.arrange import DevicePass
from beft_core.training.batches.by_example import ByExample
from beft_core.training.batches.run_index import RunIndex
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision

CPU = torch.device("cpu")
HAS_NORM = ("bert", "roberta", "electra", "distilbert", "albert", "gpt2", "opt")


def hidden_states(name: str, precision: Precision) -> tuple[Tensor, list[tuple[Tensor, Tensor, nn.LayerNorm]]]:
    """Last hidden states of a forward pass with a bank, one by one, and input, output and module of each LayerNorm."""
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    norms = {path: one for path, one in model.backbone.named_modules() if isinstance(one, nn.LayerNorm)}
    precision.prepare(model.backbone)
    bank = Bank(model, model.layout.slots_of("v"), runs=2, classes=2, precision=precision, reader=reader_of(model))
    seen: list[tuple[Tensor, Tensor, nn.LayerNorm]] = []
    model.backbone.eval()
    with bank.installed(), precision.autocast(), torch.no_grad():
        for path, norm in norms.items():
            model.backbone.get_submodule(path).register_forward_hook(
                lambda _, inputs, output, norm=norm: seen.append((inputs[0], output, norm))
            )
        bank.route(*[RunIndex.to("cpu", [0, 1], 2)] * 2)
        tokens = torch.from_numpy(np.random.default_rng(0).integers(3, VOCABULARY, (2, 9)))
        # As if each row were nine examples, for models whose last layer computes only what is read.
        everything = torch.arange(18)
        nine = torch.full((18,), 9)
        rows = ByExample(everything // 9 * 9, nine, everything)
        laid = DevicePass({"input_ids": tokens}, everything[:, None], torch.ones(18), nine, rows)
        return bank.vectors(laid), seen


@pytest.mark.parametrize("name", HAS_NORM)
@pytest.mark.parametrize("emulated", [False, True])
def test_a_layer_norm_rounds_its_result_and_nothing_else(
    name: str, emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beft_core.training.precision.cpu_has_bfloat16", lambda: not emulated)
    exact, plain = hidden_states(name, Precision("float32", CPU))
    low, seen = hidden_states(name, Precision("bfloat16", CPU))
    assert plain and all(output.dtype == torch.float32 for _, output, _ in plain)
    assert len(seen) == len(plain)
    for x, output, norm in seen:
        centred = x.double() - x.double().mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()
        expected = scaled * norm.weight.double() + norm.bias.double()
        assert output.dtype == torch.bfloat16
        assert ((output.double() - expected).abs() <= 2**-8 * expected.abs() + 1e-6).all()
    assert 0 < (low.float() - exact).norm() < 0.02 * exact.norm()


def test_weights_are_rounded_once_unless_they_are_trained() -> None:
    for precision, rounds in (
        (Precision("bfloat16", CPU), True),
        (Precision("bfloat16", CPU, frozen=False), False),
        (Precision("float32", CPU), False),
    ):
        model = tiny("bert", attn="sdpa", dtype=torch.float32)
        weights = [one.weight for one in model.backbone.modules() if isinstance(one, nn.Linear)]
        before = [weight.data.clone() for weight in weights]
        precision.prepare(model.backbone)
        for weight, exact in zip(weights, before, strict=True):
            expected = exact.to(torch.bfloat16).float() if rounds else exact
            assert torch.equal(weight.data.float(), expected)


@pytest.mark.parametrize("fisher", [False, True])
def test_weights_reach_the_device_rounded_unless_their_fisher_is_measured_first(
    fisher: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    weight = model.backbone.get_submodule(model.layout.slots_of("v")[0].module).weight
    arrived: list[bool] = []
    move = type(model.backbone).to

    def moved(module: nn.Module, *where: object, **how: object) -> nn.Module:
        if where == (CPU,):
            arrived.append(torch.equal(weight.data.float(), weight.data.bfloat16().float()))
        return move(module, *where, **how)

    monkeypatch.setattr(type(model.backbone), "to", moved)
    fit(model, config(precision="bfloat16", fisher=fisher, epochs=1, evaluate="never"))
    assert arrived[:1] == [not fisher]


@pytest.mark.parametrize("name", ["opt", "gpt2", "gpt_neox", "llama-bias"])
def test_a_gpu_keeps_the_residual_stream_of_layer_norms_in_bfloat16(name: str) -> None:
    """And the fine-tune ends near that in float32, as it does without."""
    assert Precision("bfloat16", torch.device("cuda")).narrow
    assert not Precision("float32", torch.device("cuda")).narrow
    assert not Precision("bfloat16", torch.device("cuda"), frozen=False).narrow
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    precision = Precision("bfloat16", CPU)
    precision.emulated = False
    precision.prepare(model.backbone)
    bank = Bank(model, model.layout.slots_of("v"), runs=1, classes=2, precision=precision)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(3, VOCABULARY, (2, 9)))
    layers = [model.backbone.get_submodule(model.layout.layer_path(n)) for n in range(model.layout.layers)]
    streams, grads = [], []
    for narrow in (False, True):
        precision.narrow = narrow
        seen: list[torch.dtype] = []
        handles = [
            layer.register_forward_hook(
                lambda m, a, out, seen=seen: seen.append((out[0] if isinstance(out, tuple) else out).dtype)
            )
            for layer in layers
        ]
        bank.grads.zero_()
        with bank.installed(), precision.autocast():
            hidden = model.backbone(input_ids=tokens)[0]
            hidden.float().square().sum().backward()
        for handle in handles:
            handle.remove()
        streams.append(set(seen))
        grads.append(bank.grads.clone())
    rounds = name != "llama-bias"  # RMSNorms compute on as they are
    assert streams == [{torch.float32}, {torch.bfloat16 if rounds else torch.float32}]
    assert (grads[0] - grads[1]).norm() < 0.03 * grads[0].norm() and grads[0].norm() > 0
    assert torch.equal(grads[0], grads[1]) is not rounds
    assert not any(layer._forward_pre_hooks for layer in layers)
