"""The three experiments on every architecture and the bundled model, against attention worked out by hand."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_decoder import write_decoder
from tiny_models import CONFIGS, HEAD_DIM, HEADS, KEY_ACTS, LAYERS, Words, tiny, tiny_with_words

from beft_core.errors import UserError
from beft_core.models import attention_experiments
from beft_core.models.attention_experiments import Bench, HeldModel, direction, prove
from beft_core.models.biases import get_bias, set_bias
from beft_core.models.load import load_model

FLOAT32_INSIDE = {
    "deberta",
    "bloom",
    "gptj",
    "gpt_neox",
    "gpt_neox-no-bias",
    "opt",
    "qwen2",
    "qwen2-sliding",
    "llama",
    "llama-bias",
    "mistral",
    "qwen3",
    "qwen3-bias",
    "gemma",
    "gemma2",
    "gemma3_text",
    "gemma3_text-bias",
    "falcon-multi-query",
    "falcon-heads",
    "falcon-grouped",
    "phi3",
    "modernbert",
    "modernbert-no-bias",
}
"""Architectures whose softmax or LayerNorm is computed in float32 even where the model is float64."""
TEXT = [name for name in CONFIGS if name != "vit"]


SENTENCE = "5 17 23 9 41 8"


def bench(name: str) -> Bench:
    model = tiny(name, dtype=torch.float32)
    model.tokenizer = Words()
    return Bench.of(model)


@pytest.mark.parametrize("name", TEXT)
def test_what_moves_is_what_the_mathematics_says(name: str) -> None:
    held = bench(name)
    before = {key: value.clone() for key, value in held.model.backbone.state_dict().items()}
    result = prove(held, SENTENCE, 1, 3.0, 0)
    json.dumps(result, allow_nan=False)
    still = 1e-6 if name in FLOAT32_INSIDE else 1e-12
    q, k, v = (result["terms"][term] for term in "qkv")

    assert q["moves"] == {"attention": True, "output": True}
    assert v["moves"] == {"attention": False, "output": True}
    assert name == "deberta" or set(k["moves"].values()) == {name in KEY_ACTS}
    assert q["float64"]["attention"] > 1e-3 and q["float64"]["hidden"] > 1e-3
    assert v["float64"]["attention"] == v["float32"]["attention"] == 0 and v["after"] is None
    assert v["float64"]["hidden"] > 1e-3 and v["moved"] == 0
    assert v["float64"]["fold"] < (1e-5 if name in FLOAT32_INSIDE else 1e-12)
    assert v["float32"]["fold"] < 1e-4 < v["float32"]["hidden"]
    if name == "deberta":
        assert "q_bias and v_bias" in k["absent"]
    elif name in KEY_ACTS:
        assert k["float64"]["attention"] > 1e-3 and k["after"] is not None and not result["model"]["key_null"]
    else:
        assert k["float64"]["attention"] < still and k["float64"]["hidden"] < 10 * still and k["after"] is None
        assert k["float32"]["attention"] < 1e-5 and result["model"]["key_null"]

    after = held.model.backbone.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("term", ["q", "k"])
def test_maps_equal_a_softmax_worked_out_by_hand(term: str) -> None:
    """BERT, from the hidden states that enter the layer; also through a fused projection (GPT-2)."""
    held = bench("bert")
    result = prove(held, SENTENCE, 1, 3.0, 7)
    backbone: Any = copy.deepcopy(held.model.backbone)
    entering: list[torch.Tensor] = []
    backbone.encoder.layer[1].register_forward_pre_hook(lambda module, args: entering.append(args[0]))
    ids = torch.tensor([[int(word) for word in SENTENCE.split()]])
    backbone(input_ids=ids)
    x = entering[0][0].numpy()
    state = {key: value.numpy() for key, value in backbone.encoder.layer[1].attention.self.state_dict().items()}
    d = direction(HEADS * HEAD_DIM, 3.0, 7)
    assert math.isclose(np.linalg.norm(d), 3.0)

    def attention(change: np.ndarray | float) -> np.ndarray:
        q, k = (
            (x @ state[f"{part}.weight"].T + state[f"{part}.bias"] + (change if part[0] == term else 0))
            .reshape(len(x), HEADS, HEAD_DIM)
            .transpose(1, 0, 2)
            for part in ("query", "key")
        )
        logits = np.exp(q @ k.transpose(0, 2, 1) / HEAD_DIM**0.5)
        return logits / logits.sum(-1, keepdims=True)

    plain, changed = attention(0.0), attention(d)
    np.testing.assert_allclose(result["attention"], plain, atol=1e-6)
    shown = result["terms"][term]
    if term == "q":
        np.testing.assert_allclose(shown["after"], changed, atol=1e-6)
    assert math.isclose(shown["float64"]["attention"], np.abs(changed - plain).max(), rel_tol=1e-9, abs_tol=1e-14)
    moved = 0.5 * np.abs(changed - plain).sum(-1).mean(-1)
    np.testing.assert_allclose(shown["moved_by_head"], moved, rtol=1e-9, atol=1e-14)
    assert math.isclose(shown["moved"], moved.mean(), rel_tol=1e-9, abs_tol=1e-14)


@pytest.mark.parametrize("name", ["gpt2", "bloom", "llama-bias", "albert"])
def test_changes_equal_a_plain_forward_pass_with_another_bias(name: str) -> None:
    held = bench(name)
    result = prove(held, SENTENCE, 1, 2.0, 3)
    model = held.models["float64"]
    ids = torch.tensor([[int(word) for word in SENTENCE.split()]])
    with torch.no_grad():
        before = model.backbone(input_ids=ids, output_attentions=True)
        for term in "qv":
            slot = model.layout.slots_of(term)[1]
            kept = get_bias(model.backbone, slot)
            set_bias(model.backbone, slot, kept + torch.from_numpy(direction(slot.width, 2.0, 3)))
            after = model.backbone(input_ids=ids, output_attentions=True)
            set_bias(model.backbone, slot, kept)
            shown = result["terms"][term]
            hidden = (after.last_hidden_state - before.last_hidden_state)[0]
            assert math.isclose(shown["float64"]["hidden"], float(hidden.abs().max()), rel_tol=1e-6)
            logits = attention_experiments.head(hidden.shape[1], 3) @ after.last_hidden_state[0].mean(0).numpy()
            np.testing.assert_allclose(shown["logits_after"], logits, atol=1e-6)
            shares = [
                float((a - b).abs().sum(-1).mean() / 2)
                for a, b in zip(after.attentions, before.attentions, strict=True)
            ]
            np.testing.assert_allclose(shown["by_use"], shares, atol=1e-6)
    assert shares[result["at"]] == 0


def test_a_layer_that_is_used_several_times_is_seen_at_its_first_use() -> None:
    result = prove(bench("albert"), SENTENCE, 1, 2.0, 0)  # 4 uses of 2 layers: 0 0 1 1
    assert result["at"] == 2 and result["model"]["layers"] == LAYERS
    moved = result["terms"]["v"]["by_use"]
    assert moved[:3] == [0, 0, 0] and moved[3] > 0


def test_a_model_without_such_biases_is_given_zeros() -> None:
    result = prove(bench("llama"), SENTENCE, 0, 1.0, 0)
    assert set(result["model"]["added"]) >= {"q", "k", "v", "o"} and result["terms"]["q"]["norm"] == 0


def test_the_bundled_model_in_both_precisions() -> None:
    held = HeldModel()
    result = held.prove("bundled", "The film was surprisingly good.", 2, 5.0, 0, pair="I liked it.")
    assert result["tokens"][:4] == ["[CLS]", "the", "film", "was"] and result["tokens"].count("[SEP]") == 2
    assert result["cut"] == 0 and np.shape(result["attention"]) == (12, len(result["tokens"]), len(result["tokens"]))
    q, k, v = (result["terms"][term] for term in "qkv")
    assert max(k["float64"].values()) < 1e-13 < 1e-8 < max(k["float32"].values()) < 1e-5
    assert v["float64"]["fold"] < 1e-13 and v["float32"]["fold"] < 1e-5 and v["float64"]["logits"] > 1e-3
    assert q["moved"] > 0.01 and held.describe("bundled") == result["model"]


def test_long_sentences_are_cut_and_the_number_is_told() -> None:
    result = prove(bench("bert"), " ".join(["7"] * 55), 0, 1.0, 0)
    assert len(result["tokens"]) == attention_experiments.MAX_TOKENS and result["cut"] == 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sentence": " \n"}, "no sentence"),
        ({"sentence": "x" * 401}, "401 characters"),
        ({"pair": "x" * 401}, "401 characters"),
        ({"layer": 2}, "layer 2"),
        ({"layer": -1}, "layer -1"),
        ({"size": float("nan")}, "size nan"),
        ({"size": 1e9}, "size"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_wrong_input_is_told(change: dict[str, Any], words: str) -> None:
    asked = {"sentence": SENTENCE, "layer": 0, "size": 1.0, "seed": 0, **change}
    with pytest.raises(UserError, match=words):
        prove(bench("bert"), **asked)


def test_one_model_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(
        attention_experiments, "load_model", lambda name, **_: (loaded.append(name), tiny_with_words(name))[1]
    )
    held = HeldModel()
    for name in ("bert", "bert", "roberta", "bert"):
        held.describe(name)
    assert loaded == ["bert", "roberta", "bert"]
    monkeypatch.setattr(attention_experiments, "load_model", lambda name, **_: tiny("vit"))
    with pytest.raises(UserError, match="reads pictures"):
        held.describe("a picture model")
    monkeypatch.setattr(attention_experiments, "load_model", load_model)
    assert held.describe("bundled")["layers"] == 6


def test_a_model_whose_files_were_replaced_is_loaded_again(tmp_path: Path) -> None:
    held, asked = HeldModel(), {"sentence": "a film", "layer": 0, "size": 1.0, "seed": 0}
    folder = str(write_decoder(tmp_path / "mine", seed=0))
    first = held.prove(folder, **asked)
    assert held.prove(folder, **asked)["logits"] == first["logits"]
    write_decoder(tmp_path / "mine", seed=1)
    now = held.prove(folder, **asked)["logits"]
    assert now == HeldModel().prove(folder, **asked)["logits"] != first["logits"]
