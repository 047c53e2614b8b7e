"""Single entries: their sparse gradients against the dense ones that PyTorch computes, and which a FISH mask takes."""

from __future__ import annotations

import pytest
import torch
from tiny_models import inputs, tiny
from training_tools import config, examples, fit

from beft_core.training.methods.base import Adam
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.methods.random_entries import SingleEntries, drawn
from beft_core.training.precision import Precision


@pytest.mark.parametrize("name", ["bert", "distilbert", "gpt2", "opt", "qwen2"])
def test_each_drawn_entry_gets_the_gradient_of_the_dense_weight(name: str) -> None:
    sparse = tiny(name, attn="sdpa", dtype=torch.float32)
    entries = SingleEntries(sparse.backbone, drawn(sparse.backbone, 2000, seed=3), Adam())
    data = inputs(sparse)
    with entries.installed():
        sparse.backbone(**data)[0].square().sum().backward()

    dense = tiny(name, attn="sdpa", dtype=torch.float32)
    dense.backbone.requires_grad_()
    dense.backbone(**data)[0].square().sum().backward()
    paths = {module: path for path, module in sparse.backbone.named_modules()}
    seen = 0
    for module, own in entries._entries.items():
        for parameter, flat, leaf in own:
            full = getattr(dense.backbone.get_submodule(paths[module]), parameter).grad
            assert leaf.grad is not None
            torch.testing.assert_close(leaf.grad, full.flatten()[flat], rtol=2e-3, atol=2e-3)
            seen += len(flat)
    assert seen == entries.count == 2000
    assert all(p.grad is None for p in sparse.backbone.parameters())


def test_a_step_moves_the_drawn_entries_and_nothing_else() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    before = {name: p.clone() for name, p in model.backbone.named_parameters()}
    entries = SingleEntries(model.backbone, drawn(model.backbone, 50, seed=0), Adam())
    with entries.installed():
        model.backbone(**inputs(model))[0].square().sum().backward()
    entries.step(1.0, 1e-2)
    paths = {module: path for path, module in model.backbone.named_modules()}
    changed = {
        (name, i)
        for name, p in model.backbone.named_parameters()
        for i in (p != before[name]).flatten().nonzero()[:, 0].tolist()
    }
    chosen = {
        (f"{paths[module]}.{parameter}", i)
        for module, own in entries._entries.items()
        for parameter, flat, _ in own
        for i in flat.tolist()
    }
    assert len(chosen) == 50 and changed <= chosen
    assert len(changed) > 25  # rows of words that do not occur get no gradient


@pytest.mark.parametrize("mode", ["fish", "fish-biases"])
@pytest.mark.parametrize("name", ["bert", "opt"])
def test_a_fish_mask_trains_the_entries_of_the_largest_information(name: str, mode: str) -> None:
    """Measured here by plain gradients of transformers' hidden states under the same head, one example at a time."""
    model, data = tiny(name, attn="sdpa", dtype=torch.float32), examples(7, 3)
    run = config(mode=mode, terms=())
    before = {key: p.detach().clone() for key, p in model.backbone.named_parameters()}
    draw = Bank(model, [], runs=1, classes=2, precision=Precision("float32", torch.device("cpu")), pooler_bias=False)
    draw.init_head(0, run.seed)
    head = torch.as_tensor(draw.value("head.weight"))
    dense = tiny(name, attn="sdpa", dtype=torch.float32).backbone.requires_grad_()
    squares = {key: torch.zeros_like(p) for key, p in dense.named_parameters()}
    for ids, label in zip(data.ids, data.labels, strict=True):
        dense.zero_grad()
        out = dense(input_ids=torch.as_tensor(ids)[None])
        read = out[1] if name == "bert" else out[0][:, -1]
        torch.nn.functional.cross_entropy(read @ head.T, torch.as_tensor([label])).backward()
        for key, p in dense.named_parameters():
            squares[key] += 0 if p.grad is None else p.grad.square() / len(data)
    (trained,) = fit(model, run, trains=[data])
    count = sum(slot.width for slot in model.layout.slots_of("v"))
    assert trained.meta.trained_parameters == count and trained.meta.mode == mode
    allowed = {
        key: value
        for key, value in squares.items()
        if not key.startswith("pooler") and (mode == "fish" or key.endswith(".bias"))
    }
    least = torch.cat([value.flatten() for value in allowed.values()]).topk(count).values[-1]
    moved = {key: p.detach() != before[key] for key, p in model.backbone.named_parameters()}
    assert 0.8 * count < sum(int(one.sum()) for one in moved.values()) <= count
    for key, one in moved.items():
        assert not one.any() or (allowed[key][one] >= 0.99 * least).all(), key
