"""Adapters of PEFT's BEFT, both ways, on small random models: the logits stay the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BloomConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from beft_core.errors import UserError
from beft_core.exchange.checkpoints import extract
from beft_core.exchange.peft_adapter import CONFIG, WEIGHTS, NoAdapter, export_peft, import_peft
from beft_core.merging.merge import merge
from beft_core.models import biases, load
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta, read_snapshot, write_snapshot

peft = pytest.importorskip("peft")

SAMPLES = Path(__file__).parents[3] / "sample_snapshots"

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "num_labels": 3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS: dict[str, tuple[PretrainedConfig, list[str]]] = {
    "bert": (BertConfig(**SIZES), ["value"]),
    "bert, every linear module": (BertConfig(**SIZES), ["query", "key", "value", "dense"]),
    "roberta": (RobertaConfig(**SIZES), ["query", "value"]),
    "bloom, fused": (BloomConfig(n_layer=2, n_head=4, **SIZES), ["query_key_value"]),
    "modernbert": (ModernBertConfig(attention_bias=True, classifier_bias=True, **SIZES), ["Wqkv"]),
    "llama, no bias of its own": (LlamaConfig(num_key_value_heads=2, **SIZES), ["v_proj", "q_proj"]),
}
IDS = torch.tensor([[5, 7, 9, 11, 13], [6, 8, 10, 12, 14]])


def base_model(folder: Path, config: PretrainedConfig) -> torch.nn.Module:
    """A random classifier, saved; biases are not zero, as in a pre-trained model."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    return model


def adapted(model: torch.nn.Module, targets: list[str]) -> Any:
    """The model under a BEFT adapter whose vectors and head have moved."""
    own = ["head", "classifier"] if model.config.model_type == "modernbert" else None
    config = peft.BeftConfig(target_modules=targets, task_type="SEQ_CLS", modules_to_save=own)
    wrapped = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "beft_bias" in name or "modules_to_save" in name:
                parameter.normal_(std=0.3)
    return wrapped


def logits(model: Any) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=IDS).logits.numpy()


