"""Snapshots onto loaded models of transformers, and out of two of them."""

from __future__ import annotations

import copy
import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny
from training_tools import config, examples, toy_data
from transformers import AutoModelForSequenceClassification

from beft_core import Snapshot
from beft_core.errors import UserError
from beft_core.exchange.peft_adapter import head_names
from beft_core.models.biases import LoadedModel, biases, read_biases, write_biases
from beft_core.models.in_memory import copied
from beft_core.training.methods.bias_bank import outside_modules
from beft_core.training.workflow import fit_bank


def fine_tuned(name: str, **settings: Any) -> tuple[Any, Snapshot, LoadedModel]:
    """A classifier of transformers, and a fine-tune of its backbone that it has not seen."""
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    model.config.num_labels, model.config.pad_token_id = 2, model.config.pad_token_id or 0
    classifier = AutoModelForSequenceClassification.from_config(model.config)
    classifier.base_model.load_state_dict(model.backbone.state_dict(), strict=False)
    run = config(**settings)
    snapshot = fit_bank(model, toy_data(), [run], trains=[examples(12, 1)], evals={})[0].sound()
    return classifier, Snapshot.of(snapshot), model


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "modernbert", "gpt2", "llama-bias", "deberta-v2"])
def test_biases_and_head_go_onto_a_classifier_and_biases_come_back(name: str) -> None:
    classifier, snapshot, model = fine_tuned(name, mode="all", terms=())
    before = copy.deepcopy(classifier)
    assert snapshot.apply_to(classifier, head=True) is classifier
    back = Snapshot.from_models(before, classifier)
    assert back.keys() == snapshot.keys() and back.meta.trained_terms == snapshot.meta.trained_terms
    for key in snapshot.keys():  # noqa: SIM118
        assert np.array_equal(back.pre(*key), snapshot.pre(*key)) and np.array_equal(
            back.post(*key), snapshot.post(*key)
        )
    parameters = dict(classifier.named_parameters())
    extra = {part.removeprefix("extra.toy."): value for part, value in snapshot.extra.items()}
    for part, parameter in head_names(model.layout).items():
        if part in extra:
            assert np.array_equal(parameters[parameter].detach().numpy(), extra[part])
    if "outside.bias" in extra:
        own = LoadedModel(classifier.base_model, None, model.layout, model.config, model.info)
        placed = np.concatenate([module.bias.detach().numpy() for module in outside_modules(own)])
        assert np.array_equal(placed, extra["outside.bias"])
    assert classifier.config.id2label == dict(enumerate(snapshot.meta.heads["toy"]["labels"]))
    assert classifier.config.label2id == {name: i for i, name in classifier.config.id2label.items()}
    if "pooler.bias" in extra:
        assert np.array_equal(classifier.bert.pooler.dense.bias.detach().numpy(), extra["pooler.bias"])


def test_without_the_head_only_biases_change() -> None:
    classifier, snapshot, _ = fine_tuned("bert")
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    snapshot.apply_to(classifier)
    changed = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"bert.encoder.layer.{layer}.attention.self.value.bias" for layer in range(2)}
    snapshot.apply_to(classifier)  # a second time changes nothing
    assert changed == {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}


def test_a_model_in_half_precision_is_known_by_rounded_values() -> None:
    classifier, snapshot, model = fine_tuned("bert")
    snapshot.apply_to(classifier.to(torch.bfloat16))
    read = read_biases(classifier.bert, model.layout)["encoder", "v"]
    rounded = torch.tensor(snapshot.post("encoder", "v")).bfloat16().float().numpy()
    assert np.array_equal(read, rounded)


@pytest.mark.parametrize("name", ["bert", "gpt2"])  # whose projections are three, and one
def test_of_a_model_in_half_precision_only_what_was_trained_moved(name: str) -> None:
    before = tiny(name, attn="sdpa", dtype=torch.float32)
    rng = np.random.default_rng(0)  # biases that bfloat16 rounds
    write_biases(before, {key: rng.normal(size=value.shape) for key, value in biases(before).items()})
    tuned = tiny(name, attn="sdpa", dtype=torch.float32)
    moved = {key: value + (key[1] == "v") for key, value in biases(before).items()}
    write_biases(tuned, moved)
    snapshot = Snapshot.from_models(before.backbone, tuned.backbone.to(torch.bfloat16))
    assert snapshot.meta.trained_terms == ("v",)
    stack = before.layout.stack
    assert np.array_equal(snapshot.post(stack, "q"), snapshot.pre(stack, "q"))
    rounded = torch.tensor(moved[stack, "v"]).to(torch.bfloat16).float().numpy()
    assert np.array_equal(snapshot.post(stack, "v"), rounded)


