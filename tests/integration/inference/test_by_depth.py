"""Logits that share the layers below the first difference: as one variant after another, on every architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import tiny
from training_tools import config, examples, fit

from beft_core.errors import UserError
from beft_core.inference import by_depth as module
from beft_core.inference.by_depth import logits_by_depth
from beft_core.inference.logits import variant_logits
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, biases
from beft_core.training.precision import Precision

TASK = "toy"
ENCODED = examples(9, 3)
NAMES = ("bert", "albert", "deberta-v2", "gpt2", "bloom", "falcon-grouped", "modernbert", "qwen2-sliding")
"""Shared layers, layers that return tuples, masks of each layer's own, and layers that a model asks for attributes."""
CPU = Precision("float32", torch.device("cpu"))


def fresh(name: str) -> LoadedModel:
    return tiny(name, attn="sdpa", dtype=torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture(name: str) -> None:
    model = fresh(name)
    term = next(term for term in ("o", "v", "mlp_out") if term in model.layout.terms)
    (run,) = fit(model, config(terms=(term,), lr=3e-2))
    last = len(run.pre(*run.keys()[0])) - 1
    variants = [
        Variant(run, TASK),
        Variant.before(run, TASK),
        *(Variant.without_layer(run, TASK, layer) for layer in range(last + 1)),
        Variant(run, TASK, {term: np.where(np.arange(last + 1) == last, -1.0, 1.0)}),
        Variant(run, TASK, {term: 1.0}),  # differs nowhere from the first
    ]
    found = logits_by_depth(model, variants, ENCODED, precision=CPU)
    for logits, variant in zip(found, variants, strict=True):
        np.testing.assert_allclose(logits, variant_logits(model, [variant], ENCODED)[0], atol=1e-5, rtol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-4 and np.abs(found[0] - found[-2]).max() > 1e-5


def test_layers_below_the_first_difference_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = fit("bert", config(mode="all", lr=3e-2))
    computed: list[int] = []
    through = module._Shared.through

    def counted(self: module._Shared, layer: torch.nn.Module, number: int, *rest: object) -> object:
        hooked = layer.register_forward_hook(lambda *_: computed.append(number))
        found = through(self, layer, number, *rest)  # type: ignore[arg-type]
        hooked.remove()
        return found

    monkeypatch.setattr(module._Shared, "through", counted)
    model = fresh("bert")
    before = biases(model)
    variants = [Variant(run, TASK), Variant.without_layer(run, TASK, 1), Variant.without_layer(run, TASK, 0)]
    done: list[int] = []
    logits_by_depth(model, variants, ENCODED, precision=CPU, advance=done.append)
    assert computed == [0, 1, 1, 0, 1]  # the second variant begins at layer 1
    assert sum(done) == 3 * len(ENCODED)
    assert type(model.backbone.encoder.layer[0]).__name__ == "BertLayer"
    for key, value in biases(model).items():
        np.testing.assert_array_equal(value, before[key])


def test_batches_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = fit("bert", config(terms=("v", "ln2"), lr=3e-2))
    variants = [Variant(run, TASK), *(Variant.without_layer(run, TASK, layer) for layer in (1, 0))]
    whole = logits_by_depth(fresh("bert"), variants, ENCODED, precision=CPU)
    monkeypatch.setattr(module, "MAX_KEPT", 20 * 4 * 32 * 2)  # twenty tokens
    np.testing.assert_allclose(
        logits_by_depth(fresh("bert"), variants, ENCODED, precision=CPU), whole, atol=1e-5, rtol=1e-5
    )


def test_several_fine_tunes_are_refused() -> None:
    runs = fit("bert", config(terms=("v",)), config(terms=("v",), seed=1))
    with pytest.raises(UserError, match="variants of several fine-tunes"):
        logits_by_depth(fresh("bert"), [Variant(run, TASK) for run in runs], ENCODED, precision=CPU)
