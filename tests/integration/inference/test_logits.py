"""Logits of many variants in one pass: as those of the model whose biases were changed by hand, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny
from training_tools import config, examples, fit
from transformers import AutoModelForSequenceClassification

from beft_core.errors import UserError
from beft_core.inference import logits as module
from beft_core.inference.logits import row_logits, variant_logits
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, add_zero_bias, biases, write_biases
from beft_core.training.methods.bias_bank import outside_modules
from beft_core.training.preconditions import head_of
from beft_core.training.predict import EVAL_TOKENS

TASK = "toy"
ENCODED = examples(7, 3)


def fresh(name: str) -> LoadedModel:
    return tiny(name, attn="sdpa", dtype=torch.float32)


def by_hand(name: str, variant: Variant, outputs: int) -> np.ndarray:
    """Logits of transformers' own classifier with everything written into it, each example alone."""
    model = fresh(name)
    for term in {term for _, term in variant.snapshot.keys()}:  # noqa: SIM118
        assert term in model.layout.terms
    write_biases(model, {key: variant.values(key) for key in variant.snapshot.keys()})  # noqa: SIM118
    head = head_of(variant.snapshot, variant.task)
    outside = head.pop("outside.bias", None)
    with torch.no_grad():
        if outside is not None:
            for bias in (one.bias for one in outside_modules(model)):
                bias.copy_(torch.tensor(outside[: len(bias)]))
                outside = outside[len(bias) :]
            assert len(outside) == 0
        model.config.num_labels = outputs
        full: Any = AutoModelForSequenceClassification.from_config(model.config).float().eval()
        full.base_model.load_state_dict(model.backbone.state_dict(), strict=False)
        if "pooler.bias" in head:
            full.base_model.pooler.dense.bias.copy_(torch.tensor(head["pooler.bias"]))
        linear = {"bert": "classifier", "roberta": "classifier.out_proj", "gpt2": "score"}[name]
        parts = {"head": linear, "head.dense": "classifier.dense"}
        for part, value in head.items():
            if part.startswith("head."):
                where, _, kind = part.rpartition(".")
                getattr(full.get_submodule(parts[where]), kind).copy_(torch.tensor(value))
        rows = [full(input_ids=torch.tensor(ids)[None]).logits[0].numpy() for ids in ENCODED.ids]
    return np.stack(rows)


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2"])
def test_every_variant_is_the_model_changed_by_hand(name: str) -> None:
    runs = [
        config(mode="all", train_null=True, lr=3e-2),
        config(terms=("v",), layers=(1,), lr=3e-2),
        config(terms=("q", "mlp_in"), lr=3e-2, seed=1),
    ]
    probe, v, q = (fit(name, run)[0] for run in runs)
    variants = [
        Variant(probe, TASK),
        Variant.before(probe, TASK),
        Variant.without_layer(probe, TASK, 0),
        Variant.without_layer(v, TASK, 1),
        Variant(v, TASK),
        Variant(q, TASK, {"q": np.array([0.5, -1.0]), "mlp_in": 2.0}),
    ]
    model = fresh(name)
    untouched = biases(model)
    found = variant_logits(model, variants, ENCODED)
    assert found.shape == (6, 7, 2) and found.dtype == np.float32
    for logits, variant in zip(found, variants, strict=True):
        np.testing.assert_allclose(logits, by_hand(name, variant, 2), atol=3e-5, rtol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-2 and np.abs(found[0] - found[2]).max() > 1e-3
    np.testing.assert_allclose(found[3], variant_logits(model, [Variant.before(v, TASK)], ENCODED)[0], atol=1e-5)
    for key, value in biases(model).items():
        np.testing.assert_array_equal(value, untouched[key])


def test_variants_that_do_not_fit_one_bank_take_several(monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = fit("bert", config(terms=("v", "ln2")))
    variants = [Variant(run, TASK, {"v": factor}) for factor in (0.0, 0.5, 1.0, 2.0, 3.0)]
    done: list[int] = []
    together = variant_logits(fresh("bert"), variants, ENCODED)
    monkeypatch.setattr(module, "MAX_VALUES", 700)  # three at a time
    monkeypatch.setitem(EVAL_TOKENS, "cpu", 40)  # in many passes
    np.testing.assert_allclose(
        variant_logits(fresh("bert"), variants, ENCODED, advance=done.append), together, atol=1e-5
    )
    assert sum(done) == 5 * len(ENCODED) and len(done) > 5


def test_a_bias_that_the_model_lacks_is_read_as_zero_by_the_others() -> None:
    runs = []
    for term in ("v", "o"):
        add_zero_bias(model := fresh("llama"), term)
        runs += fit(model, config(terms=(term,), add_bias=(term,), lr=0.1))
    variants = [Variant(runs[0], TASK), Variant.before(runs[0], TASK), Variant(runs[1], TASK)]
    found = variant_logits(fresh("llama"), variants, ENCODED)
    for logits, variant in zip(found, variants, strict=True):
        np.testing.assert_allclose(logits, variant_logits(fresh("llama"), [variant], ENCODED)[0], atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_a_variant_may_read_some_examples_only() -> None:
    (run,) = fit("bert", config(terms=("v",)))
    variants = [Variant(run, TASK), Variant.before(run, TASK), Variant(run, TASK, {"v": 3.0})]
    every = variant_logits(fresh("bert"), variants, ENCODED)
    reads = [np.arange(7), np.array([5, 1]), np.array([], np.int64)]
    done: list[int] = []
    found = variant_logits(fresh("bert"), variants, ENCODED, reads=reads, advance=done.append)
    for number, own in enumerate(reads):
        np.testing.assert_allclose(found[number, own], every[number, own], atol=1e-5)
        assert np.isnan(np.delete(found[number], own, axis=0)).all()
    assert sum(done) == 9


def test_examples_under_one_variant_each_in_several_banks(monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = fit("bert", config(terms=("v", "ln2")))
    variants = [Variant(run, TASK, {"v": factor}) for factor in (0.0, 0.5, 1.0, 2.0, 3.0)]
    of = np.array([4, 0, 3, 0, 1, 4, 0])  # nobody asks the third
    every = variant_logits(fresh("bert"), variants, ENCODED)
    monkeypatch.setattr(module, "MAX_VALUES", 500)  # two at a time
    found, alone = row_logits(fresh("bert"), variants, ENCODED, of)
    np.testing.assert_allclose(found, every[of, np.arange(7)], atol=1e-5)
    assert alone == []


def test_one_output_of_a_regression() -> None:
    (run,) = fit("bert", config(terms=("v",)), regression=True)
    found = variant_logits(fresh("bert"), [Variant(run, TASK), Variant.before(run, TASK)], ENCODED)
    assert found.shape == (2, 7, 1)
    assert (found[0] != found[1]).all()


def test_refusals() -> None:
    (two,) = fit("bert", config(terms=("v",)))
    (one,) = fit("bert", config(terms=("v",)), regression=True)
    with pytest.raises(UserError, match="heads with 1, 2 outputs"):
        variant_logits(fresh("bert"), [Variant(two, TASK), Variant(one, TASK)], ENCODED)
    with pytest.raises(UserError, match="without a head for other"):
        variant_logits(fresh("bert"), [Variant(two, "other")], ENCODED)
    with pytest.raises(UserError, match="not those of tiny-bert"):
        variant_logits(tiny("bert", dtype=torch.float32, seed=1), [Variant(two, TASK)], ENCODED)
