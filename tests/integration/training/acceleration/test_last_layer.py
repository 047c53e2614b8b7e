"""The last layer for what the heads read: the same numbers and gradients as the whole layer, with less work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, HIDDEN, LAYERS, tiny
from torch import Tensor, nn
from training_tools import config, examples, fit, planned

from beft_core.models.biases import LoadedModel
from beft_core.training.acceleration.last_layer import LastLayer, reader_of, reads_few
from beft_core.training.batches.arrange import DevicePass, arrange, lay_out
from beft_core.training.batches.run_index import RunIndex, to_device
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision
from beft_core.training.predict import Predictor

CPU = torch.device("cpu")
POST_NORM = ("bert", "roberta", "electra", "distilbert")
ROWS = {
    "alone": [[0], [1], [2], [3], [4]],
    "alone, in another order": [[2], [0], [1], [4], [3]],
    "packed": [[0, 1, 2], [3], [4]],
}
"""Examples 0 to 2 belong to one run, 3 and 4 to another."""
RUNS = [0, 0, 0, 1, 1]


def pass_over(model: LoadedModel, rows: Sequence[Sequence[int]], seed: int = 3) -> tuple[Bank, DevicePass]:
    """A pass of two runs that train everything, each with biases of its own."""
    batch = examples(5, seed)
    reader = reader_of(model)
    bank = Bank(model, model.layout.slots, runs=2, classes=2, precision=Precision("float32", CPU), reader=reader)
    with torch.no_grad():
        bank.values += torch.randn(bank.values.shape, generator=torch.Generator().manual_seed(1)) * 0.1
    width = max(sum(len(batch.ids[i]) for i in row) for row in rows)
    one = arrange(model, batch, np.array(RUNS), planned(rows, width), by_example=reader.by_example)
    arrays = {name: to_device(array, CPU) for name, array in one.arrays.items()}
    bank.route(RunIndex.to(CPU, one.run_of_row, 2), RunIndex.to(CPU, one.run_of_example, 2))
    return bank, lay_out(model, one.shape, arrays, batch.tokens)


def vectors_and_gradient(model: LoadedModel, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    bank, laid = pass_over(model, rows)
    with bank.installed():
        vectors = bank.vectors(laid)
        weight = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(2))
        (vectors * weight).sum().backward()
    return vectors.detach(), bank.grads.clone()


def whole(patch: pytest.MonkeyPatch) -> None:
    """Every token goes through the last layer, in transformers' code."""
    patch.setattr("beft_core.training.acceleration.last_layer.reads_few", lambda layout: False)


