"""The bank: each run's biases act on its own rows alone, and its heads are those of transformers' own classes."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, VOCABULARY, inputs, tiny
from training_tools import config, examples, fit
from transformers import AutoModelForSequenceClassification

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, get_bias, restored, set_bias
from beft_core.training.acceleration.last_layer import reader_of
from beft_core.training.batches.arrange import arrange, lay_out
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.plan import plan
from beft_core.training.batches.run_index import RunIndex, to_device
from beft_core.training.methods.bias_bank import Bank, is_slot, slot_name
from beft_core.training.precision import Precision

CPU = torch.device("cpu")
MODULES = {  # model type -> part of our head -> module of transformers' classifier
    "modernbert": {"head.dense": "head.dense", "head.norm": "head.norm", "head": "classifier"},
    "distilbert": {"head.dense": "pre_classifier", "head": "classifier"},
    "roberta": {"head.dense": "classifier.dense", "head": "classifier.out_proj"},
    "electra": {"head.dense": "classifier.dense", "head": "classifier.out_proj"},
    "deberta-v2": {"head.dense": "pooler.dense", "head": "classifier"},
    "bert": {"head": "classifier"},
}


def with_config(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> LoadedModel:
    kind, values = CONFIGS[name]
    monkeypatch.setitem(CONFIGS, "changed", (kind, {**values, **changes}))
    return tiny("changed", attn="eager", dtype=torch.float32)


def twins(model: LoadedModel) -> tuple[Bank, torch.nn.Module]:
    """A bank of one and transformers' classifier: the same backbone, the same random head."""
    model.config.num_labels, model.config.pad_token_id = 3, model.config.pad_token_id or 0
    torch.manual_seed(5)
    reference = AutoModelForSequenceClassification.from_config(model.config).eval()
    reference.base_model.load_state_dict(model.backbone.state_dict(), strict=False)
    bank = Bank(model, [], runs=1, classes=3, precision=Precision("float32", CPU), reader=reader_of(model))
    modules = MODULES[model.layout.model_type]
    parts = {name for name in bank.parts if name.startswith("head.")}
    for part, path in modules.items():
        module = reference.get_submodule(path)
        for name, parameter in module.named_parameters():
            with torch.no_grad():  # everything far from zero, the LayerNorm's too
                parameter.add_(0.3 * torch.randn_like(parameter))
            bank.set_value(f"{part}.{name}", parameter.detach().numpy())
            parts.discard(f"{part}.{name}")
    assert not parts, "parts that transformers' head does not have"
    return bank, reference


@torch.no_grad()
def ours(bank: Bank, batch: Encoded, pad: str) -> torch.Tensor:
    """[examples, classes]"""
    model, logits = bank.model, torch.zeros(len(batch), 3)
    runs = np.zeros(len(batch), np.int64)
    for one in plan(batch.lengths, runs, pad, 16):
        arranged = arrange(model, batch, runs, one, by_example=bank.reader.by_example)
        bank.route(None, RunIndex.to(CPU, arranged.run_of_example, 1))
        arrays = {name: to_device(array, CPU) for name, array in arranged.arrays.items()}
        with bank.installed():
            logits[arranged.examples] = bank.logits(bank.vectors(lay_out(model, arranged.shape, arrays, batch.tokens)))
    return logits


def theirs(reference: torch.nn.Module, batch: Encoded) -> torch.Tensor:
    """Every example alone, so that nothing depends on how a batch is padded."""
    with torch.no_grad():
        rows = [torch.from_numpy(np.asarray(ids))[None] for ids in batch.ids]
        return torch.cat([reference(input_ids=row, attention_mask=torch.ones_like(row)).logits for row in rows])


@pytest.mark.parametrize(
    ("pooling", "classifier_bias", "norm_bias", "activation"),
    [*itertools.product(["cls", "mean"], [False, True], [False, True], ["gelu"]), ("mean", False, True, "silu")],
)
def test_modernberts_head_is_that_of_transformers(
    monkeypatch: pytest.MonkeyPatch, pooling: str, classifier_bias: bool, norm_bias: bool, activation: str
) -> None:
    model = with_config(
        monkeypatch,
        "modernbert",
        classifier_pooling=pooling,
        classifier_bias=classifier_bias,
        norm_bias=norm_bias,
        classifier_activation=activation,
    )
    bank, reference = twins(model)
    batch = examples(5, 3)
    torch.testing.assert_close(ours(bank, batch, "longest"), theirs(reference, batch), rtol=0, atol=2e-5)


