"""The bank's AdamW against torch.optim.AdamW and against transformers 4.41's formula, one optimizer per run."""

import math

import pytest
import torch
from torch import Tensor

from beft_core.training.optimizer import BankAdamW


def bank(values: Tensor, **settings: list[float]) -> BankAdamW:
    """No decay, clipping at 1, epsilon 1e-8 after the correction, unless told otherwise."""
    runs = len(values)
    chosen = {"weight_decay": [0.0] * runs, "clip": [1.0] * runs, "epsilon": [1e-8] * runs, **settings}
    before = torch.tensor(chosen.pop("before", [False] * runs)).bool()
    return BankAdamW(values, epsilon_before=before, **{name: torch.tensor(each) for name, each in chosen.items()})


@pytest.mark.parametrize("clip", [0.0, 0.5, 100.0])
def test_each_run_makes_the_updates_of_its_own_torch_optimizer(clip: float) -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(3, 7, generator=generator)
    lrs, decay, epsilons = [1e-2, 3e-3, 1e-1], [0.0, 0.1, 0.01], [1e-8, 1e-3, 0.3]
    peers = [torch.nn.Parameter(row.clone()) for row in values]
    optimizers = [
        torch.optim.AdamW([p], lr=lr, weight_decay=wd, eps=eps)
        for p, lr, wd, eps in zip(peers, lrs, decay, epsilons, strict=True)
    ]
    ours = bank(values, weight_decay=decay, clip=[clip] * 3, epsilon=epsilons)
    for step in range(20):
        grads = torch.randn(3, 7, generator=generator) * (1 + step)
        active = torch.tensor([True, step < 10, True])
        ours.step(grads, torch.tensor(lrs), active)
        for run, (peer, optimizer) in enumerate(zip(peers, optimizers, strict=True)):
            if active[run]:
                peer.grad = grads[run].clone()
                if clip:
                    torch.nn.utils.clip_grad_norm_([peer], clip)
                optimizer.step()
    torch.testing.assert_close(values, torch.stack([p.data for p in peers]), rtol=2e-6, atol=2e-6)


def test_an_epsilon_before_the_correction_makes_the_updates_of_transformers_4_41() -> None:
    """In float64 and from the formula; one run of the bank adds it after, and tiny gradients tell the two apart."""
    generator = torch.Generator().manual_seed(4)
    epsilon, lr = 1e-3, 0.1
    values = torch.randn(2, 5, generator=generator)
    start = values.double().clone()
    ours = bank(values, clip=[0.0, 0.0], epsilon=[epsilon] * 2, before=[True, False])
    first, second, theirs = torch.zeros(5).double(), torch.zeros(5).double(), start[0].clone()
    for t in range(1, 31):
        grads = torch.randn(2, 5, generator=generator) * 1e-3
        ours.step(grads, torch.full((2,), lr), torch.tensor([True, True]))
        g = grads[0].double()
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        step_size = lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        theirs -= step_size * first / (second.sqrt() + epsilon)
    torch.testing.assert_close(values[0].double(), theirs, rtol=0, atol=1e-6)
    moved = (values.double() - start).abs().mean(1)
    assert moved[0] < moved[1] / 2  # before, it weighs several times as much


def test_a_run_with_a_gradient_that_is_not_finite_stands_still_and_leaves_the_others_alone() -> None:
    values = torch.zeros(2, 3)
    optimizer = bank(values, before=[True, False])
    grads = torch.tensor([[1.0, float("nan"), 1.0], [1.0, 1.0, 1.0]])
    factor = optimizer.step(grads, torch.full((2,), 0.1), torch.tensor([True, True]))
    assert factor[0].isnan() and factor[1].isfinite()
    assert not values[0].any() and values[1].all()
    optimizer.step(torch.ones(2, 3), torch.full((2,), 0.1), torch.tensor([True, True]))
    assert values.isfinite().all() and values[0].all()


@pytest.mark.parametrize("epsilon", [1e-30, 1e-8])
def test_an_element_without_a_gradient_stands_still(epsilon: float) -> None:
    values = torch.zeros(1, 2)
    bank(values, epsilon=[epsilon]).step(torch.tensor([[1.0, 0.0]]), torch.tensor([0.1]), torch.tensor([True]))
    assert values[0, 0] != 0 and values[0, 1] == 0


def test_state_round_trip_continues_bit_for_bit() -> None:
    def run(interrupt: bool) -> torch.Tensor:
        values = torch.zeros(2, 4)
        optimizer = bank(values, before=[True, False])
        generator = torch.Generator().manual_seed(0)
        for step in range(6):
            if interrupt and step == 3:
                state = {name: tensor.clone() for name, tensor in optimizer.state().items()}
                optimizer = bank(values, before=[True, False])
                optimizer.load_state(state)
            optimizer.step(torch.randn(2, 4, generator=generator), torch.full((2,), 0.01), torch.tensor([True, True]))
        return values

    assert torch.equal(run(False), run(True))


def test_new_values_that_are_not_finite_are_told_and_not_taken() -> None:
    """The gradient is sound, the rate is not: from -3e38, a step of 1e38 leaves float32."""
    values = torch.tensor([[-3e38] * 3, [0.0] * 3])
    optimizer = bank(values, clip=[0.0, 0.0])
    factor = optimizer.step(torch.ones(2, 3), torch.tensor([1e38, 0.1]), torch.tensor([True, True]))
    assert factor[0].isnan() and factor[1] == 1
    assert (values[0] == -3e38).all() and torch.allclose(values[1], torch.tensor(-0.1))
