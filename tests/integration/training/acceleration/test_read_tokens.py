"""Products of the last layer for the tokens that are read: the same scores and gradients as of all tokens."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from prompt_tools import prompted, tiny_decoder
from tiny_models import tiny
from torch import Tensor, nn

from beft_core.architectures.targets import target_slots
from beft_core.models.biases import LoadedModel, add_zero_bias
from beft_core.training.acceleration.read_tokens import ReadProduct, ReadTokensReader, reads_tokens
from beft_core.training.acceleration.recomputed_layers import recomputed_layers
from beft_core.training.batches.arrange import DevicePass, Shaping
from beft_core.training.batches.prompted import encode_prompts
from beft_core.training.batches.reader import Reader
from beft_core.training.forward import below, logits_of, passes_of_step
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.methods.low_rank import LowRank
from beft_core.training.precision import Precision
from beft_core.training.session import Session

CPU = torch.device("cpu")
EXAMPLES = prompted([(" good", " bad"), (" a b c", " d e"), (" yes", " no")] * 3, [0] * 9, seed=5)
DECODERS = ["opt", "gpt2", "gpt_neox", "llama-bias", "qwen2-sliding", "gemma3_text-bias", "phi3", "falcon-grouped"]
FEW = {"opt": 4, "gpt2": 3, "gpt_neox": 3, "llama-bias": 5, "qwen2-sliding": 5, "gemma3_text-bias": 5, "phi3": 3}
"""Products of the last layer that need few tokens: of queries (if they have one), of the attention's output, MLP."""


class Shaped(Session):
    """A plain session whose shapes are rounded, as where steps are recorded."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.shaping = Shaping(rounded=True)


def scored(
    model: LoadedModel,
    terms: tuple[str, ...],
    runs: int,
    reader: Reader,
    recompute: bool = False,
    changed: tuple[str, ...] = (),
) -> tuple[Tensor, Tensor, list[int]]:
    """Scores of a pass, the gradients of the bank, and the rows that each product of the last layer computed.

    ``changed``: terms of matrices that are changed by low-rank products.
    """
    slots = [slot for slot in model.layout.slots if slot.term in terms]
    low_rank = LowRank(target_slots(model.layout, changed), 2, [0.5] * runs) if changed else None
    exact = Precision("float32", CPU)
    bank = Bank(model, slots, runs=runs, classes=None, precision=exact, low_rank=low_rank, reader=reader)
    bank.values.add_(torch.from_numpy(np.random.default_rng(1).standard_normal(bank.values.shape) * 0.3).float())
    encoded, session = encode_prompts(model.tokenizer, EXAMPLES, 64), Shaped()
    of = np.arange(len(encoded)) % runs
    (shape,), arrays = passes_of_step(bank, session, encoded, of, "packed", 64)
    tensors = {name: torch.from_numpy(array) for name, array in below(arrays, "0.").items()}  # type: ignore[arg-type]
    rows: list[int] = []

    def count(module: nn.Module, args: Any, out: Tensor) -> None:
        rows.append(out.numel() // out.shape[-1])

    last = model.backbone.get_submodule(model.layout.layer_path(model.layout.layers - 1))
    handles = [one.register_forward_hook(count) for one in last.modules() if isinstance(one, nn.Linear)]
    with bank.installed(), recomputed_layers(model) if recompute else nullcontext():
        scores = logits_of(bank, session, shape, tensors, encoded.tokens)
        (scores.where(scores > -1e8, 0) * torch.arange(1, scores.numel() + 1).view_as(scores)).sum().backward()
    for handle in handles:
        handle.remove()
    return scores.detach(), bank.grads.clone(), rows


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("name", DECODERS)
def test_scores_and_gradients_are_the_same(name: str, runs: int) -> None:
    model = tiny_decoder(name)
    for term in ("q", "v", "o", "mlp_in", "mlp_out"):
        add_zero_bias(model, term)
    for terms in (("v",), ("q", "v"), ("o",), ("mlp_in",), ("mlp_out", "v")):
        one, other = (scored(model, terms, runs, reader) for reader in (Reader(), ReadTokensReader(model)))
        torch.testing.assert_close(one[0], other[0], atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(one[1], other[1], atol=2e-5 * float(one[1].abs().max()), rtol=1e-4)
        assert one[1].abs().max() > 0.1


@pytest.mark.parametrize("changed", [("q", "v"), ("o", "v"), ("mlp_in",), ("mlp_out",)])
@pytest.mark.parametrize("name", ["opt", "llama-bias"])
def test_changed_matrices_act_and_learn_as_where_all_is_computed(name: str, changed: tuple[str, ...]) -> None:
    model = tiny_decoder(name)
    one, other = (scored(model, (), 2, reader, changed=changed) for reader in (Reader(), ReadTokensReader(model)))
    torch.testing.assert_close(one[0], other[0], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(one[1], other[1], atol=2e-5 * float(one[1].abs().max()), rtol=1e-4)
    assert one[1].abs().max() > 0.1


def test_a_layer_that_is_computed_again_computes_the_same_tokens() -> None:
    model = tiny_decoder("opt")
    found = [scored(model, ("v",), 2, ReadTokensReader(model), recompute) for recompute in (False, True)]
    torch.testing.assert_close(found[0][:2], found[1][:2])
    assert found[1][2] == 2 * found[0][2]


@pytest.mark.parametrize("name", sorted(set(FEW) - {"gpt2"}))  # whose products are no Linear
def test_few_tokens_are_computed_unless_their_biases_are_trained(name: str) -> None:
    model = tiny_decoder(name)
    add_zero_bias(model, "v")
    (*_, every), (*_, few) = (scored(model, ("v",), 1, reader) for reader in (Reader(), ReadTokensReader(model)))
    least = min(few)
    assert len(set(every)) == 1 and least < every[0] / 1.5
    assert few.count(least) == FEW[name] and len(few) == len(every)


def test_trained_products_and_what_goes_with_them_are_computed_in_full() -> None:
    model = tiny_decoder("opt")
    whole = [scored(model, terms, 1, ReadTokensReader(model))[2] for terms in (("v",), ("q", "v"), ("mlp_in", "v"))]
    assert [rows.count(min(whole[0])) for rows in whole] == [4, 3, 2]


def test_the_model_is_afterwards_as_it_was_and_computes_all_where_nothing_is_read() -> None:
    model = tiny_decoder("llama-bias")
    modules = dict(model.backbone.named_modules())
    ids = torch.arange(3, 12)[None]
    before = model.backbone(input_ids=ids)[0]
    reader = ReadTokensReader(model)
    with reader.installed():
        inside = [one for one in model.backbone.modules() if isinstance(one, ReadProduct)]
        assert len(inside) == 5 and inside[0].weight.shape == inside[0].module.weight.shape
        assert torch.equal(model.backbone(input_ids=ids)[0], before)  # as a writer calls it
        one = DevicePass({"input_ids": ids}, torch.tensor([[8]]), torch.ones(1, 1))
        torch.testing.assert_close(reader.vectors(model.backbone, one), before[0, 8:])
        assert torch.equal(model.backbone(input_ids=ids)[0], before)  # and after something was read
    assert dict(model.backbone.named_modules()) == modules


def test_which_models_have_such_products() -> None:
    assert all(reads_tokens(tiny(name).layout) for name in DECODERS)
    assert not any(reads_tokens(tiny(name).layout) for name in ("bert", "modernbert", "vit"))
