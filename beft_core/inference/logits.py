"""Logits of many variants of fine-tunes in one pass: they share the frozen model, and each row of a batch is read under
the biases of its own variant (:mod:`beft_core.training.methods.bias_bank`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from beft_core.architectures.layout import BiasSlot
from beft_core.errors import UserError
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, add_zero_bias, get_bias
from beft_core.training.acceleration.session import session_for
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.plan import by_length, plan
from beft_core.training.forward import arranged, logits_of, pass_arrays
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.precision import Precision
from beft_core.training.preconditions import head_of, outputs_of, refuse_changed_weights
from beft_core.training.predict import EVAL_TOKENS
from beft_core.training.result import put_head
from beft_core.training.session import Session

MAX_VALUES = 2**24
"""Most numbers that the variants of one bank hold together: 64 MB; more variants take several passes."""


@torch.no_grad()
def variant_logits(
    model: LoadedModel,
    variants: Sequence[Variant],
    encoded: Encoded,
    *,
    precision: Precision | None = None,
    advance: Callable[[int], None] = lambda pairs: None,
) -> np.ndarray:
    """Compute the logits of every example under every variant: float32 [variants, examples, outputs].

    ``model``: the base model of all variants, which is afterwards as it was but for zero biases that it lacked.
    ``precision``: float32 on the CPU, or what the model was prepared for. ``advance`` is called with the number of
    pairs of a variant and an example that were read since.

    Raises:
        UserError: variants of another base model, without the head, with heads of different sizes, or whose weights
            changed, too.
    """
    precision = precision or Precision("float32", torch.device("cpu"))
    heads = [_head(model, variant) for variant in variants]
    sizes = {outputs_of(head) for head in heads}
    if len(sizes) > 1:
        told = ", ".join(sorted("as many as candidates" if size is None else str(size) for size in sizes))
        raise UserError(f"got heads with {told} outputs", "heads of one task")
    (classes,) = sizes
    for variant in variants:
        for _, term in variant.snapshot.keys():  # noqa: SIM118
            add_zero_bias(model, term)
    session = session_for(model, precision, plain=classes is None)
    slots, values = changed_slots(model, variants)
    out = np.empty((len(variants), len(encoded), classes or encoded.most_candidates), np.float32)
    start = 0
    while start < len(variants):
        bank = _bank(model, slots, heads[start:], precision, session)
        for run in range(bank.runs):
            put_head(heads[start + run], bank, run)
            for slot in slots:
                bank.set_value(slot_name(slot), values[start + run][slot.stack, slot.term][slot.layer], run)
        out[start : start + bank.runs] = _read(bank, session, encoded, advance)
        start += bank.runs
    return out


def _head(model: LoadedModel, variant: Variant) -> dict[str, np.ndarray]:
    snapshot = variant.snapshot
    refuse_changed_weights(snapshot)
    if snapshot.meta.model.base != model.info.base:
        raise UserError(
            f"got a fine-tune of {snapshot.meta.model.id}, whose biases are not those of {model.id}",
            "fine-tunes of one base model",
        )
    return head_of(snapshot, variant.task)


def changed_slots(
    model: LoadedModel, variants: Sequence[Variant]
) -> tuple[list[BiasSlot], list[dict[tuple[str, str], np.ndarray]]]:
    """Find the slots that some variant has otherwise than the model, and the values of all variants in their terms.

    Raises:
        UserError: terms of another shape than the model's.
    """
    own = {(slot.stack, slot.term, slot.layer): get_bias(model.backbone, slot) for slot in model.layout.slots}
    before = {key: value.float().cpu().numpy() for key, value in own.items()}
    values: list[dict[tuple[str, str], np.ndarray]] = []
    for variant in variants:
        values.append({key: variant.values(key) for key in variant.snapshot.keys()})  # noqa: SIM118
        for (stack, term), rows in values[-1].items():
            slots = model.layout.slots_of(term)
            if stack != model.layout.stack or rows.shape != (len(slots), slots[0].width):
                raise UserError(
                    f"got {stack}.{term} of shape {rows.shape}",
                    f"{model.layout.stack}.{term} of shape {(len(slots), slots[0].width)}, as {model.id} has it",
                )
    changed = [
        slot
        for slot in model.layout.slots
        if any(
            (slot.stack, slot.term) in of_variant
            and (of_variant[slot.stack, slot.term][slot.layer] != before[slot.stack, slot.term, slot.layer]).any()
            for of_variant in values
        )
    ]
    for of_variant in values:
        for slot in changed:
            if (slot.stack, slot.term) not in of_variant:
                untouched = [before[one.stack, one.term, one.layer] for one in model.layout.slots_of(slot.term)]
                of_variant[slot.stack, slot.term] = np.stack(untouched)
    return changed, values


def _bank(
    model: LoadedModel,
    slots: Sequence[BiasSlot],
    heads: Sequence[dict[str, np.ndarray]],
    precision: Precision,
    session: Session,
) -> Bank:
    """Make a bank for as many of the variants with these ``heads`` as :data:`MAX_VALUES` allows, at least one."""
    of_one = sum(slot.width for slot in slots) + max(sum(part.size for part in head.values()) for head in heads)
    return Bank(
        model,
        slots,
        runs=min(len(heads), max(1, MAX_VALUES // max(1, of_one))),
        classes=outputs_of(heads[0]),
        precision=precision,
        outside_biases=any("outside.bias" in head for head in heads),
        reader=session.reader,
    )


def _read(bank: Bank, session: Session, encoded: Encoded, advance: Callable[[int], None]) -> np.ndarray:
    """Read every example under every run of a bank: float32 [runs, examples, outputs]."""
    backbone = bank.model.backbone
    was_training = backbone.training
    backbone.eval()
    example_of = np.repeat(np.arange(len(encoded)), bank.runs)  # of each pair; the runs of an example side by side
    run_of = np.tile(np.arange(bank.runs), len(encoded))
    out: np.ndarray | None = None
    with bank.installed():
        for pairs in by_length(encoded.lengths[example_of], EVAL_TOKENS[bank.precision.device.type]):
            part, runs = encoded.take(example_of[pairs]), run_of[pairs].tolist()
            one = plan(part.lengths.tolist(), runs, "longest", 0)[0]
            host = arranged(bank, session, part, runs, one)
            arrays = pass_arrays(bank, session, host, host.run_of_row, host.run_of_example)
            forward = partial(logits_of, bank, session, host.shape, tokens=encoded.tokens)
            with session.evaluating():
                logits = session.run(("variants", host.shape), arrays, forward).float().cpu().numpy()
            if out is None:
                out = np.empty((bank.runs, len(encoded), logits.shape[1]), np.float32)
            here = pairs[host.examples]
            out[run_of[here], example_of[here]] = logits
            advance(len(pairs))
    backbone.train(was_training)
    assert out is not None
    return out
