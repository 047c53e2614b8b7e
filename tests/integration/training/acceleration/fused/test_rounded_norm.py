"""LayerNorms in one kernel: where they stand, and that fine-tunes end where they do without."""

from __future__ import annotations

import pytest
import torch
from tiny_models import inputs, tiny
from torch import nn

from beft_core.training.acceleration.fused.rounded_norm import RoundedNorm, rounded_norms
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
def test_they_stand_for_frozen_norms_and_compute_the_same(narrow: bool) -> None:
    model = tiny("opt", attn="sdpa", dtype=torch.float32)
    model.backbone.to(DEVICE)
    precision = rounding(narrow)
    precision.prepare(model.backbone)
    trained = [slot for slot in model.layout.slots if slot.term == "v" or (slot.term == "ln2" and slot.layer == 1)]
    bank = Bank(model, trained, runs=1, classes=None, precision=precision)
    before = dict(model.backbone.named_modules())
    given = {name: one.to(DEVICE) for name, one in inputs(model).items()}
    found = []
    with bank.installed(), precision.autocast():
        for fused in (False, True):
            bank.grads.zero_()
            if fused:
                with rounded_norms(model):
                    norms = {n: type(m) for n, m in model.backbone.named_modules() if n.endswith("layer_norm")}
                    hidden = model.backbone(**given)[0]
            else:
                hidden = model.backbone(**given)[0]
            hidden.float().square().sum().backward()
            found.append((hidden.detach(), bank.grads.clone()))
    assert norms.pop("decoder.layers.1.final_layer_norm") is SharedAffine
    assert len(norms) == 4 and set(norms.values()) == {RoundedNorm}
    assert dict(model.backbone.named_modules()) == before
    # Two steps of bfloat16 between 2 and 4: processors without its products round at other places.
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0.02, atol=0.04)
    assert found[0][1].norm() > 1
    assert (found[1][1] - found[0][1]).norm() < 0.02 * found[0][1].norm()


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
