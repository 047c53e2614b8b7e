"""AdamW over a bank: R independent optimizers in one tensor expression."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BETA1, BETA2 = 0.9, 0.999
"""Decay rates of the moments: the defaults of torch.optim.AdamW and of transformers 4.41's AdamW, which the authors
use. Their epsilons differ: see :data:`beft_core.presets.EPSILON_PLACES`.
"""


class BankAdamW:
    """AdamW (https://arxiv.org/abs/1711.05101) on ``values`` [runs, parameters], each run with its own settings.

    torch.optim.AdamW has one learning rate, one step count and one clipping norm per call; here each run has its own,
    so that a run in a bank makes the same updates as the run alone. Agrees to rounding with torch.optim.AdamW where the
    epsilon is added after the bias correction, with transformers 4.41's AdamW (without decay) where before.
    """

    def __init__(
        self, values: Tensor, *, weight_decay: Tensor, clip: Tensor, epsilon: Tensor, epsilon_before: Tensor
    ) -> None:
        """Prepare moments for ``values``; settings are [runs].

        ``epsilon_before``, bool: whether the epsilon is added before the bias correction.
        """
        self.values = values
        self.epsilon, self.epsilon_before = epsilon, epsilon_before
        self.first = torch.zeros_like(values)
        self.second = torch.zeros_like(values)
        self.steps = torch.zeros(len(values), dtype=torch.float32, device=values.device)
        self.weight_decay = weight_decay
        self.clip = clip

    @torch.no_grad()
    def step(self, grads: Tensor, lr: Tensor, active: Tensor, other_square_norm: Tensor | float = 0.0) -> Tensor:
        """Update the ``active`` runs; return the factor that clipping applied to each run [runs].

        A run whose gradient or new values are not finite is left as it is: its factor is NaN, for the caller to report.

        grads: [runs, parameters]; lr, active: [runs]; ``other_square_norm`` [runs]: squared norm of trained
        parameters outside the bank (full fine-tuning), which clip together with it.
        """
        norm = (grads.square().sum(1) + other_square_norm).sqrt()
        # As torch.nn.utils.clip_grad_norm_; a clip of 0 means none.
        limit = torch.where(self.clip > 0, self.clip, torch.inf)
        factor = torch.where(norm.isfinite(), (limit / (norm + 1e-6)).clamp(max=1.0), torch.nan)
        live = active & factor.isfinite()

        # where() and not a product: 0 * NaN would let one run's NaN into its own moments for ever.
        grads = torch.where(live[:, None], grads * factor[:, None], 0.0)
        keep = live[:, None].to(grads.dtype)
        self.steps += live
        self.first.lerp_(grads, (1 - BETA1) * keep)
        self.second.add_((grads.square() - self.second) * ((1 - BETA2) * keep))
        # 1 - beta**steps without the cancellation that float32 suffers in the first steps.
        correction1 = -torch.expm1(self.steps * math.log(BETA1))
        correction2 = -torch.expm1(self.steps * math.log(BETA2))
        rate = torch.where(live, lr, 0.0)
        scale = torch.where(live, rate / correction1, 0.0)[:, None]
        root2 = torch.where(live, correction2, 1.0).sqrt()
        # (sqrt(v) + epsilon) / root2 where it is added before the correction, sqrt(v) / root2 + epsilon where after.
        epsilon = torch.where(self.epsilon_before, self.epsilon / root2, self.epsilon)
        denominator = self.second.sqrt() / root2[:, None] + epsilon[:, None]
        new = self.values * (1 - (rate * self.weight_decay)[:, None]) - scale * self.first / denominator
        sound = new.isfinite().all(1)
        self.values.copy_(torch.where(sound[:, None], new, self.values))
        return torch.where(sound, factor, torch.nan)

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next update depends on besides the values, by name."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what :meth:`state` returned. Shapes must match."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
