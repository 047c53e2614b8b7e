"""Fisher information at the fine-tuned model against a loop of single examples and single labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import tiny
from torch import nn
from training_tools import config, examples, fit, toy_data

from beft_core.models.biases import biases, write_biases
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training.fisher.of_snapshots import measure_tuned_fisher


def by_loop(name: str, snapshot: Snapshot, data: object, regression: bool) -> dict[str, np.ndarray]:
    """One example and one label at a time, on the model with the snapshot's biases and head put in."""
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    write_biases(model, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
    part = {name.removeprefix("extra.toy."): torch.tensor(value) for name, value in snapshot.extra.items()}
    pooler: nn.Linear = model.backbone.get_submodule("pooler.dense")  # type: ignore[assignment]
    slots = [slot for slot in model.layout.slots if slot.term in snapshot.meta.trained_terms]
    own = [model.backbone.get_submodule(slot.module).bias.requires_grad_() for slot in slots]
    sums = [torch.zeros_like(bias) for bias in own]
    for ids in data.ids:  # type: ignore[attr-defined]
        hidden = model.backbone(torch.as_tensor(ids)[None])[0][0, 0]
        pooled = torch.tanh(pooler.weight @ hidden + part["pooler.bias"])
        logits = part["head.weight"] @ pooled + part["head.bias"]
        p = torch.ones(1) if regression else logits.softmax(0)
        for label in range(len(logits)):
            value = logits[label] if regression else logits.log_softmax(0)[label]
            grads = torch.autograd.grad(value, own, retain_graph=True)
            for total, grad in zip(sums, grads, strict=True):
                total += p[label].detach() * grad.square()
    means = [total / len(data.ids) for total in sums]  # type: ignore[attr-defined]
    return {
        term: torch.stack([m for m, slot in zip(means, slots, strict=True) if slot.term == term]).numpy()
        for term in snapshot.meta.trained_terms
    }


@pytest.mark.parametrize("regression", [False, True])
def test_it_is_that_of_the_tuned_model_under_its_trained_head(regression: bool) -> None:
    wanted = config(terms=("q", "v"), lr=0.05)
    (snapshot,) = fit("bert", wanted, regression=regression)
    assert snapshot.fisher("encoder", "v", "tuned") is None
    data = examples(9, 3, regression)
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    before = biases(model)
    measured = measure_tuned_fisher(snapshot, model, toy_data(regression), data, wanted)
    for term, expected in by_loop("bert", snapshot, data, regression).items():
        np.testing.assert_allclose(measured.fisher("encoder", term, "tuned"), expected, rtol=2e-3, atol=1e-9)
    assert measured.fisher("encoder", "o", "tuned") is None and measured.fisher("encoder", "v") is None
    assert all(np.array_equal(biases(model)[key], value) for key, value in before.items())
    few = measure_tuned_fisher(
        snapshot, model, toy_data(regression), data, dataclasses.replace(wanted, fisher_examples=4)
    )
    assert few.fisher("encoder", "v", "tuned")[0, 0] != measured.fisher("encoder", "v", "tuned")[0, 0]  # type: ignore[index]