@pytest.mark.parametrize("layout", ROWS)
@pytest.mark.parametrize("name", POST_NORM)
def test_the_same_vectors_and_gradients(name: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    assert reads_few(model.layout)
    few, few_gradient = vectors_and_gradient(model, ROWS[layout])
    whole(monkeypatch)
    all_, all_gradient = vectors_and_gradient(model, ROWS[layout])
    assert few.shape == (5, HIDDEN)
    torch.testing.assert_close(few, all_, atol=2e-6, rtol=2e-6)
    assert all_gradient.norm() > 1
    torch.testing.assert_close(few_gradient, all_gradient, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("layout", ROWS)
@pytest.mark.parametrize("name", POST_NORM)
def test_what_is_read_is_all_that_is_computed(name: str, layout: str) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    paths = {slot.term: slot.module for slot in model.layout.slots if slot.layer == LAYERS - 1}
    seen: dict[str, tuple[int, ...]] = {}
    bank, laid = pass_over(model, ROWS[layout])
    with bank.installed():
        for term, path in paths.items():
            module = model.backbone.get_submodule(path)
            module.register_forward_pre_hook(lambda _, inputs, term=term: seen.update({term: inputs[0].shape[:-1]}))
        bank.vectors(laid)
    assert seen == {term: laid.inputs["input_ids"].shape if term in ("k", "v") else (5,) for term in paths}


@pytest.mark.parametrize("name", POST_NORM)
def test_every_dropout_of_the_layer_acts(name: str) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    bank, laid = pass_over(model, ROWS["packed"])
    with bank.installed(), torch.no_grad():
        expected = bank.vectors(laid)
        layer = next(one for one in model.backbone.modules() if isinstance(one, LastLayer))
        drops = [one for one in layer.modules() if isinstance(one, nn.Dropout)]
        assert len(drops) == (2 if name == "distilbert" else 3)
        for one in model.backbone.modules():
            if isinstance(one, nn.Dropout):
                one.p = 0.0
        model.backbone.train()
        torch.testing.assert_close(bank.vectors(laid), expected)
        for drop in drops:
            drop.p = 0.9
            assert (bank.vectors(laid) - expected).abs().max() > 1e-2
            drop.p = 0.0


def test_a_run_that_is_not_finite_leaves_the_others_alone() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    expected, gradient = vectors_and_gradient(model, ROWS["packed"])
    bank, laid = pass_over(model, ROWS["packed"])
    with torch.no_grad():
        bank.values[1] = float("nan")  # its first row follows the last row of the other
    with bank.installed():
        vectors = bank.vectors(laid)
        weight = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(2))
        (vectors * weight).sum().backward()
    assert vectors[3:].isnan().all() and bank.grads[1].isnan().any()
    assert torch.equal(vectors[:3], expected[:3]) and torch.equal(bank.grads[0], gradient[0])


def test_the_layer_is_given_back() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    before = dict(model.backbone.named_modules())
    bank, _ = pass_over(model, ROWS["alone"])
    with bank.installed():
        assert [path for path, _ in model.backbone.named_modules()] == [path for path in before if "pooler" not in path]
    assert dict(model.backbone.named_modules()) == before


def test_which_architectures_can() -> None:
    assert {name for name in CONFIGS if reads_few(tiny(name).layout)} == set(POST_NORM)


@pytest.mark.parametrize("name", ["albert", "gpt2", "opt", "llama-bias", "modernbert"])
def test_others_compute_the_whole_layer(name: str) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    bank, laid = pass_over(model, ROWS["alone"])
    with bank.installed(), torch.no_grad():
        assert not any(isinstance(one, LastLayer) for one in model.backbone.modules())
        assert bank.vectors(laid).shape == (5, HIDDEN)


def test_models_that_look_back_only_compute_the_whole_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "changed", ("bert", {**CONFIGS["bert"][1], "is_decoder": True}))
    layout = tiny("changed", attn="sdpa", dtype=torch.float32).layout
    assert layout.block is not None and not reads_few(layout)


def test_models_whose_heads_read_every_token_compute_the_whole_layer() -> None:
    layout = tiny("bert", attn="sdpa", dtype=torch.float32).layout
    assert reads_few(layout)
    assert not reads_few(replace(layout, head=replace(layout.head, pooling="mean")))


@pytest.mark.parametrize("name", POST_NORM)
def test_the_same_gradient_of_every_weight(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, Tensor]] = []
    for all_of_it in (False, True):
        if all_of_it:
            whole(monkeypatch)
        model = tiny(name, attn="sdpa", dtype=torch.float32)
        model.backbone.requires_grad_()
        vectors_and_gradient(model, ROWS["packed"])
        found.append({path: one.grad for path, one in model.backbone.named_parameters() if one.grad is not None})
    few, all_ = found
    assert few.keys() == all_.keys() and len(few) >= 20
    for path in few:
        torch.testing.assert_close(few[path], all_[path], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("mode", ["terms", "all", "random"])
@pytest.mark.parametrize("pad", ["packed", "buckets", "longest"])
def test_fine_tunes_end_the_same(mode: str, pad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = config(mode=mode, pad=pad, epochs=2, evaluate="epoch")
    few = fit("bert", run)[0]
    whole(monkeypatch)
    all_ = fit("bert", run)[0]
    for key in few.keys():  # noqa: SIM118
        np.testing.assert_allclose(few.post(*key), all_.post(*key), atol=2e-5)
    for ours, theirs in zip(few.meta.metrics, all_.meta.metrics, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_validation_set_is_read_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted: list[np.ndarray] = []
    predict = Predictor.predict

    def kept(*args: Any) -> np.ndarray:
        predicted.append(predict(*args))
        return predicted[-1]

    monkeypatch.setattr(Predictor, "predict", kept)
    fit("roberta", config(epochs=1))
    whole(monkeypatch)
    fit("roberta", config(epochs=1))
    np.testing.assert_allclose(predicted[0], predicted[1], atol=2e-5)