def test_a_bias_that_was_added_is_added() -> None:
    model = tiny("llama", attn="sdpa", dtype=torch.float32)
    after = copy.deepcopy(model.backbone)
    for layer in after.layers:
        layer.self_attn.v_proj.bias = torch.nn.Parameter(torch.ones(layer.self_attn.v_proj.out_features))
    snapshot = Snapshot.from_models(model.backbone, after, task="t", seed=3)
    assert snapshot.meta.trained_terms == ("v",) and snapshot.meta.seed == 3 and not snapshot.pre("decoder", "v").any()
    another = tiny("llama", attn="sdpa", dtype=torch.float32, seed=1).backbone
    with pytest.raises(UserError, match="got a LlamaModel whose weights are not those that the fine-tune started from"):
        snapshot.apply_to(another)
    assert all(layer.self_attn.v_proj.bias is None for layer in another.layers)
    snapshot.apply_to(model.backbone)
    snapshot.apply_to(model.backbone)  # once more: it is the same model, with the bias that it has by now
    assert model.backbone.layers[1].self_attn.v_proj.bias.tolist() == after.layers[1].self_attn.v_proj.bias.tolist()
    with pytest.raises(UserError, match=r"with layers\.0\.self_attn\.v_proj\.bias, which its configuration has no pla"):
        copied(model.backbone, SimpleNamespace(get_vocab=dict))  # it would be trained without


def test_what_does_not_fit_is_refused_and_nothing_is_written() -> None:
    classifier, snapshot, _ = fine_tuned("bert")
    other = tiny("bert", dtype=torch.float32, seed=1).backbone
    three = AutoModelForSequenceClassification.from_config(with_labels(classifier.config, 3))
    three.base_model.load_state_dict(classifier.base_model.state_dict())
    whole = Snapshot.of(changed(snapshot, mode="full"))
    for model, apply, words in [
        (other, lambda m: snapshot.apply_to(m), "got a model whose q is not what the fine-tune started from"),
        (tiny("gpt2").backbone, lambda m: snapshot.apply_to(m), "got encoder.q of shape|got the term"),
        (classifier.bert, lambda m: snapshot.apply_to(m, head=True), "got a BertModel, which has no head.bias"),
        (three, lambda m: snapshot.apply_to(m, head=True), "of shape .3,.; expected .*num_labels=2"),
        (classifier, lambda m: snapshot.apply_to(m, head="sst2"), "got a snapshot without a head for sst2"),
        (classifier, lambda m: whole.apply_to(m), "got a snapshot of mode full, whose weights changed too"),
    ]:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(UserError, match=words):
            apply(model)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(UserError, match="got a str for a model"):
        snapshot.apply_to("bert")  # type: ignore[type-var]


def test_two_models_that_do_not_fit_are_refused() -> None:
    bert = tiny("bert", dtype=torch.float32).backbone
    for after, details, words in [
        (tiny("roberta", dtype=torch.float32).backbone, {}, "got a roberta model after a bert model"),
        (tiny("bert", dtype=torch.float32, heads=2).backbone, {"sed": 1}, "got the keyword sed; .*; try seed"),
        (3, {}, "got a int for a model"),
    ]:
        with pytest.raises(UserError, match=words):
            Snapshot.from_models(bert, after, **details)  # type: ignore[arg-type]


def with_labels(own: Any, labels: int) -> Any:
    changed = copy.deepcopy(own)
    changed.num_labels = labels
    return changed


def changed(snapshot: Snapshot, **changes: Any) -> Snapshot:
    pre, post = ({key: get(*key) for key in snapshot.keys()} for get in (snapshot.pre, snapshot.post))  # noqa: SIM118
    return Snapshot.build(dataclasses.replace(snapshot.meta, **changes), pre, post)
