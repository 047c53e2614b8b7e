"""Fisher information of any parameters against that of bias terms, which a bank measures in one backward pass."""

from __future__ import annotations

import numpy as np
import torch
from tiny_models import tiny
from training_tools import CLASSIFICATION, examples

from beft_core.training.fisher.information import fisher_information
from beft_core.training.fisher.of_parameters import squared_gradients
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision

CPU = Precision("float32", torch.device("cpu"))


class Count(Observer):
    done = 0

    def advance(self, n: int = 1) -> None:
        self.done += n


def test_of_biases_both_ways_agree() -> None:
    model, data = tiny("bert", attn="sdpa", dtype=torch.float32), examples(9, 1)
    objective = objective_of(CLASSIFICATION)
    bank = Bank(model, [], runs=1, classes=2, precision=CPU, pooler_bias=False)
    bank.init_head(0, 0)
    observer = Count()
    slots = [slot for slot in model.layout.slots if slot.term in ("v", "o", "ln2")]
    biases = [model.backbone.get_submodule(slot.module).bias for slot in slots]
    found = squared_gradients(biases, bank, data, objective, observer)  # type: ignore[arg-type]
    head = {name: bank.value(name) for name in bank.parts}
    expected = fisher_information(model, slots, data, head, objective.log_likelihood, CPU)
    for slot, one in zip(slots, found, strict=True):
        np.testing.assert_allclose(one, expected.exact[slot.stack, slot.term][slot.layer], rtol=2e-3, atol=1e-9)
    assert observer.done == 9
    assert not any(p.requires_grad for p in model.backbone.parameters())
