"""The bank's AdamW against torch.optim.AdamW with torch's own clipping, one optimizer per run."""

import pytest
import torch

from beft_core.training.optimizer import BankAdamW


@pytest.mark.parametrize("clip", [0.0, 0.5, 100.0])
def test_each_run_makes_the_updates_of_its_own_torch_optimizer(clip: float) -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(3, 7, generator=generator)
    lrs, decay = [1e-2, 3e-3, 1e-1], [0.0, 0.1, 0.01]
    peers = [torch.nn.Parameter(row.clone()) for row in values]
    optimizers = [torch.optim.AdamW([p], lr=lr, weight_decay=wd) for p, lr, wd in zip(peers, lrs, decay, strict=True)]
    ours = BankAdamW(values, torch.tensor(decay), torch.full((3,), clip))
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


def test_a_run_with_a_gradient_that_is_not_finite_stands_still_and_leaves_the_others_alone() -> None:
    values = torch.zeros(2, 3)
    optimizer = BankAdamW(values, torch.zeros(2), torch.ones(2))
    grads = torch.tensor([[1.0, float("nan"), 1.0], [1.0, 1.0, 1.0]])
    factor = optimizer.step(grads, torch.full((2,), 0.1), torch.tensor([True, True]))
    assert factor[0].isnan() and factor[1].isfinite()
    assert not values[0].any() and values[1].all()
    optimizer.step(torch.ones(2, 3), torch.full((2,), 0.1), torch.tensor([True, True]))
    assert values.isfinite().all() and values[0].all()


def test_state_round_trip_continues_bit_for_bit() -> None:
    def run(interrupt: bool) -> torch.Tensor:
        values = torch.zeros(2, 4)
        optimizer = BankAdamW(values, torch.zeros(2), torch.ones(2))
        generator = torch.Generator().manual_seed(0)
        for step in range(6):
            if interrupt and step == 3:
                state = {name: tensor.clone() for name, tensor in optimizer.state().items()}
                optimizer = BankAdamW(values, torch.zeros(2), torch.ones(2))
                optimizer.load_state(state)
            optimizer.step(torch.randn(2, 4, generator=generator), torch.full((2,), 0.01), torch.tensor([True, True]))
        return values

    assert torch.equal(run(False), run(True))
