"""Every row of the table against a small model of its class: perturbing a slot changes what it should,
only that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_models import CONFIGS, KEY_ACTS, inputs, tiny
from torch import nn
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from beft_core.architectures.layout import BiasSlot
from beft_core.architectures.table import ROWS
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, add_zero_bias, biases, get_bias, restored, set_bias

CLOSE = {"rtol": 0, "atol": 1e-5}
"""Some architectures compute their softmax in float32 even where the model is float64."""


class Observation:
    """What the first layer does: attention [B, heads, T, T], its mixed values [B, T, heads, head_dim],
    output.
    """

    def __init__(self, model: LoadedModel) -> None:
        layout = model.layout
        mixed: list[torch.Tensor] = []
        first_output = next(s for s in (*layout.slots, *layout.addable) if s.term == "o")
        hook = model.backbone.get_submodule(first_output.module).register_forward_pre_hook(
            lambda module, args: mixed.append(args[0].detach())
        )
        with torch.no_grad():
            result = model.backbone(**inputs(model), output_attentions=True)
        hook.remove()
        self.attention = result.attentions[0]
        self.mixed = mixed[0].unflatten(-1, (layout.heads, layout.head_dim))
        self.output = result.last_hidden_state

    def attention_heads_changed(self, other: Observation) -> set[int]:
        return _changed(self.attention.transpose(0, 1), other.attention.transpose(0, 1))

    def mixed_heads_changed(self, other: Observation) -> set[int]:
        return _changed(self.mixed.permute(2, 0, 1, 3), other.mixed.permute(2, 0, 1, 3))


def _changed(a: torch.Tensor, b: torch.Tensor) -> set[int]:
    return {head for head in range(len(a)) if not torch.allclose(a[head], b[head], **CLOSE)}


def _with_all_biases(name: str) -> LoadedModel:
    model = tiny(name)
    for slot in model.layout.addable:
        add_zero_bias(model, slot.term)
    return model


def _perturbed(model: LoadedModel, slot: BiasSlot, elements: slice = slice(None)) -> Observation:
    with restored(model):
        value = get_bias(model.backbone, slot)
        noise = torch.randn(slot.width, generator=torch.Generator().manual_seed(3), dtype=value.dtype)
        value[elements] += 2 * noise[elements]
        set_bias(model.backbone, slot, value)
        return Observation(model)


def test_every_row_has_a_tiny_model() -> None:
    assert {model_type for model_type, _ in CONFIGS.values()} == set(ROWS)


@pytest.mark.parametrize("name", CONFIGS)
def test_each_head_of_q_k_and_v_is_where_the_row_says(name: str) -> None:
    model = _with_all_biases(name)
    layout = model.layout
    base = Observation(model)
    width = layout.head_dim
    group = layout.heads // layout.kv_heads
    for term in ("q", "k", "v"):
        if term not in layout.terms:
            continue
        slot = layout.slots_of(term)[0]
        heads = layout.heads if term == "q" else layout.kv_heads
        assert slot.width == heads * width
        for head in range(heads):
            changed = _perturbed(model, slot, slice(head * width, (head + 1) * width))
            served = {head} if term == "q" else set(range(head * group, (head + 1) * group))
            if term == "v":
                assert base.attention_heads_changed(changed) == set()
                assert base.mixed_heads_changed(changed) == served
            else:
                expected = served if term == "q" or name in KEY_ACTS else set()
                assert base.attention_heads_changed(changed) == expected
                assert base.mixed_heads_changed(changed) == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_the_path_of_a_layer_is_an_entry_of_a_list(name: str) -> None:
    model = tiny(name)
    paths = [model.layout.layer_path(layer) for layer in range(model.layout.layers)]
    lists = {path: model.backbone.get_submodule(path.rpartition(".")[0]) for path in paths}
    assert len(lists) == len(paths) and all(isinstance(one, nn.ModuleList) for one in lists.values())
    assert sum(len(one) for one in {id(one): one for one in lists.values()}.values()) == len(paths)


@pytest.mark.parametrize("name", CONFIGS)
def test_key_rule(name: str) -> None:
    assert tiny(name).layout.key_rule.null == (name not in KEY_ACTS and name != "deberta")  # v1 has no key bias


@pytest.mark.parametrize("name", CONFIGS)
def test_every_term_acts_downstream_and_only_there(name: str) -> None:
    model = _with_all_biases(name)
    base = Observation(model)
    for term in ("o", "mlp_in", "mlp_out", "ln1", "ln2"):
        for slot in model.layout.slots_of(term)[:1]:
            changed = _perturbed(model, slot)
            assert not torch.allclose(base.output, changed.output, **CLOSE), term
            if term in ("o", "mlp_in", "mlp_out"):
                torch.testing.assert_close(base.attention, changed.attention, **CLOSE)
                torch.testing.assert_close(base.mixed, changed.mixed, **CLOSE)


@pytest.mark.parametrize("name", CONFIGS)
def test_slots_cover_whole_parameters_and_no_element_twice(name: str) -> None:
    model = _with_all_biases(name)
    parameters = dict(model.backbone.named_parameters())
    seen = {key: np.zeros(value.shape, int) for key, value in parameters.items() if value.dim() == 1}
    for slot in model.layout.slots:
        assert seen[slot.parameter][slot.index].size == slot.width
        seen[slot.parameter][slot.index] += 1
    for slot in model.layout.slots:
        assert (seen[slot.parameter] == 1).all(), slot.parameter
    # All biases in the layers that the table does not name are of modules outside the eight terms.
    prefixes = {slot.module.split(".")[0] for slot in model.layout.slots}
    rest = {
        key.rsplit(".", 2)[-2]
        for key, value in parameters.items()
        if key.endswith("bias") and key.split(".")[0] in prefixes and not seen[key].any()
    }
    outside = {
        "albert": {"embedding_hidden_mapping_in"},
        "modernbert": {"attn_norm"},
        "llama-bias": {"up_proj"},
        "deberta-v2": {"pos_key_proj", "pos_query_proj", "LayerNorm"},
        "deberta": {"pos_q_proj"},
        "deberta-v2-c2p": {"pos_key_proj"},
        "opt": {"final_layer_norm"},
    }
    assert rest <= outside.get(name, set())


@pytest.mark.parametrize("name", CONFIGS)
def test_setting_one_slot_leaves_every_other_term_alone(name: str) -> None:
    model = _with_all_biases(name)
    before = biases(model)
    for slot in model.layout.slots:
        with restored(model):
            set_bias(model.backbone, slot, np.full(slot.width, 7.0))
            for (stack, term), values in biases(model).items():
                expected = before[stack, term].copy()
                if term == slot.term:
                    expected[slot.layer] = 7.0
                np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("name", "term", "has"),
    [
        ("llama", "v", "none"),
        ("gptj", "q", "mlp_in, mlp_out, ln1"),
        ("qwen2", "ln1", "q, k, v"),
        ("deberta", "k", "q, v, o, mlp_in, mlp_out, ln1, ln2"),
        ("modernbert-no-bias", "v", "none"),
    ],
)
def test_a_missing_term_is_an_error_that_lists_the_others(name: str, term: str, has: str) -> None:
    layout = tiny(name).layout
    with pytest.raises(UserError, match=f"one of its terms: {has}"):
        layout.require([term])


@pytest.mark.parametrize("with_head", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_checkpoints_on_disk_have_one_of_the_names(name: str, with_head: bool, tmp_path: Path) -> None:
    model = tiny(name, dtype=torch.float32)
    saved: Any = model.backbone
    if with_head:
        auto = AutoModelForImageClassification if name == "vit" else AutoModelForSequenceClassification
        saved = auto.from_config(model.config)
        saved.base_model.load_state_dict(model.backbone.state_dict(), strict=False)
    saved.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        for slot in model.layout.slots:
            found = [key for key in model.layout.checkpoint_names(slot) if key in file.keys()]  # noqa: SIM118
            assert len(found) == 1, slot.parameter
            np.testing.assert_array_equal(file.get_tensor(found[0])[slot.index], get_bias(model.backbone, slot).numpy())