def put_into(model: torch.nn.Module, folder: Path, snapshot: Snapshot) -> None:
    """Write a snapshot's terms and pooler bias into the backbone of a whole classifier, by hand."""
    backbone = model.base_model
    loaded = load.wrap(backbone, id=folder.name)
    for _, term in snapshot.keys():  # noqa: SIM118
        if term not in loaded.layout.terms:
            biases.add_zero_bias(loaded, term)
    biases.write_biases(loaded, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
    pooler = snapshot.extra.get("extra.sst2.pooler.bias")
    if pooler is not None:
        backbone.pooler.dense.bias.data = torch.tensor(pooler)


def test_only_the_layers_that_moved_get_a_vector(tmp_path: Path) -> None:
    """Judged by what PEFT itself wraps: each vector is trainable, where the adapter is loaded to be trained on."""
    base_model(tmp_path / "base", BertConfig(**SIZES | {"num_hidden_layers": 12}))
    snapshot = extract(tmp_path / "base", tmp_path / "base")
    pre = {key: snapshot.pre(*key) for key in snapshot.keys()}  # noqa: SIM118 - a method of Snapshot
    value = pre["encoder", "v"].copy()
    value[1:3] += 0.5
    moved = Snapshot.build(snapshot.meta, pre, pre | {("encoder", "v"): value})
    export_peft(moved, tmp_path / "adapter", base=tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    wrapped = peft.PeftModel.from_pretrained(model, tmp_path / "adapter", is_trainable=True)
    trained = [name for name, parameter in wrapped.named_parameters() if parameter.requires_grad]
    layers = sorted(int(name.split("encoder.layer.")[1].split(".")[0]) for name in trained)
    assert layers == [1, 2] and all("attention.self.value" in name for name in trained)


@pytest.mark.parametrize("name", CONFIGS)
def test_imported_adapter_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    config, targets = CONFIGS[name]
    wrapped = adapted(base_model(tmp_path / "base", config), targets)
    expected = logits(wrapped)
    wrapped.save_pretrained(tmp_path / "adapter")

    snapshot = import_peft(tmp_path / "adapter", tmp_path / "base", task="sst2")
    write_snapshot(tmp_path / "x.beft.safetensors", snapshot)
    snapshot = read_snapshot(tmp_path / "x.beft.safetensors")
    assert snapshot.meta.mode == "imported" and snapshot.meta.heads["sst2"]["kind"] == "classification"
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base").eval()
    assert np.abs(logits(plain) - expected).max() > 0.01
    put_into(plain, tmp_path / "base", snapshot)
    state = plain.state_dict()
    for part, array in snapshot.extra.items():
        suffix = part.removeprefix("extra.sst2.")
        if suffix.startswith("head."):
            root, _, kind = suffix.rpartition(".")
            module = "score" if "score.weight" in state else "classifier"
            if name == "roberta":
                module = {"head.dense": "classifier.dense", "head": "classifier.out_proj"}[root]
            if name == "modernbert":
                module = "classifier" if root == "head" else root
            state[f"{module}.{kind}"].copy_(torch.tensor(array))
    np.testing.assert_allclose(logits(plain), expected, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_exported_snapshot_gives_the_same_logits_in_peft(name: str, tmp_path: Path) -> None:
    config, targets = CONFIGS[name]
    wrapped = adapted(base_model(tmp_path / "base", config), targets)
    expected = logits(wrapped)
    wrapped.save_pretrained(tmp_path / "adapter")
    snapshot = import_peft(tmp_path / "adapter", tmp_path / "base", task="sst2")

    export_peft(snapshot, tmp_path / "again", base=tmp_path / "base")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base").eval()
    loaded = peft.PeftModel.from_pretrained(plain, tmp_path / "again").eval()
    np.testing.assert_allclose(logits(loaded), expected, atol=1e-5)
    own = {module.split(".")[2] for module in load_file(tmp_path / "again" / WEIGHTS) if ".beft_bias" not in module}
    assert set(json.loads((tmp_path / "again" / CONFIG).read_text())["modules_to_save"]) == own
    back = import_peft(tmp_path / "again", tmp_path / "base", task="sst2")
    assert back.keys() == snapshot.keys() and set(back.extra) == set(snapshot.extra)
    for key in snapshot.keys():  # noqa: SIM118
        pre, post = snapshot.pre(*key), snapshot.post(*key)
        exact = np.abs(post - pre) <= np.abs(post)  # elsewhere float32 has no vector that leads to the last bit
        np.testing.assert_array_equal(back.post(*key)[exact], post[exact])
        np.testing.assert_allclose(back.post(*key), post, atol=1e-6)


def test_terms_that_moved_are_the_trained_ones(tmp_path: Path) -> None:
    wrapped = adapted(base_model(tmp_path / "base", CONFIGS["bert"][0]), ["value"])
    wrapped.save_pretrained(tmp_path / "adapter")
    snapshot = import_peft(tmp_path / "adapter", tmp_path / "base")
    assert snapshot.meta.trained_terms == ("v",) and snapshot.meta.null_terms == ("k",)
    vectors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    for layer in range(2):
        name = f"base_model.model.bert.encoder.layer.{layer}.attention.self.value.beft_bias"
        pre, post = snapshot.pre("encoder", "v"), snapshot.post("encoder", "v")
        np.testing.assert_array_equal(post[layer], pre[layer] + vectors[name][0])


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A sound adapter folder beside its base, to be broken."""
    wrapped = adapted(base_model(tmp_path / "base", CONFIGS["bert"][0]), ["value"])
    wrapped.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


BERT = "base_model.model.bert."
VALUE = f"{BERT}encoder.layer.1.attention.self.value.beft_bias"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({VALUE: np.ones((1, 17), np.float32)}, "has 17 elements; expected 16"),
        ({VALUE: np.full((1, 16), np.nan, np.float32)}, "holds a NaN"),
        (
            {f"{BERT}pooler.dense.weight": np.ones((16, 16), np.float32)},
            "also trains .*pooler",
        ),
        (
            {f"{BERT}encoder.layer.7.attention.self.value.beft_bias": np.ones(16)},
            "also trains",
        ),
    ],
)
def test_adapters_that_do_not_fit(adapter: Path, change: dict, reason: str) -> None:
    file = adapter / "adapter_model.safetensors"
    save_file({**load_file(file), **change}, file)
    with pytest.raises(UserError, match=reason):
        import_peft(adapter, adapter.parent / "base")


def test_adapters_of_other_kinds(adapter: Path) -> None:
    base, config = adapter.parent / "base", adapter / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "LORA"}))
    with pytest.raises(UserError, match="type LORA; expected BEFT"):
        import_peft(adapter, base)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(UserError, match="pickle, which is never read"):
        import_peft(adapter, base)
    config.unlink()
    with pytest.raises(UserError, match=r"no adapter_config\.json"):
        import_peft(adapter, base)


def test_what_peft_cannot_hold_is_refused(adapter: Path, tmp_path: Path) -> None:
    base = adapter.parent / "base"
    snapshot = import_peft(adapter, base)
    pre = {key: snapshot.pre(*key) for key in snapshot.keys()}  # noqa: SIM118
    post = {key: array + (key[1] == "ln1") for key, array in pre.items()}
    with pytest.raises(UserError, match=r"moved encoder\.ln1"):
        export_peft(Snapshot.build(snapshot.meta, pre, post), tmp_path / "out", base=base)
    with pytest.raises(UserError, match="moved no bias term"):
        export_peft(Snapshot.build(snapshot.meta, pre, pre), tmp_path / "out", base=base)
    rewritten = dataclasses.replace(snapshot.meta, hyperparameters={"rewrite_scale": 10.0})
    with pytest.raises(UserError, match=r"was rewritten \(--rewrite-scale 10\.0\).*try beft export FILE --merged"):
        moved = {key: snapshot.post(*key) for key in pre}
        export_peft(Snapshot.build(rewritten, pre, moved), tmp_path / "out", base=base)
    other = base_model(tmp_path / "other", BertConfig(**SIZES))
    with torch.no_grad():
        other.bert.encoder.layer[0].output.dense.bias.add_(1)  # type: ignore[union-attr]
    other.save_pretrained(tmp_path / "other")  # type: ignore[operator]
    with pytest.raises(UserError, match="other is not the base model"):
        export_peft(snapshot, tmp_path / "out", base=tmp_path / "other")
    assert not (tmp_path / "out").exists()


def test_a_head_that_was_trained_with_biases_outside_of_the_layers_is_no_adapter(tmp_path: Path) -> None:
    probes = [read_snapshot(SAMPLES / f"{task}-low-seed0-probe.beft.safetensors") for task in ("sst2", "stsb")]
    merged = merge(probes, "mean", terms=["v"])  # LayerNorms are left out, but not that of the embeddings
    assert "extra.sst2.outside.bias" in merged.extra
    with pytest.raises(NoAdapter, match=r"biases outside of the layers.*beft export FILE --merged FOLDER"):
        export_peft(merged, tmp_path / "adapter", base="bundled", task="sst2")


def test_the_bundled_model_by_name(tmp_path: Path) -> None:
    model = load.load_model("bundled")
    pre = biases.biases(model)
    shifted = {key: array + 0.1 * (key[1] == "v") for key, array in pre.items()}
    meta = SnapshotMeta(model=model.info, task="sst2", trained_terms=("v",))
    head = {"extra.sst2.head.weight": np.ones((2, 384)), "extra.sst2.head.bias": np.zeros(2)}
    snapshot = Snapshot.build(meta, pre, shifted, extra=head)
    export_peft(snapshot, tmp_path / "adapter")
    back = import_peft(tmp_path / "adapter", "bundled", task="sst2")
    assert back.meta.model == snapshot.meta.model  # the same fingerprint, from disk and from the loaded model
    np.testing.assert_array_equal(back.post("encoder", "v"), snapshot.post("encoder", "v"))


def test_conv1d_is_refused_with_the_reason(tmp_path: Path) -> None:
    model: Any = base_model(tmp_path / "base", GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=50, num_labels=3))
    with torch.no_grad():
        model.transformer.h[0].attn.c_attn.bias[-16:] += 1
    model.save_pretrained(tmp_path / "tuned")
    snapshot = extract(tmp_path / "base", tmp_path / "tuned")
    assert snapshot.meta.trained_terms == ("v",)
    with pytest.raises(UserError, match=r"whose projections are Conv1D.*beft export FILE --merged FOLDER"):
        export_peft(snapshot, tmp_path / "out", base=tmp_path / "base")
    assert not (tmp_path / "out").exists()
