"""Adapters of the PEFT library against a plain loop of PEFT and PyTorch, without any code of the lab."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft_tools import StopAfter, classifier, even, plain_loop
from tiny_models import HIDDEN, inputs, tiny
from training_tools import config, difference, examples, fit, toy_data

from beft_core.adapter_methods import ADAPTERS
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.snapshots.snapshot import Snapshot, adapter_beside, read_snapshot, write_snapshot
from beft_core.training.batches.encoded import Encoded
from beft_core.training.evaluate import evaluate
from beft_core.training.methods.adapters import AdapterWeights
from beft_core.training.preconditions import with_adapter
from beft_core.training.workflow import fit_bank, train

peft = pytest.importorskip("peft")
BaseTunerLayer = pytest.importorskip("peft.tuners.tuners_utils").BaseTunerLayer

SIZES: dict[str, dict[str, Any]] = {
    **{name: {"rank": 4} for name in ("lora", "dora", "vera")},
    **{name: {"virtual_tokens": 3} for name in ("prefix", "prompt-tuning")},
}


def run(method: str, **changes: Any) -> RunConfig:
    """A short fine-tune of a method, small enough for a tiny model."""
    return config(mode=method, terms=(), **({"max_length": 32} | SIZES.get(method, {}) | changes))


def left(model: LoadedModel, one: RunConfig, data: Encoded, **more: Any) -> AdapterFolder:
    """The adapter that a fine-tune of ours leaves."""
    (snapshot,) = fit(model, one, trains=[data], validation=even(6, 7), **more)
    assert snapshot.adapter is not None
    assert snapshot.meta.provenance["adapter"] == snapshot.adapter.digest()
    assert snapshot.meta.trained_parameters == sum(
        value.size
        for name, value in snapshot.adapter.tensors.items()
        if "classifier" not in name and "score" not in name
    ) - (2 * 4 * HIDDEN if one.mode == "vera" else 0)  # its random matrices are saved and not trained
    return snapshot.adapter


@pytest.mark.parametrize("method", ADAPTERS)
@pytest.mark.parametrize("name", ["bert", "opt"])
def test_a_fine_tune_ends_where_a_plain_loop_of_peft_ends(name: str, method: str) -> None:
    one, data = run(method), examples(10, 3) if name == "bert" else even(10, 3)
    ours = left(tiny(name, attn="sdpa", dtype=torch.float32), one, data)
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    _, theirs = plain_loop(model, one, data)
    assert set(ours.tensors) == set(theirs)
    start = AdapterWeights(model, one).adapter({}).tensors
    assert any(np.abs(ours.tensors[key] - value).max() > 0.02 for key, value in start.items()), "nothing was trained"
    for key, value in theirs.items():
        np.testing.assert_allclose(ours.tensors[key], value.detach().numpy(), atol=2e-4, err_msg=key)


@pytest.mark.parametrize("method", ADAPTERS)
@pytest.mark.parametrize("name", ["roberta", "distilbert", "opt", "llama"])
def test_peft_itself_opens_the_folder_with_the_same_logits(name: str, method: str, tmp_path: Path) -> None:
    one, data = run(method, add_bias=()), even(10, 3)
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    whole = classifier(model)
    if model.layout.terms == ():
        from beft_core.models.biases import add_zero_bias

        add_zero_bias(model, "v")
    try:
        trained = fit_bank(model, toy_data(), [one], trains=[data], evals={"validation": even(6, 7)})[0]
    except UserError as error:  # what the architecture lacks is said
        assert (name, method) in {("llama", "ln-tuning"), ("distilbert", "prefix")}, error
        return
    folder = trained.snapshot.adapter
    assert folder is not None
    folder.write(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["inference_mode"]
    ids = torch.tensor(np.array(even(6, 7).ids))
    if method == "prefix":
        return  # see test_virtual_tokens: PEFT's classifiers do not know what transformers calls cache
    opened = peft.PeftModel.from_pretrained(whole, tmp_path).eval()
    with torch.no_grad():
        theirs = opened(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    np.testing.assert_allclose(trained.logits["validation"], theirs.numpy(), atol=1e-4)


@pytest.mark.parametrize("method", ADAPTERS)
def test_a_fine_tune_that_was_stopped_ends_with_the_same_bytes(method: str, tmp_path: Path) -> None:
    one = run(method, dropout=True)
    (whole,) = fit("bert", one)
    checkpoint = tmp_path / "checkpoint.safetensors"
    (part,) = fit("bert", one, checkpoint=checkpoint, observer=StopAfter(3))
    (again,) = fit("bert", one, checkpoint=checkpoint)
    assert whole.adapter is not None and part.adapter is not None and again.adapter is not None
    assert whole.adapter.digest() == again.adapter.digest() != part.adapter.digest()
    assert difference(whole, again) == 0 and whole.meta.to_json() == again.meta.to_json()


@pytest.mark.parametrize("method", ADAPTERS)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_layout_and_acceleration_change_nothing(name: str, method: str) -> None:
    if (name, method) == ("gpt2", "peft-beft"):
        return  # refused below
    wide = {"targets": ("q", "k", "v")} if name == "gpt2" and ADAPTERS[method].targets == ("q", "v") else {}
    wide = {"targets": ("o", "mlp_out")} if (name, method) == ("gpt2", "ia3") else wide
    plain, quick = run(method, plain=True, pad="longest", **wide), run(method, **wide)
    one, other = (fit(name, each)[0] for each in (plain, quick))
    assert one.adapter is not None and other.adapter is not None and difference(one, other) < 1e-4
    for key, value in one.adapter.tensors.items():
        np.testing.assert_allclose(value, other.adapter.tensors[key], atol=1e-4, err_msg=key)


@pytest.mark.parametrize("method", ADAPTERS)
def test_frozen_products_may_be_short(method: str) -> None:
    exact, short = (fit("bert", run(method, precision=name))[0] for name in ("float32", "bfloat16"))
    assert exact.adapter is not None and short.adapter is not None
    for key, value in exact.adapter.tensors.items():
        other = short.adapter.tensors[key]
        assert np.isfinite(other).all() and np.abs(value - other).max() < 0.1, key


def test_chosen_projections_and_layers_alone_are_wrapped() -> None:
    (one,) = fit("bert", run("lora", targets=("k",), layers=(1,)))
    assert one.adapter is not None
    wrapped = {name.rsplit(".lora", 1)[0] for name in one.adapter.tensors if "lora" in name}
    assert wrapped == {"base_model.model.bert.encoder.layer.1.attention.self.key"}
    assert one.meta.hyperparameters["targets"] == ["k"] and one.meta.hyperparameters["rank"] == 4
    assert one.meta.layers == (1,) and one.meta.trained_terms == () and one.meta.mode == "lora"


@pytest.mark.parametrize(
    ("name", "method", "changes", "said"),
    [
        ("gpt2", "peft-beft", {"targets": ("q", "k", "v")}, "Conv1D"),
        ("gpt2", "lora", {"targets": ("q",)}, "q k v are one matrix"),
        ("bloom", "peft-beft", {"targets": ("v",)}, "--terms v, which trains its part alone"),
        ("llama", "ln-tuning", {}, "no ln1 to wrap"),
        ("deberta-v2", "prefix", {}, "takes no keys and values from outside"),
        ("bloom", "prefix", {}, "takes no keys and values from outside"),
        ("bert", "prefix", {"max_length": 62}, "which are this model's positions"),
        ("roberta", "prefix", {"max_length": 60}, "at most 62 together"),
        ("bert", "lora", {"layers": (7,)}, "got layer 7"),
        ("bert", "prompt-tuning", {"pad": "packed"}, "--pad packed with --method prompt-tuning"),
        ("bert", "prefix", {"virtual_tokens": 4096}, "at most 64 together.*; try --virtual-tokens 32"),
        ("deberta", "lora", {"targets": ("q", "v")}, "not one of a module; expected some of o, mlp_in, mlp_out$"),
    ],
)
def test_what_a_model_cannot_have_is_said_in_one_line(
    name: str, method: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        fit(name, run(method, **changes))


def test_the_base_stays_as_it_was() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    rows = inputs(model)
    with torch.no_grad():
        before = model.backbone(**rows)[0]
    (one,) = fit(model, run("lora"))
    model.backbone.eval()
    with torch.no_grad():
        assert not torch.equal(before, model.backbone(**rows)[0])
        for module in model.backbone.modules():
            if isinstance(module, BaseTunerLayer):
                module.enable_adapters(False)
        assert torch.equal(before, model.backbone(**rows)[0])
    assert all(np.array_equal(one.pre(*key), one.post(*key)) for key in one.keys())  # noqa: SIM118


@pytest.mark.parametrize("method", ["lora", "vera", "ia3", "prefix", "prompt-tuning"])
def test_a_fine_tune_is_scored_again_from_its_files(method: str, tmp_path: Path) -> None:
    run = RunConfig(
        mode=method, terms=(), n_train=24, n_eval=30, epochs=2, batch_size=8, max_length=16, lr=1e-2, device="cpu"
    )
    trained = train(run)
    file = tmp_path / "one.beft.safetensors"
    write_snapshot(file, trained)
    again = with_adapter(read_snapshot(file), file)
    metrics = evaluate(again, run)
    assert metrics["accuracy"] == trained.meta.metrics[-1]["accuracy"]
    if run.method.before_text:
        with pytest.raises(UserError, match="before texts of up to 512; expected at most 512 together"):
            evaluate(again, dataclasses.replace(run, max_length=512))
    other = with_adapter(read_snapshot(file), file)
    assert other.adapter is not None
    folder = adapter_beside(file)
    AdapterFolder(other.adapter.config, {n: v + 1 for n, v in other.adapter.tensors.items()}).write(folder)
    with pytest.raises(UserError, match=r"which is not the adapter of one\.beft"):
        with_adapter(read_snapshot(file), file)
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="got no adapter in"):
        with_adapter(read_snapshot(file), file)
    with pytest.raises(UserError, match="whose result is the adapter beside it"):
        evaluate(read_snapshot(file), run)


@pytest.fixture(scope="module")
def of_bert() -> Snapshot:
    """A fine-tune of LoRA on a tiny BERT."""
    return fit("bert", run("lora", epochs=1))[0]


@pytest.mark.parametrize(
    ("name", "recorded", "said"),
    [
        ("bert", {"rank": 0}, "got --rank 0; expected 1 to 4096"),
        ("bert", {"rank": "many"}, "got rank = 'many'"),
        (
            "bert",
            {"rank": 2},
            "whose tensors are not those of lora on .*; expected the adapter that the fine-tune wrote",
        ),
        ("bert", {"targets": ["x"]}, "got --targets x with --method lora"),
        ("bert", {"targets": []}, "each target once, and at least one"),
        ("bert", {"alpha": -1.0}, "got --alpha -1"),
        ("opt", {}, "whose tensors are not those of lora on"),
        ("gpt2", {}, "q k v are one matrix"),
    ],
)
def test_an_adapter_of_another_model_or_of_settings_that_none_has_is_refused(
    of_bert: Snapshot, name: str, recorded: dict[str, Any], said: str
) -> None:
    meta = dataclasses.replace(of_bert.meta, hyperparameters={**of_bert.meta.hyperparameters, **recorded})
    one = of_bert.with_meta(meta)
    one.adapter = of_bert.adapter
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    before = dict(model.backbone.named_modules())
    with pytest.raises(UserError, match=said):
        AdapterWeights.of(one, model, 32)
    assert dict(model.backbone.named_modules()) == before, "nothing is left in the model"


def test_a_release_of_peft_without_the_method_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(peft, "BeftConfig")
    with pytest.raises(UserError, match=r"got --method peft-beft in peft .*; expected peft 0\.21 or later; try pip"):
        AdapterWeights(tiny("bert", attn="sdpa", dtype=torch.float32), run("peft-beft"))
