"""The batched per-example Fisher information against a loop of one example at a time with torch.autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import tiny
from torch.nn import functional as F
from training_tools import CLASSIFICATION, REGRESSION, config, examples, fit

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.training.batches.encoded import Encoded
from beft_core.training.fisher import information
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.objectives.registry import objective_of
from beft_core.training.precision import Precision

CPU = Precision("float32", torch.device("cpu"))


def head_for(model: LoadedModel, classes: int) -> dict[str, np.ndarray]:
    bank = Bank(model, [], runs=1, classes=classes, precision=CPU)
    bank.init_head(0, 5)
    return {name: bank.value(name) for name in bank.parts if name.startswith("head.")}


def loop(model: LoadedModel, data: Encoded, head: dict[str, np.ndarray], regression: bool) -> list[torch.Tensor]:
    """Gradients of log p for one example after the other: all biases, then the head, concatenated."""
    slots = model.layout.slots
    biases = [model.backbone.get_submodule(slot.module).bias for slot in slots]
    outside = [
        p for n, p in model.backbone.named_parameters() if n.endswith("bias") and not any(p is b for b in biases)
    ]
    rest = {name: torch.tensor(value, requires_grad=True) for name, value in head.items()}
    leaves = list(dict.fromkeys([*biases, *outside]))
    for leaf in leaves:
        leaf.requires_grad_()
    spec = model.layout.head
    gradients = []
    for ids, label in zip(data.ids, data.labels, strict=True):
        hidden = model.backbone(torch.as_tensor(ids)[None])[0][0]
        vector = hidden[-1] if spec.pooling == "last" else hidden[0]
        if spec.pooler_module is not None:
            vector = torch.tanh(model.backbone.get_submodule(spec.pooler_module)(vector))
        if spec.dense_activation is not None:
            activation = {"tanh": torch.tanh, "gelu": F.gelu, "relu": torch.relu}[spec.dense_activation]
            vector = activation(rest["head.dense.weight"] @ vector + rest.get("head.dense.bias", 0))
        if spec.norm_eps is not None:
            vector = F.layer_norm(
                vector, vector.shape, rest["head.norm.weight"], rest.get("head.norm.bias"), spec.norm_eps
            )
        logits = rest["head.weight"] @ vector + rest.get("head.bias", torch.zeros(()))
        value = -0.5 * (logits[0] - float(label)) ** 2 if regression else F.log_softmax(logits, 0)[int(label)]
        grads = torch.autograd.grad(value, [*leaves, *rest.values()], allow_unused=True)
        by_leaf = {id(leaf): g for leaf, g in zip(leaves, grads, strict=False)}
        terms = [
            by_leaf[id(b)][slot.index if isinstance(slot.index, slice) else torch.from_numpy(slot.index)]
            for b, slot in zip(biases, slots, strict=True)
        ]
        others = [
            g
            for leaf, g in zip([*leaves, *rest.values()], grads, strict=True)
            if g is not None and not any(leaf is b for b in biases)
        ]
        gradients.append(torch.cat([g.flatten() for g in [*terms, *others]]))
    for leaf in leaves:
        leaf.requires_grad_(False)
    return gradients


def split(model: LoadedModel, flat: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    out: dict[tuple[str, str], list[np.ndarray]] = {}
    at = 0
    for slot in model.layout.slots:
        out.setdefault((slot.stack, slot.term), []).append(flat[at : at + slot.width])
        at += slot.width
    return {key: np.stack(rows) for key, rows in out.items()}


@pytest.mark.parametrize(
    "name", ["bert", "roberta", "distilbert", "albert", "deberta-v2-shared", "gpt2", "gpt_neox", "opt", "qwen2"]
)
@pytest.mark.parametrize("regression", [False, True])
def test_equals_the_loop_over_single_examples(name: str, regression: bool) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    data = examples(19, 3, regression)  # two batches of eight and one of three
    head = head_for(model, 1 if regression else 2)
    likelihood = objective_of(REGRESSION if regression else CLASSIFICATION).log_likelihood
    ours = information.fisher_information(model, model.layout.slots, data, head, likelihood, CPU)
    single = torch.stack(loop(model, data, head, regression))
    exact = split(model, single.square().mean(0).numpy())
    means = torch.stack([part.mean(0) for part in single.split(8)])
    clipped = means * (1.0 / (means.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0)
    batch = split(model, clipped.square().mean(0).numpy())
    for key in exact:
        # Null terms have a zero gradient, of which rounding leaves something around 1e-16.
        scale = max(float(np.abs(exact[key]).max()), 1e-6)
        np.testing.assert_allclose(ours.exact[key] / scale, exact[key] / scale, rtol=1e-5, atol=1e-6)
        scale = max(float(np.abs(batch[key]).max()), 1e-6)
        np.testing.assert_allclose(ours.batch[key] / scale, batch[key] / scale, rtol=1e-4, atol=1e-5)


def test_a_model_that_sees_the_next_token_does_not_predict_it() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    embeddings = model.backbone.get_input_embeddings().weight
    with pytest.raises(UserError, match="see the next ones; expected a decoder"):
        information.causal_lm_fisher(model, model.layout.slots, examples(2, 4), embeddings, CPU)


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama-bias"])
def test_causal_language_models(name: str) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    data = examples(9, 4)
    embeddings = model.backbone.get_input_embeddings().weight.detach()
    ours = information.causal_lm_fisher(model, model.layout.slots, data, embeddings, CPU)
    biases = [model.backbone.get_submodule(slot.module).bias for slot in model.layout.slots]
    for bias in biases:
        bias.requires_grad_()
    total: dict[tuple[str, str], list[np.ndarray]] = {}
    for ids in data.ids:
        tokens = torch.as_tensor(ids)[None]
        logits = model.backbone(tokens)[0] @ embeddings.T
        value = -F.cross_entropy(logits[0, :-1], tokens[0, 1:], reduction="sum")
        grads = torch.autograd.grad(value, list(dict.fromkeys(biases)))
        by_bias = dict(zip(dict.fromkeys(biases), grads, strict=True))
        rows: dict[tuple[str, str], list[np.ndarray]] = {}
        for bias, slot in zip(biases, model.layout.slots, strict=True):
            part = by_bias[bias][slot.index if isinstance(slot.index, slice) else torch.from_numpy(slot.index)]
            rows.setdefault((slot.stack, slot.term), []).append(part.square().numpy())
        for key, values in rows.items():
            total.setdefault(key, []).append(np.stack(values))
    for key, values in total.items():
        expected = np.mean(values, axis=0)
        scale = max(float(expected.max()), 1e-6)
        np.testing.assert_allclose(ours.exact[key] / scale, expected / scale, rtol=1e-5, atol=1e-6)


def test_a_probe_measures_before_training_and_leaves_the_null_term_at_zero() -> None:
    (probe,) = fit("bert", config(mode="all", fisher=True))
    (measured,) = fit("bert", config(mode="all", fisher=True, lr=1e-9))
    for key in probe.keys():  # noqa: SIM118
        ours, again = probe.fisher(*key), measured.fisher(*key)
        assert ours is not None and again is not None and np.array_equal(ours, again)
    null, value = probe.fisher("encoder", "k"), probe.fisher("encoder", "v")
    assert null is not None and value is not None and null.sum() < 1e-9 * value.sum()
    (rounded,) = fit("bert", config(mode="all", fisher=True, precision="bfloat16"))  # measured in float32 all the same
    assert np.array_equal(rounded.fisher("encoder", "v"), value)


def test_windows_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    data, head = examples(40, 3), head_for(model, 2)
    likelihood = objective_of(CLASSIFICATION).log_likelihood
    whole = information.fisher_information(model, model.layout.slots, data, head, likelihood, CPU)
    monkeypatch.setattr(information, "_WINDOW", 16)
    monkeypatch.setitem(information._TOKENS, "cpu", 30)
    parts = information.fisher_information(model, model.layout.slots, data, head, likelihood, CPU)
    for key in whole.exact:
        np.testing.assert_allclose(parts.exact[key], whole.exact[key], rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(parts.batch[key], whole.batch[key], rtol=1e-4, atol=1e-9)
    assert {slot_name(slot) for slot in model.layout.slots} and whole.examples == 40
