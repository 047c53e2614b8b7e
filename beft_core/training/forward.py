"""Forward pass of a bank, as training, prediction and Fisher information share it.

A pass is arranged on the host as arrays, these are sent to the device, and there they become the logits of each
example.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from beft_core.training.batches.arrange import DevicePass, HostPass, PassShape, arrange, lay_out
from beft_core.training.batches.encoded import Encoded, Tokens
from beft_core.training.batches.plan import PassPlan, plan, rounded_rows
from beft_core.training.batches.run_index import RunIndex, run_index_arrays, to_device
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.session import Session

Arrays = dict[str, np.ndarray]


def passes_of_step(
    bank: Bank,
    session: Session,
    batch: Encoded,
    runs: np.ndarray,
    pad: str,
    longest: int,
    weights: np.ndarray | None = None,
) -> tuple[tuple[PassShape, ...], Arrays]:
    """Arrange a step in one or two passes.

    Args:
        runs: the run of each example of ``batch``, int64 [examples].
        pad: how rows are laid out (see :func:`plan`).
        longest: tokens that rows have under ``max``.
        weights: how much each example counts in the mean of its run, float32 [examples]; None: all the same.

    Returns:
        The shape of each pass, and its arrays for the device: pass ``n`` finds its own under ``n.``. ``share`` float32
        [examples] is the part that each has in the mean of its run: one over the run's examples in the step where all
        count the same.
    """
    shaping = session.shaping
    shapes: list[PassShape] = []
    arrays: Arrays = {}
    counts = np.ones(len(batch)) if weights is None else weights.astype(np.float64)
    share = counts / np.bincount(runs, counts, minlength=bank.runs)[runs]
    for number, one in enumerate(plan(batch.lengths, runs, pad, longest, rounded=shaping.rounded)):
        rows = rounded_rows(len(one.sizes)) if shaping.rounded and pad == "packed" else None
        host = arranged(bank, session, batch, runs, one, rows)
        own = pass_arrays(bank, session, host, host.run_of_row, host.run_of_example)
        own["labels"] = batch.labels[host.examples]
        own["share"] = share[host.examples].astype(np.float32)
        shapes.append(host.shape)
        arrays |= {f"{number}.{name}": array for name, array in own.items()}
    return tuple(shapes), arrays


def arranged(
    bank: Bank, session: Session, batch: Encoded, runs: np.ndarray, one: PassPlan, rows: int | None = None
) -> HostPass:
    """Arrange one pass as the session shapes it and the reader of the bank wants it."""
    shaping = session.shaping
    return arrange(
        bank.model,
        batch,
        runs,
        one,
        mask=shaping.mask,
        widest=shaping.widest,
        rows=rows,
        rounded=shaping.rounded,
        by_example=bank.reader.by_example,
    )


def pass_arrays(
    bank: Bank, session: Session, one: HostPass, run_of_row: np.ndarray, run_of_example: np.ndarray
) -> Arrays:
    """Collect everything that :func:`logits_of` needs on the device, by name."""
    rounded = session.shaping.rounded
    index = partial(run_index_arrays, runs=bank.runs, rounded=rounded, only_present=bank.runs > 1 and not bank.trains)
    indices = {"example": index(run_of_example)}
    if bank.runs > 1:
        # As many rows as examples of a run, where shapes are rounded: how well examples share rows makes no shape.
        least = indices["example"]["items_of"].shape[1] if rounded else 1
        indices["row"] = index(run_of_row, least=least)
    made = {f"{items}.{name}": array for items, arrays in indices.items() for name, array in arrays.items()}
    return {**one.arrays, **made}


def logits_of(
    bank: Bank,
    session: Session,
    shape: PassShape,
    tensors: Mapping[str, Tensor],
    tokens: Tokens,
    relative: bool = False,
) -> Tensor:
    """Compute the logits of one pass, float32 [examples, classes]. The bank must be installed.

    ``tensors``: what :func:`pass_arrays` gave, on the device; ``tokens``: the table of all; ``relative``: whether only
    differences between the logits of an example matter, so that what they share may be left out.
    """
    bank.route(_run_index(tensors, "row") if bank.runs > 1 else None, _run_index(tensors, "example"))
    session.before_pass()
    dtype = torch.bfloat16 if bank.precision.low else torch.float32
    one = lay_out(bank.model, shape, tensors, tokens, dtype)
    with bank.precision.autocast():
        return bank.outputs(one, relative=relative and shape.siblings)


def one_run_each(bank: Bank, examples: Encoded) -> DevicePass:
    """Lay examples out so that each is a row and belongs to a run of its own: example i to run i."""
    device = bank.precision.device
    owners = np.arange(len(examples))
    one = PassPlan.one_each(owners, int(examples.lengths.max()))
    host = arrange(bank.model, examples, owners, one, by_example=bank.reader.by_example)
    index = RunIndex.to(device, owners, bank.runs)
    bank.route(index, index)
    arrays = {name: to_device(array, device) for name, array in host.arrays.items()}
    return lay_out(bank.model, host.shape, arrays, examples.tokens)


def below(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """Select the tensors whose names begin with ``start``, and drop it from their names."""
    return {name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)}


def _run_index(tensors: Mapping[str, Tensor], items: str) -> RunIndex:
    return RunIndex(**below(tensors, f"{items}."))
