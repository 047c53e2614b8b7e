"""Methods, what a fine-tune trains as objects: one :class:`Method` per row of :data:`beft_core.methods.METHODS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from torch import Tensor

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.config import RunConfig
from beft_core.libraries.torch_private import norms, scale_
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.methods.low_rank import LowRank
from beft_core.training.optimizer import BETA1, BETA2

Information = Callable[[Sequence[Tensor]], list[Tensor]]
"""Function from parameters of a model to their Fisher information, each of the parameter's shape."""


@dataclass(frozen=True)
class Adam:
    """Settings of AdamW besides the learning rate."""

    weight_decay: float = 0.0
    epsilon: float = 1e-8
    epsilon_before: bool = False
    """Whether the epsilon is added before the bias correction."""

    @classmethod
    def of(cls, config: RunConfig) -> Adam:
        """Read the settings of a resolved configuration."""
        assert config.adam_epsilon is not None
        return cls(config.weight_decay, config.adam_epsilon, config.adam_epsilon_at == "before")


class Weights:
    """Parameters that are trained outside of the bank; this base has none.

    Such parameters belong to one run, so the bank then has one. What adapters of several runs train stands in the bank.
    """

    @property
    def count(self) -> int:
        """Number of values that a run trains besides biases and head."""
        return sum(parameter.numel() for parameter in self.parameters())

    def parameters(self) -> list[Tensor]:
        """List the leaves of the graph, float32."""
        return []

    def installed(self) -> AbstractContextManager[None]:
        """Make the forward pass of the model go through the parameters while the context is open."""
        return nullcontext()

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def square_norm(self) -> Tensor | float:
        """Sum the squares of the gradient (its squared L2 norm), which clips together with that of the bank."""
        return 0.0

    def step(self, clip_factor: Tensor | float, lr: float) -> None:
        """Take one AdamW step. ``clip_factor`` [1] scales the gradient; where it is not finite, nothing changes."""

    def adapter(self, head: Mapping[str, np.ndarray], run: int = 0) -> AdapterFolder | None:
        """Give the adapter that a run trained, with its ``head`` as a snapshot keeps it; None: there is none."""
        return None

    def state(self) -> dict[str, np.ndarray]:
        """Return values and moments by name, for a checkpoint."""
        return {}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Put back what :meth:`state` returned."""


class TrainedWeights(Weights):
    """Parameters that are trained under an AdamW of their own."""

    def __init__(self, adam: Adam) -> None:
        self._adam, self._steps = adam, 0
        self._optimizer = torch.optim.AdamW(
            self.parameters(),
            lr=0.0,
            betas=(BETA1, BETA2),
            eps=adam.epsilon,
            weight_decay=adam.weight_decay,
            fused=True,
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def square_norm(self) -> Tensor:
        """Sum the squares of the gradient (its squared L2 norm), which clips together with that of the bank."""
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        return torch.stack(norms(grads)).square().sum()

    def step(self, clip_factor: Tensor | float, lr: float) -> None:
        """Take one AdamW step; a clip factor that is not finite skips it."""
        clip = float(clip_factor)
        if not math.isfinite(clip):
            return
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        if clip < 1:
            scale_(grads, clip)
        self._steps += 1
        group = self._optimizer.param_groups[0]
        group["lr"] = lr
        if self._adam.epsilon_before:  # torch adds it after the correction, by whose root it is divided here instead
            group["eps"] = self._adam.epsilon / math.sqrt(1 - BETA2**self._steps)
        self._optimizer.step()

    def state(self) -> dict[str, np.ndarray]:
        """Return values and moments by name, for a checkpoint."""
        out = {}
        for i, parameter in enumerate(self.parameters()):
            out[f"{i}.value"] = parameter.detach().cpu().numpy()
            for name, value in self._optimizer.state.get(parameter, {}).items():
                out[f"{i}.{name}"] = np.atleast_1d(value.detach().cpu().numpy())
        return out

    @torch.no_grad()
    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Put back what :meth:`state` returned."""
        for i, parameter in enumerate(self.parameters()):
            parameter.copy_(torch.tensor(state[f"{i}.value"]))
            moments = {
                key.split(".", 1)[1]: torch.tensor(value, device=parameter.device)
                for key, value in state.items()
                if key.startswith(f"{i}.") and key != f"{i}.value"
            }
            if moments:
                moments["step"] = moments["step"].reshape(())
                self._steps = max(self._steps, int(moments["step"]))
                self._optimizer.state[parameter] = moments


class Method:
    """Method of one run, which says what it trains: bias terms and a head in the bank, and maybe parameters outside of
    it.

    The base trains the terms that its row names, the pooler's bias and the head.
    """

    pooler_in_bank = True
    """Whether the pooler's bias is trained in the bank."""
    outside_biases = False
    """Whether the biases that belong to no term are trained in the bank."""

    def __init__(self, config: RunConfig) -> None:
        """Bind the method to a resolved configuration."""
        self.config, self.row = config, config.method

    def terms(self, layout: Layout) -> tuple[str, ...]:
        """List the bias terms that the run is to train, null ones included."""
        return self.row.terms(self.config.terms, layout.terms)

    def parts(self, bank: Bank) -> set[str]:
        """Name the parts of the bank that the run trains besides bias terms."""
        names = {name for name in bank.parts if name.startswith("head.") or name == "pooler.bias"}
        if self.outside_biases:
            names |= {name for name in bank.parts if name.startswith("outside.")}
        return names

    def weights(self, model: LoadedModel, information: Information) -> Weights:
        """Make what the run trains outside of the bank, of a model on its device.

        ``information`` measures parameters of the model on the run's examples, for a method that chooses by it.
        """
        return Weights()

    def low_rank(self, model: LoadedModel, configs: Sequence[RunConfig]) -> LowRank | None:
        """Say which matrices of a model the runs of a bank change, all of them runs of this method; None: none."""
        return None

    def weights_of_bank(self, model: LoadedModel, bank: Bank, configs: Sequence[RunConfig]) -> Weights:
        """Make what the runs of a bank train together, two or more of this method, of a model on its device."""
        return Weights()

    def counted(self, slots: set[str], owned: set[str]) -> set[str]:
        """Select the parts that count as trained, as in the paper (Table 2): neither the head nor the pooler's bias.

        ``slots``: parts that hold its bias terms; ``owned``: all parts that it trains.
        """
        return slots

    def changed_terms(self, slots: Sequence[BiasSlot], layout: Layout) -> set[str]:
        """Name the bias terms that differ afterwards. ``slots``: what the run trained in the bank."""
        return {slot.term for slot in slots}


def method_for(config: RunConfig) -> Method:
    """Make the method of a resolved configuration."""
    module, _, name = config.method.implementation.partition(":")
    made: Method = getattr(import_module(module), name)(config)
    return made