@pytest.mark.parametrize("pad", ["packed", "longest", "max", "buckets"])
def test_a_mean_pooled_example_reads_its_own_tokens_and_no_more(monkeypatch: pytest.MonkeyPatch, pad: str) -> None:
    model = with_config(monkeypatch, "modernbert", classifier_pooling="mean")
    bank, reference = twins(model)
    batch = examples(7, 4)
    expected = theirs(reference, batch)
    torch.testing.assert_close(ours(bank, batch, pad), expected, rtol=0, atol=2e-5)
    for number in range(len(batch)):
        alone = ours(bank, batch.take([number]), pad)
        torch.testing.assert_close(alone, expected[number : number + 1], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", MODULES)
def test_dropout_stands_where_transformers_has_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    changes = {"distilbert": {"seq_classif_dropout": 0.5}, "modernbert": {"classifier_dropout": 0.5}}
    p = changes.get(name, {"hidden_dropout_prob": 0.5, "cls_dropout": 0.5, "pooler_dropout": 0.5})
    bank, reference = twins(with_config(monkeypatch, name, **p))
    vectors = torch.randn(2, bank.model.layout.hidden_size)

    drawn: list[str] = []

    def record(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        if training:
            assert p == 0.5
            drawn.append("dropout")
        return x

    monkeypatch.setattr(torch.nn.functional, "dropout", record)
    reference.train()
    reference.base_model.eval()
    ids = torch.randint(3, VOCABULARY, (2, 5))
    reference(input_ids=ids, attention_mask=torch.ones_like(ids))
    expected = len(drawn)
    drawn.clear()
    bank.model.backbone.train()
    bank.route(None, RunIndex.to(CPU, [0, 0], 1))
    bank.logits(vectors)
    assert len(drawn) == expected > 0


def test_a_modernbert_head_is_drawn_as_transformers_draws_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_config(
        monkeypatch, "modernbert", hidden_size=256, num_attention_heads=8, initializer_cutoff_factor=2.0
    )
    model.config.num_labels = 64
    bank = Bank(model, [], runs=1, classes=64, precision=Precision("float32", CPU))
    bank.init_head(0, 0)
    torch.manual_seed(0)
    reference = AutoModelForSequenceClassification.from_config(model.config)
    for part, path in MODULES["modernbert"].items():
        for name, parameter in reference.get_submodule(path).named_parameters():
            value, drawn = bank.value(f"{part}.{name}"), parameter.detach().numpy()
            assert value.std() == pytest.approx(drawn.std(), rel=0.02) and value.mean() == pytest.approx(
                drawn.mean(), abs=2e-3
            )
            assert np.abs(value).max() == pytest.approx(np.abs(drawn).max(), rel=0.02)


def test_an_unknown_activation_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_config(monkeypatch, "modernbert")
    model.layout = _with_activation(model, "magic")
    with pytest.raises(UserError, match="'magic'"):
        Bank(model, [], runs=1, classes=2, precision=Precision("float32", CPU))


def test_a_head_of_before_the_layernorm_is_refused() -> None:
    from beft_core.training.result import put_head

    (snapshot,) = fit("modernbert", config())
    head = {n.removeprefix("extra.toy."): v for n, v in snapshot.extra.items() if "norm" not in n}
    bank = Bank(tiny("modernbert", dtype=torch.float32), [], runs=1, classes=2, precision=Precision("float32", CPU))
    with pytest.raises(UserError, match=r"a head without head\.norm\.weight"):
        put_head(head, bank)


def _with_activation(model: LoadedModel, name: str) -> Any:

    return dataclasses.replace(model.layout, head=dataclasses.replace(model.layout.head, dense_activation=name))


# --- biases of several runs ------------------------------------------------------------------------------------------


def two_runs(name: str) -> Bank:
    """Every bias of two runs, each far from the model's own and from the other's."""
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    bank = Bank(model, model.layout.slots, runs=2, classes=2, precision=Precision("float32", CPU), outside_biases=True)
    torch.manual_seed(3)
    with torch.no_grad():
        bank.values.add_(0.3 * torch.randn_like(bank.values))
    return bank


@pytest.mark.parametrize("name", ["bert", "distilbert", "gpt2", "modernbert", "qwen2"])
def test_each_row_is_computed_with_the_biases_of_its_run(name: str) -> None:
    """Against the model alone, with these biases written into it; the fused ones of GPT-2 too."""
    bank, run_of = two_runs(name), [1, 0, 1]
    model = bank.model
    data = inputs(model, rows=3)
    bank.route(*[RunIndex.to(CPU, run_of, 2)] * 2)
    before = {path: one.clone() for path, one in model.backbone.state_dict().items()}
    with bank.installed():
        found = model.backbone(**data)[0]
    assert all(torch.equal(one, before[path]) for path, one in model.backbone.state_dict().items())
    for row, run in enumerate(run_of):
        with restored(model):
            for slot in model.layout.slots:
                set_bias(model.backbone, slot, torch.from_numpy(bank.value(slot_name(slot), run)))
            for part in bank.parts.values():
                if part.name.startswith("outside."):
                    part.module.bias.data.copy_(torch.from_numpy(bank.value(part.name, run)))
            expected = model.backbone(**{key: value[row : row + 1] for key, value in data.items()})[0]
        model.backbone.load_state_dict(before)
        torch.testing.assert_close(found[row : row + 1], expected, rtol=0, atol=2e-5)


def test_what_rows_cannot_have_otherwise_is_refused() -> None:
    precision = Precision("float32", CPU)
    shared = tiny("deberta-v2-shared", dtype=torch.float32)
    Bank(shared, shared.layout.slots, runs=1, classes=2, precision=precision)
    Bank(shared, shared.layout.slots_of("v"), runs=2, classes=2, precision=precision)
    with pytest.raises(UserError, match="got 2 fine-tunes of q at once in deberta-v2, which reads relative positions"):
        Bank(shared, shared.layout.slots, runs=2, classes=2, precision=precision)
    first = tiny("deberta", dtype=torch.float32)
    for term in ("q", "ln1"):
        with pytest.raises(UserError, match=f"whose {term} bias is not the bias of a projection"):
            Bank(first, first.layout.slots_of(term), runs=1, classes=2, precision=precision)


def test_gradients_are_those_of_each_run_and_of_what_it_owns() -> None:
    bank = two_runs("bert")
    names = [slot_name(slot) for slot in bank.model.layout.slots_of("v")]
    frozen = np.zeros(bank.parts[names[0]].shape, bool)
    frozen[:3] = True
    bank.own(1, {names[0]}, {names[0]: frozen})
    assert bank.trained_parameters(1) == frozen.size - 3
    assert bank.trained_parameters(0) == bank.values.shape[1]
    bank.route(*[RunIndex.to(CPU, [1, 1], 2)] * 2)
    with bank.installed():
        bank.model.backbone(**inputs(bank.model))[0].square().sum().backward()
    assert not bank.grads[0].any(), "no row is of run 0"
    columns = bank.parts[names[0]].columns
    whole = bank.grads[1, columns].clone()
    assert whole.all() and bank.grads[1, bank.parts[names[1]].columns].all()
    bank.mask_grads()
    assert bank.grads[1].count_nonzero() == frozen.size - 3
    assert torch.equal(bank.grads[1, columns][3:], whole[3:])


def test_what_lies_where() -> None:
    bank = two_runs("bert")
    layout = bank.model.layout
    slots = [name for name in bank.parts if is_slot(name)]
    assert slots == [slot_name(slot) for slot in layout.slots] == list(bank.slot_parts)
    assert slots[0].split(".")[0] == "encoder" and not is_slot("head.weight") and not is_slot("pooler.bias")
    parts = list(bank.parts.values())
    assert parts[0].start == 0 and parts[-1].columns.stop == bank.values.shape[1]
    assert all(one.columns.stop == other.start for one, other in itertools.pairwise(parts))
    assert bank.slots_end == sum(slot.width for slot in layout.slots)
    fresh = Bank(bank.model, layout.slots, runs=3, classes=2, precision=Precision("float32", CPU))
    for slot in layout.slots:
        np.testing.assert_array_equal(fresh.value(slot_name(slot), 2), get_bias(bank.model.backbone, slot))
    value = np.arange(layout.slots[0].width, dtype=np.float32)
    fresh.set_value(slots[0], value, 1)
    assert (fresh.value(slots[0], 1) == value).all() and not (fresh.value(slots[0], 0) == value).all()
    with pytest.raises(ValueError, match="expected"):
        fresh.set_value(slots[0], value[1:], 1)


def test_a_head_reads_states_that_are_projected_to_another_width(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_config(monkeypatch, "opt", word_embed_proj_dim=16, do_layer_norm_before=False)
    with torch.no_grad():
        states = model.backbone(**inputs(model)).last_hidden_state
    bank = Bank(model, [], runs=1, classes=3, precision=Precision("float32", CPU), reader=reader_of(model))
    assert bank.parts["head.weight"].shape == (3, states.shape[-1]) == (3, 16)
    (snapshot,) = fit(model, config(epochs=1))
    assert np.abs(snapshot.post("decoder", "v")).max() > 0
