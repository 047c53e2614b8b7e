"""What fine-tunes of biases train in a bank, and what of it counts."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny
from training_tools import config

from beft_core.training.methods.base import method_for
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision


@pytest.mark.parametrize(("mode", "outside"), [("terms", False), ("head", False), ("all", True)])
def test_the_parts_and_what_counts(mode: str, outside: bool) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    precision = Precision("float32", torch.device("cpu"))
    bank = Bank(model, [], runs=1, classes=2, precision=precision, outside_biases=True)
    method = method_for(config(mode=mode))
    parts = method.parts(bank)
    assert {"head.weight", "head.bias", "pooler.bias"} <= parts
    assert any(name.startswith("outside.") for name in parts) == outside == method.outside_biases
    counted = method.counted({"encoder.v.0"}, parts | {"encoder.v.0"})
    assert "encoder.v.0" in counted and not any(name.startswith("head.") for name in counted)
    assert ("pooler.bias" in counted) == outside
    assert method.pooler_in_bank and method.weights(model, lambda parameters: []).count == 0
