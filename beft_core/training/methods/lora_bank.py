"""Several fine-tunes of LoRA in one bank: their factors stand there beside the heads.

PEFT draws the first values of each run and writes its folder, as for a run alone; it computes nothing in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from beft_core.architectures.targets import target_slots
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.training.methods.adapters import AdapterMethod, put_in
from beft_core.training.methods.base import Weights
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.methods.low_rank import LowRank, is_factor
from beft_core.training.preconditions import stands_alone


class Lora(AdapterMethod):
    """LoRA, of which several runs can be trained in one bank."""

    def low_rank(self, model: LoadedModel, configs: Sequence[RunConfig]) -> LowRank:
        """Say which matrices the runs change, by the rank that they share and a scale of each.

        Raises:
            UserError: the model has no such modules, or applies one of them to what is no row of a run.
        """
        targets, rank = self.config.targets, self.config.rank
        assert targets is not None and rank is not None, "a resolved configuration has them"
        if stands_alone(self.config, model.layout):
            raise UserError(
                f"got {len(configs)} fine-tunes of {' '.join(targets)} at once in {model.layout.model_type}, which "
                "reads relative positions, the same for all rows, by the same projection",
                "one at a time",
            )
        slots = target_slots(model.layout, targets, self.config.layers, self.config.mode)
        return LowRank(slots, rank, [(config.alpha or 0.0) / rank for config in configs])

    def weights_of_bank(self, model: LoadedModel, bank: Bank, configs: Sequence[RunConfig]) -> AdaptersOfBank:
        """Put the first values of every run's factors into the bank."""
        return AdaptersOfBank(model, bank, configs)

    def parts(self, bank: Bank) -> set[str]:
        """Name the head and the factors."""
        return super().parts(bank) | {name for name in bank.parts if is_factor(name)}


class AdaptersOfBank(Weights):
    """Adapters of the runs of a bank, whose values stand there."""

    def __init__(self, model: LoadedModel, bank: Bank, configs: Sequence[RunConfig]) -> None:
        """Draw the first values of each run as PEFT draws those of the run alone, by its seed.

        Raises:
            UserError: the model cannot have them.
        """
        self._model, self._bank, self._configs = model, bank, list(configs)
        for run, config in enumerate(configs):
            with put_in(model, config) as weights:
                for name, parameter in weights.factors().items():
                    bank.set_value(name, parameter.detach().cpu().numpy(), run)

    @property
    def count(self) -> int:
        """Number of values of a run's factors."""
        return sum(part.size for name, part in self._bank.parts.items() if is_factor(name))

    @torch.no_grad()
    def adapter(self, head: Mapping[str, np.ndarray], run: int = 0) -> AdapterFolder:
        """Give a run's adapter as PEFT saves it."""
        with put_in(self._model, self._configs[run]) as weights:
            for name, parameter in weights.factors().items():
                parameter.copy_(torch.tensor(self._bank.value(name, run)))
            return weights.adapter(head)
