"""One product for all runs and a low-rank change of each row by its own run, against a loop over rows."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from beft_core.architectures.targets import target_slots
from beft_core.training.methods.bank_linear import OwnAffine
from beft_core.training.methods.low_rank import DOWN, UP, LowRank, LowRankShared, factor_name, is_factor

RUN_OF = torch.tensor([1, 0, 1, 2, 0])
"""Rows -> runs."""
ITEMS_OF = torch.tensor([[1, 4], [0, 2], [3, 5]])
"""Runs -> rows; the last one has but one, and the number of rows where there is no second."""
RUNS, IN, OUT, RANK = 3, 6, 4, 2
SCALES = torch.tensor([0.5, 2.0, 3.0])


def factors() -> tuple[Tensor, Tensor]:
    return torch.randn(RUNS, RANK, IN, requires_grad=True), torch.randn(RUNS, OUT, RANK, requires_grad=True)


def changed(down: Tensor, up: Tensor, *, per_example: bool = False) -> LowRankShared:
    module = LowRankShared(OwnAffine(nn.Linear(IN, OUT), linear), down, up, SCALES, per_example)
    module.run_of, module.items_of = RUN_OF, ITEMS_OF
    return module


def by_row(module: LowRankShared, x: Tensor) -> Tensor:
    """Each row by the whole matrix of its run, ``W + scale * B A``."""
    whole = [module.weight + SCALES[run] * module.up[run] @ module.down[run] for run in range(RUNS)]
    return torch.stack([linear(x[row], whole[run], module.bias) for row, run in enumerate(RUN_OF.tolist())])


@pytest.mark.parametrize("per_example", [True, False])
def test_every_row_is_changed_by_the_factors_of_its_run_which_learn_from_it_alone(per_example: bool) -> None:
    down, up = factors()
    module = changed(down, up, per_example=per_example)
    x = torch.randn(len(RUN_OF), IN) if per_example else torch.randn(len(RUN_OF), 7, IN)
    x.requires_grad_()
    upstream = torch.randn(*x.shape[:-1], OUT)
    found = torch.autograd.grad((module(x) * upstream).sum(), (x, down, up))
    expected = torch.autograd.grad((by_row(module, x) * upstream).sum(), (x, down, up))
    torch.testing.assert_close(module(x), by_row(module, x))
    torch.testing.assert_close(found, expected)


def test_rows_and_tokens_may_be_one() -> None:
    module = changed(*factors())
    x = torch.randn(len(RUN_OF), 7, IN)
    torch.testing.assert_close(module(x.view(-1, IN)).view(len(RUN_OF), 7, OUT), by_row(module, x))


def test_it_compiles_to_one_program() -> None:
    module = changed(*factors())
    x = torch.randn(len(RUN_OF), 7, IN)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))
    found, expected = (
        torch.autograd.grad(one(x).square().sum(), (module.down, module.up)) for one in (compiled, module)
    )
    torch.testing.assert_close(found, expected)


def test_a_run_that_is_not_finite_leaves_the_others() -> None:
    down, up = factors()
    module = changed(down, up)
    x = torch.randn(len(RUN_OF), 7, IN, requires_grad=True)
    with torch.no_grad():
        up[1] = torch.nan
    out = module(x)
    out.sum().backward()
    others = RUN_OF != 1
    assert out[others].isfinite().all() and out[~others].isnan().all()
    for leaf in (down, up):
        assert leaf.grad is not None and leaf.grad[[0, 2]].isfinite().all()
    assert x.grad is not None and x.grad[others].isfinite().all()


@pytest.mark.parametrize(("name", "targets"), [("bert", ("q", "mlp_in")), ("gpt2", ("mlp_in", "o"))])
def test_factors_have_the_shapes_of_their_matrices(name: str, targets: tuple[str, ...]) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    slots = target_slots(model.layout, targets)
    shapes = dict(LowRank(slots, RANK, [1.0]).shapes(model.backbone))
    assert len(shapes) == 2 * len(slots) and all(map(is_factor, shapes))
    for slot in slots:
        module = model.backbone.get_submodule(slot.module)
        weight = module.weight.T if isinstance(module, Conv1D) else module.weight
        down, up = (torch.zeros(shapes[factor_name(slot.module, factor)]) for factor in (DOWN, UP))
        assert (up @ down).shape == weight.shape and len(down) == RANK
    assert not any(map(is_factor, ("encoder.v.0", "head.weight", "pooler.bias")))
