"""LayerNorms in one kernel: where they stand, and that fine-tunes end where they do without."""

from __future__ import annotations

import pytest
import torch
from tiny_models import inputs, tiny
from torch import nn

from beft_core.training.acceleration.fused.rounded_norm import RoundedNorm, rounded_norms
from beft_core.training.batches.run_index import RunIndex
from beft_core.training.methods.bank_linear import OwnAffine, SharedAffine
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rounding(narrow: bool = False) -> Precision:
    """Make the arithmetic of a GPU, wherever it is computed."""
    precision = Precision("bfloat16", DEVICE)
    precision.emulated, precision.narrow = False, narrow
    return precision


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("runs", [1, 3])
def test_they_stand_for_norms_and_compute_the_same(runs: int, narrow: bool) -> None:
    """Also where the bias is trained, each row by its run, and what a run's head reads is a row of its own."""
    model = tiny("opt", attn="sdpa", dtype=torch.float32)
    model.backbone.to(DEVICE)
    precision = rounding(narrow)
    precision.prepare(model.backbone)
    trained = [slot for slot in model.layout.slots if slot.term == "v" or (slot.term == "ln2" and slot.layer == 1)]
    bank = Bank(model, trained, runs=runs, classes=None, precision=precision)
    with torch.no_grad():
        bank.values += 0.1 * torch.randn(bank.values.shape, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    before = dict(model.backbone.named_modules())
    given = {name: torch.cat([one.to(DEVICE)] * 2) for name, one in inputs(model).items()}
    owners = [row % runs for row in range(len(given["input_ids"]))]
    index = RunIndex.to(DEVICE, owners, runs)
    found = []
    with bank.installed(), precision.autocast():
        bank.route(index if runs > 1 else None, index)
        for fused in (False, True):
            bank.grads.zero_()
            if fused:
                with rounded_norms(model):
                    norms = [type(m) for n, m in model.backbone.named_modules() if n.endswith("layer_norm")]
                    hidden = model.backbone(**given)[0]
            else:
                hidden = model.backbone(**given)[0]
            hidden.float().square().sum().backward()
            found.append((hidden.detach(), bank.grads.clone()))
    assert len(norms) == 5 and set(norms) == {RoundedNorm}
    assert dict(model.backbone.named_modules()) == before
    # Two steps of bfloat16 between 2 and 4: processors without its products round at other places.
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0.02, atol=0.04)
    assert found[0][1].norm(dim=1).min() > 1
    for part in bank.parts.values():
        usual, fused = (grads[:, part.columns] for _, grads in found)
        # Without the kernel, biases of several runs are added to what is rounded, and the sum is rounded again; and
        # Triton's interpreter cuts off what a GPU rounds. From the gradient in float32 either is up to 3.5 % away.
        assert ((fused - usual).norm(dim=1) / usual.norm(dim=1)).max() < 0.05, part.name


def test_a_trained_bias_of_rows_that_are_examples() -> None:
    """Of the last layer what heads read is computed alone: a row is then one state, and its run is the example's."""
    norm = nn.LayerNorm(48).to(DEVICE)
    bias = torch.randn(3, 48, device=DEVICE, requires_grad=True)
    x = torch.randn(5, 48, device=DEVICE).bfloat16()
    shared = SharedAffine(norm.requires_grad_(False), rounding().affine(norm), norm.bias, [(bias, None)], 3, True)
    index = RunIndex.to(DEVICE, [0, 2, 2, 1, 0], 3)
    shared.run_of, shared.items_of = index.run_of, index.items_of
    weights = torch.randn(5, 48, device=DEVICE)
    outs, grads = [], []
    for module in (shared, RoundedNorm(shared, norm.eps)):
        out = module(x)
        (grad,) = torch.autograd.grad((out.float() * weights).sum(), bias)
        outs.append(out.float())
        grads.append(grad)
    torch.testing.assert_close(outs[1], outs[0], rtol=0.02, atol=0.02)
    torch.testing.assert_close(grads[1], index.group(weights.bfloat16().float()).sum(1), rtol=0.01, atol=0.01)
    torch.testing.assert_close(grads[1], grads[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_norms_that_something_else_trains_stay(name: str) -> None:
    model = tiny("opt", dtype=torch.float32)
    precision = rounding()
    bank = Bank(model, [], runs=1, classes=None, precision=precision)
    trained = model.backbone.get_parameter(f"decoder.layers.0.self_attn_layer_norm.{name}")
    trained.requires_grad_()
    with bank.installed(), rounded_norms(model):
        kinds = [type(one) for path, one in model.backbone.named_modules() if path.endswith("layer_norm")]
    assert kinds.count(RoundedNorm) == 4 and kinds.count(OwnAffine) == 1


def test_norms_that_are_not_rounded_stay() -> None:
    model = tiny("opt", dtype=torch.float32)
    bank = Bank(model, [], runs=1, classes=None, precision=Precision("float32", torch.device("cpu")))
    with bank.installed(), rounded_norms(model):
        assert sum(isinstance(one, nn.LayerNorm) for one in model.backbone.modules()) == 5
