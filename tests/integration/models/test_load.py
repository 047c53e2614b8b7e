"""Loading from every source, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CONFIGS, inputs, tiny
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertModel,
)

from beft_core.architectures.layout import HeadSpec
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, biases
from beft_core.models.load import assembled, load_model, load_tokenizer, wrap
from beft_core.models.source import bundled_path
from beft_core.snapshots.snapshot import fingerprint

TERMS_OF_BERT = ("q", "k", "v", "o", "mlp_in", "mlp_out", "ln1", "ln2")


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load_model()


# ---- Sources ----------------------------------------------------------------------------------------------------


def test_bundled(bundled: LoadedModel) -> None:
    info = bundled.info
    assert (bundled.id, bundled.revision, info.architecture, info.layers, info.hidden_size) == (
        "bundled",
        None,
        "bert",
        6,
        384,
    )
    assert bundled.layout.terms == TERMS_OF_BERT
    parameters = list(bundled.backbone.parameters())
    assert {p.dtype for p in parameters} == {torch.float32} and not any(p.requires_grad for p in parameters)
    assert not bundled.backbone.training
    assert bundled.config._attn_implementation == "sdpa"
    assert info.fingerprint == fingerprint(biases(bundled)) and len(info.fingerprint) == 64
    # The checkpoint's own pooler, not a random one.
    reference = BertModel.from_pretrained(bundled_path())
    tokens = bundled.tokenizer(["a sentence"], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(bundled.backbone(**tokens).pooler_output, reference(**tokens).pooler_output)


def test_a_folder_and_its_attention(folder: Path) -> None:
    model = load_model(str(folder), attn="eager")
    assert (model.id, model.info.layers, model.config._attn_implementation) == (folder.name, 2, "eager")
    assert load_tokenizer(str(folder))("hello")["input_ids"] == model.tokenizer("hello")["input_ids"]
    with pytest.raises(UserError, match="sdpa, eager"):
        load_model(str(folder), attn="flash")


def test_a_folder_is_recorded_by_its_full_path(
    folder: Path, bundled: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert load_model(f"./{folder.name}").info.folder == str(folder.resolve())
    assert bundled.info.folder is None


def test_sdpa_is_used_where_the_architecture_has_it_whatever_the_configuration_says(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attn_implementation": "eager"}))
    assert load_model(str(folder)).config._attn_implementation == "sdpa"
    model_type, values = CONFIGS["deberta-v2"]
    deberta = AutoConfig.for_model(model_type, **{**values, "vocab_size": 30522})
    AutoModel.from_config(deberta).save_pretrained(folder)
    assert load_model(str(folder)).config._attn_implementation == "eager"


@pytest.mark.parametrize("capped", [True, False])
def test_attention_whose_logits_are_bounded_is_not_left_to_sdpa(capped: bool) -> None:
    """Whatever transformers would choose: releases that are allowed here took SDPA, without the bound."""
    chosen: list[Any] = []

    def read(*, config: Any, attn_implementation: str | None, **_: Any) -> tuple[nn.Module, dict[str, Any]]:
        chosen.append(attn_implementation)
        return nn.Identity(), {"missing_keys": [], "mismatched_keys": []}

    model_type, values = CONFIGS["gemma2"]
    config = AutoConfig.for_model(model_type, **values)
    config.attn_logit_softcapping = 50.0 if capped else None
    assembled(read, config, "sdpa", "nowhere")
    assert chosen == ["eager" if capped else None]


@pytest.mark.parametrize("named", ["flash_attention_2", "someone/kernels", "nonsense", 7])
def test_an_attention_that_is_not_installed_is_not_missed(folder: Path, named: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key in ("attn_implementation", "_attn_implementation"):
        (folder / "config.json").write_text(json.dumps({**config, key: named}))
        for attn in ("sdpa", "eager"):
            assert load_model(str(folder), attn=attn).config._attn_implementation == attn


def test_half_precision_and_sharded_checkpoints_load_as_float32(folder: Path) -> None:
    whole = load_model(str(folder))
    whole.backbone.to(torch.bfloat16).save_pretrained(folder, max_shard_size="200KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert (folder / "model.safetensors.index.json").is_file()
    model = load_model(str(folder))
    assert {p.dtype for p in model.backbone.parameters()} == {torch.float32}
    assert model.info.architecture == "bert"


def test_a_missing_pooler_is_drawn_repeatably_and_the_random_stream_untouched(folder: Path) -> None:
    torch.manual_seed(5)
    BertForMaskedLM(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    torch.manual_seed(0)
    expected = torch.rand(1)
    poolers = []
    for _ in range(2):
        torch.manual_seed(0)
        poolers.append(load_model(str(folder)).backbone.get_parameter("pooler.dense.weight"))
        assert torch.equal(torch.rand(1), expected)
    assert torch.equal(*poolers) and poolers[0].abs().max() > 0


def test_remote_code_is_never_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("import pathlib; pathlib.Path('exploded').touch()")
    load_model(str(folder))
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "without config.json"),
        ("config.json", b"{", "not valid JSON"),
        ("config.json", b"\xff\xfe", "not valid JSON"),
        ("config.json", b"[1]", "a JSON list; expected a JSON object"),
        ("config.json", b'{"model_type": "t5"}', "'t5'"),
        ("model.safetensors", None, "without model.safetensors"),
        ("tokenizer.json", b"{", "tokenizer cannot be read"),
        ("model.safetensors", b"", "0 bytes; expected a safetensors file"),
        ("model.safetensors", b"\xff" * 64, "claims a header of"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}", "2 layers over 0 tensors"),
    ],
)
def test_broken_folders_are_told_in_one_line(folder: Path, name: str, content: bytes | None, message: str) -> None:
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_model(str(folder))
    assert "\n" not in str(error.value)


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="fill the file exactly"):
        load_model(str(folder))


def test_weights_of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 32}))
    with pytest.raises(UserError, match="without a fitting"):
        load_model(str(folder))


def test_a_model_in_memory_is_frozen_and_put_into_evaluation_mode() -> None:
    backbone = BertModel(BertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2, vocab_size=9)).train()
    model = wrap(backbone, id="mine")
    assert not any(module.training for module in model.backbone.modules())
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())


# ---- Heads ------------------------------------------------------------------------------------------------------


def _apply(head: HeadSpec, model: LoadedModel, hidden: torch.Tensor, dense: object, classifier: object) -> torch.Tensor:
    """The head as ``HeadSpec`` describes it (no dropout)."""
    activation = {"tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "relu": torch.relu, None: lambda x: x}
    pooled = {"first": hidden[:, 0], "pooler": hidden[:, 0], "last": hidden[:, -1], "mean": hidden.mean(1)}[
        head.pooling
    ]
    if head.pooler_module:
        pooled = activation[head.pooler_activation](model.backbone.get_submodule(head.pooler_module)(pooled))
    if head.dense_activation:
        pooled = activation[head.dense_activation](dense(pooled))  # type: ignore[operator]
    return classifier(pooled)  # type: ignore[operator]


HEAD_MODULES = {
    "bert": ("", "classifier"),
    "roberta": ("classifier.dense", "classifier.out_proj"),
    "electra": ("classifier.dense", "classifier.out_proj"),
    "distilbert": ("pre_classifier", "classifier"),
    "albert": ("", "classifier"),
    "deberta-v2": ("pooler.dense", "classifier"),
    "deberta": ("pooler.dense", "classifier"),
}


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "vit" and "modernbert" not in name])
def test_the_head_is_that_of_transformers(name: str) -> None:
    model = tiny(name)
    config = model.config
    config.num_labels, config.pad_token_id = 3, config.pad_token_id or 0
    reference = AutoModelForSequenceClassification.from_config(config).to(torch.float64).eval()
    reference.base_model.load_state_dict(model.backbone.state_dict(), strict=False)
    dense_path, classifier_path = HEAD_MODULES.get(config.model_type, ("", "score"))
    classifier = reference.get_submodule(classifier_path)
    assert (classifier.bias is not None) == model.layout.head.classifier_bias
    tokens = inputs(model)
    with torch.no_grad():
        expected = reference(**tokens).logits
        hidden = model.backbone(**tokens).last_hidden_state
        dense = reference.get_submodule(dense_path)
        logits = _apply(model.layout.head, model, hidden, dense, classifier)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
