"""Empirical Fisher information of any parameters of a model, before fine-tuning: one squared gradient per example."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from beft_core.training.batches.encoded import Encoded
from beft_core.training.forward import one_run_each
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.base import Objective
from beft_core.training.observer import Observer


def squared_gradients(
    parameters: Sequence[Tensor],
    bank: Bank,
    examples: Encoded,
    objective: Objective,
    observer: Observer | None = None,
) -> list[Tensor]:
    """Compute the mean over ``examples`` of ``(grad log p(y | x))^2`` for each parameter, float32 of its shape.

    ``bank``: of one run, with the head under which ``p`` is meant and no bias of the model among its parts. Examples
    pass one by one, without dropout: of weight matrices, gradients of single examples have no shorter way.
    """
    sums = [torch.zeros(one.shape, device=one.device) for one in parameters]
    for one in parameters:
        one.requires_grad_()
    try:
        with bank.installed():
            for number in range(len(examples)):
                example = examples.take([number])
                laid_out = one_run_each(bank, example)
                labels = torch.as_tensor(example.labels, device=bank.precision.device)
                weight = float(objective.weights(example)[0])
                likelihood = objective.log_likelihood(bank.outputs(laid_out), labels).sum() * weight
                grads = torch.autograd.grad(likelihood, list(parameters), allow_unused=True)
                for total, grad in zip(sums, grads, strict=True):
                    if grad is not None:
                        total += grad.float().square()
                if observer is not None:
                    observer.advance()
    finally:
        for one in parameters:
            one.requires_grad_(False)
    return [total / len(examples) for total in sums]
