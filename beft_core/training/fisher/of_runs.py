"""Fisher information before the fine-tune, for the runs of a bank that want it."""

from __future__ import annotations

from collections.abc import Sequence

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.reader import Reader
from beft_core.training.fisher.information import FisherInformation, fisher_information
from beft_core.training.inputs import Drawn, drawn
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.base import Objective
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision


def fisher_of_runs(
    configs: Sequence[RunConfig],
    model: LoadedModel,
    bank: Bank,
    objective: Objective,
    trains: Sequence[Encoded],
    precision: Precision,
    observer: Observer,
    reader: Reader,
) -> list[FisherInformation | None]:
    """Measure the Fisher information of each run that wants it, None for the others; the heads are initialised.

    It depends on examples and head alone, so runs of other learning rates and terms share it.
    """
    wanted: dict[tuple[Drawn, int | None], int] = {}
    for run, config in enumerate(configs):
        if config.fisher:
            wanted.setdefault((drawn(config), config.fisher_examples), run)
    if not wanted:
        return [None] * len(configs)
    examples = {
        key: trains[run] if key[-1] is None else trains[run].take(range(min(key[-1], len(trains[run]))))
        for key, run in wanted.items()
    }
    observer.stage("measure Fisher information", sum(map(len, examples.values())))
    # In float32 always: squared gradients of bfloat16 products lose the small terms.
    exact = Precision("float32", precision.device)
    measured = {}
    for key, run in wanted.items():
        head = {name: bank.value(name, run) for name in bank.parts if name.startswith("head.")}
        measured[key] = fisher_information(
            model,
            model.layout.slots,
            examples[key],
            head,
            objective.log_likelihood,
            exact,
            observer,
            reader,
            objective.weights,
        )
    return [measured[drawn(config), config.fisher_examples] if config.fisher else None for config in configs]
