"""The sparse gradients of "rand uniform" against the dense gradients that PyTorch computes for every weight."""

from __future__ import annotations

import pytest
import torch
from tiny_models import inputs, tiny

from beft_core.training.methods.base import Adam
from beft_core.training.methods.random_entries import RandomEntries


@pytest.mark.parametrize("name", ["bert", "distilbert", "gpt2", "opt", "qwen2"])
def test_each_drawn_entry_gets_the_gradient_of_the_dense_weight(name: str) -> None:
    sparse = tiny(name, attn="sdpa", dtype=torch.float32)
    drawn = RandomEntries(sparse.backbone, 2000, seed=3, adam=Adam())
    data = inputs(sparse)
    with drawn.installed():
        sparse.backbone(**data)[0].square().sum().backward()

    dense = tiny(name, attn="sdpa", dtype=torch.float32)
    dense.backbone.requires_grad_()
    dense.backbone(**data)[0].square().sum().backward()
    paths = {module: path for path, module in sparse.backbone.named_modules()}
    seen = 0
    for module, entries in drawn._entries.items():
        for parameter, flat, leaf in entries:
            full = getattr(dense.backbone.get_submodule(paths[module]), parameter).grad
            assert leaf.grad is not None
            torch.testing.assert_close(leaf.grad, full.flatten()[flat], rtol=2e-3, atol=2e-3)
            seen += len(flat)
    assert seen == drawn.count == 2000
    assert all(p.grad is None for p in sparse.backbone.parameters())


def test_a_step_moves_the_drawn_entries_and_nothing_else() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    before = {name: p.clone() for name, p in model.backbone.named_parameters()}
    drawn = RandomEntries(model.backbone, 50, seed=0, adam=Adam())
    with drawn.installed():
        model.backbone(**inputs(model))[0].square().sum().backward()
    drawn.step(1.0, 1e-2)
    paths = {module: path for path, module in model.backbone.named_modules()}
    changed = {
        (name, i)
        for name, p in model.backbone.named_parameters()
        for i in (p != before[name]).flatten().nonzero()[:, 0].tolist()
    }
    chosen = {
        (f"{paths[module]}.{parameter}", i)
        for module, entries in drawn._entries.items()
        for parameter, flat, _ in entries
        for i in flat.tolist()
    }
    assert len(chosen) == 50 and changed <= chosen
    assert len(changed) > 25  # rows of words that do not occur get no gradient
