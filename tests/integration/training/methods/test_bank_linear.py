"""One product for all runs, each row with the bias of its own run, against a loop over rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from beft_core.training.methods.bank_linear import OwnAffine, SharedAffine

RUN_OF = torch.tensor([1, 0, 1, 2, 0])
"""Rows -> runs."""
ITEMS_OF = torch.tensor([[1, 4], [0, 2], [3, 5]])
"""Runs -> rows; the last one has but one, and the number of rows where there is no second."""
RUNS, OUT = 3, 4


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return linear(x, weight, bias)


def shared(base: Tensor | None, pieces: list[tuple[Tensor, Tensor | None]], *, per_example: bool) -> SharedAffine:
    module = SharedAffine(nn.Linear(6, OUT), affine, base, pieces, RUNS, per_example)
    module.run_of, module.items_of = RUN_OF, ITEMS_OF
    return module


def by_row(module: SharedAffine, x: Tensor, biases: Tensor) -> Tensor:
    return torch.stack([linear(x[row], module.weight, biases[run]) for row, run in enumerate(RUN_OF.tolist())])


@pytest.mark.parametrize("per_example", [True, False])
def test_every_row_gets_the_bias_of_its_run(per_example: bool) -> None:
    biases = torch.randn(RUNS, OUT)
    module = shared(torch.randn(OUT), [(biases, None)], per_example=per_example)
    x = torch.randn(len(RUN_OF), 6) if per_example else torch.randn(len(RUN_OF), 7, 6)
    torch.testing.assert_close(module(x), by_row(module, x, biases))


def test_rows_and_tokens_may_be_one() -> None:
    biases = torch.randn(RUNS, OUT)
    module = shared(None, [(biases, None)], per_example=False)
    x = torch.randn(len(RUN_OF), 7, 6)
    torch.testing.assert_close(module(x.view(-1, 6)).view(len(RUN_OF), 7, OUT), by_row(module, x, biases))


def test_of_a_fused_bias_only_the_trained_slice_is_replaced_and_learns() -> None:
    base, slice_ = torch.randn(OUT, requires_grad=True), torch.randn(RUNS, 2, requires_grad=True)
    module = shared(base, [(slice_, torch.tensor([1, 2]))], per_example=False)
    whole = torch.stack([torch.cat([base[:1], row, base[3:]]) for row in slice_]).detach()
    x = torch.randn(len(RUN_OF), 7, 6)
    out = module(x)
    torch.testing.assert_close(out, by_row(module, x, whole))
    out.sum().backward()
    # The gradient of a bias is the number of outputs that it was added to: rows of the run, times tokens.
    torch.testing.assert_close(slice_.grad, torch.tensor([[14.0, 14.0], [14.0, 14.0], [7.0, 7.0]]))


def test_one_run_is_the_plain_product() -> None:
    bias = torch.randn(1, OUT)
    module = SharedAffine(nn.Linear(6, OUT), affine, torch.randn(OUT), [(bias, None)], 1, False)
    x = torch.randn(3, 7, 6)
    torch.testing.assert_close(module(x), linear(x, module.weight, bias[0]))


def test_a_module_of_its_own_keeps_its_parameters() -> None:
    layer = nn.Linear(6, OUT)
    module = OwnAffine(layer, affine)
    assert module.weight is layer.weight and module.bias is layer.bias
    x = torch.randn(3, 6)
    torch.testing.assert_close(module(x), layer(x))
