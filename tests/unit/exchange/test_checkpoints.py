"""Snapshots of models that were fine-tuned elsewhere: what moved, what was added, what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from example_models import BERT, HIDDEN, MLP, bert_tensors, write_model
from safetensors.numpy import save_file
from safetensors.torch import save_file as torch_save

from beft_core.errors import UserError
from beft_core.exchange.checkpoints import extract
from beft_core.models.bias_reader import ModelWeights


def test_only_terms_that_moved_count_as_trained(tmp_path: Path) -> None:
    after = bert_tensors(0)
    after["bert.encoder.layer.1.attention.self.value.bias"][0] += 1
    base = write_model(tmp_path / "base", bert_tensors(0))
    assert extract(base, write_model(tmp_path / "tuned", after)).meta.trained_terms == ("v",)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_a_narrower_type_rounds_did_not_move(dtype: torch.dtype, tmp_path: Path) -> None:
    before = {name: torch.from_numpy(array) for name, array in bert_tensors(0).items()}
    base = write_model(tmp_path / "base", bert_tensors(0))
    tuned = write_model(tmp_path / "tuned", bert_tensors(0))
    after = {name: tensor.clone() for name, tensor in before.items()}
    value = "bert.encoder.layer.1.attention.self.value.bias"
    after[value][0] += 1
    for one, trained in ((before, ()), (after, ("v",))):
        torch_save({name: tensor.to(dtype) for name, tensor in one.items()}, tuned / "model.safetensors")
        snapshot = extract(base, tuned)
        assert snapshot.meta.trained_terms == trained
        assert any((tensor.to(dtype).float() != tensor).any() for tensor in one.values()), "as plain values all moved"
    moved = snapshot.post("encoder", "v") != snapshot.pre("encoder", "v")
    assert np.argwhere(moved).tolist() == [[1, 0]]
    assert snapshot.post("encoder", "v")[1, 0] == after[value].to(dtype)[0].float()
    narrow, wide = extract(tuned, base), extract(tuned, tuned)  # a base in the narrower type is what it is
    assert narrow.meta.trained_terms and not wide.meta.trained_terms


def test_a_bias_that_the_fine_tune_added_starts_at_zero(tmp_path: Path) -> None:
    config = {
        **BERT,
        "model_type": "llama",
        "num_key_value_heads": 1,
        "num_hidden_layers": 1,
    }
    base = write_model(tmp_path / "base", {"model.norm.weight": np.ones(HIDDEN, np.float32)}, config)
    moved = np.arange(1, 1 + HIDDEN // 2, dtype=np.float32)  # one of two heads: grouped-query width
    tuned = write_model(tmp_path / "tuned", {"model.layers.0.self_attn.v_proj.bias": moved}, config)
    with pytest.raises(UserError, match=r"got base and base, llama models without a bias term.*--add-bias v"):
        extract(base, base)
    snapshot = extract(base, tuned)
    assert snapshot.keys() == [("decoder", "v")]
    np.testing.assert_array_equal(snapshot.pre("decoder", "v"), [np.zeros(HIDDEN // 2)])
    np.testing.assert_array_equal(snapshot.post("decoder", "v"), [moved])


def test_only_terms_that_a_snapshot_holds_are_called_null(tmp_path: Path) -> None:
    """A model without a key bias: the rule of its attention would call one null, but there is none to speak of."""
    config = {**BERT, "model_type": "vit", "num_hidden_layers": 1, "qkv_bias": False}
    widths = {
        "attention.o_proj": HIDDEN,
        "mlp.fc1": MLP,
        "mlp.fc2": HIDDEN,
        "layernorm_before": HIDDEN,
        "layernorm_after": HIDDEN,
    }
    tensors = {f"layers.0.{name}.bias": np.zeros(width, np.float32) for name, width in widths.items()}
    base = write_model(tmp_path / "base", tensors, config)
    with_key = {**tensors, "layers.0.attention.k_proj.bias": np.ones(HIDDEN, np.float32)}
    same, added = extract(base, base), extract(base, write_model(tmp_path / "tuned", with_key, config))
    assert ("encoder", "k") not in same.keys() and same.meta.null_terms == ()  # noqa: SIM118
    assert ("encoder", "k") in added.keys() and added.meta.null_terms == ("k",)  # noqa: SIM118


def test_models_that_do_not_fit(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", bert_tensors(0))
    value = "bert.encoder.layer.1.attention.self.value.bias"
    for change, reason in (
        ({value: np.ones((HIDDEN, 1), np.float32)}, "value.bias is"),
        ({value: np.ones(HIDDEN + 1, np.float32)}, "value.bias is"),
        ({value: np.full(HIDDEN, np.nan, np.float32)}, "value.bias holds a NaN"),
        ({value: None}, "has no encoder.layer.1.attention.self.value.bias"),
    ):
        tensors = {n: a for n, a in {**bert_tensors(1), **change}.items() if a is not None}
        with pytest.raises(UserError, match=reason):
            extract(base, write_model(tmp_path / "tuned", tensors))
    with pytest.raises(UserError, match="roberta model tuned from a bert model"):
        extract(base, write_model(tmp_path / "tuned", bert_tensors(1), {**BERT, "model_type": "roberta"}))
    with pytest.raises(UserError, match="model type"):
        ModelWeights(write_model(tmp_path / "odd", bert_tensors(1), {"model_type": "odd"})).layout()
    save_file(bert_tensors(1), tmp_path / "1.safetensors")
    with pytest.raises(UserError, match=r"no config\.json.*--config FILE"):
        extract(tmp_path / "1.safetensors", tmp_path / "1.safetensors")
    extract(tmp_path / "1.safetensors", tmp_path / "1.safetensors", config=base / "config.json")


def test_details_are_recorded_and_the_config_may_lie_elsewhere(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", bert_tensors(0))
    tuned = write_model(tmp_path / "tuned", bert_tensors(1))
    (base / "config.json").rename(tmp_path / "c.json")
    (tuned / "config.json").unlink()
    meta = extract(base, tuned, config=tmp_path / "c.json", task="rte", seed=4, metric="accuracy").meta
    assert (meta.task, meta.seed, meta.metric, meta.mode) == ("rte", 4, "accuracy", "imported")
    assert meta.versions["numpy"] == np.__version__ and "beft-lab" in meta.versions


def test_a_tuned_model_that_lacks_a_term_of_the_base_is_refused(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", bert_tensors(0))
    lacking = {name: array for name, array in bert_tensors(1).items() if "self.query.bias" not in name}
    with pytest.raises(UserError, match=r"encoder\.layer\.0\.attention\.self\.query|lacks"):
        extract(base, write_model(tmp_path / "tuned", lacking))
