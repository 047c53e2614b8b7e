"""Logits of examples under many variants of fine-tunes, every example under all of them or each under its own, in
passes that rows of all variants share (:mod:`beft_core.inference.resident`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from beft_core.architectures.layout import BiasSlot
from beft_core.errors import UserError
from beft_core.inference.resident import Resident, add_zero_biases, changed_by_each, head_of_base, union, values_of
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, biases
from beft_core.snapshots.snapshot import Key
from beft_core.training.batches.encoded import Encoded
from beft_core.training.precision import Precision
from beft_core.training.preconditions import outputs_of

MAX_VALUES = 2**24
"""Most numbers that the variants of one bank hold together: 64 MB; more variants take several passes."""
Banks = Callable[[LoadedModel, Sequence[Variant], Precision | None], Iterator[tuple[int, Resident]]]
"""Function that puts variants beside their model, as :func:`in_banks` does."""


def in_banks(
    model: LoadedModel, variants: Sequence[Variant], precision: Precision | None = None
) -> Iterator[tuple[int, Resident]]:
    """Put variants beside their model, as many at a time as :data:`MAX_VALUES` allows and at least one.

    Yields the number of the first of them, and these.
    """
    add_zero_biases(model, variants)
    of_one = sum(slot.width for slot in union(model, changed_by_each(model, variants)))
    of_one += max(sum(part.size for part in head_of_base(model, variant).values()) for variant in variants)
    many = max(1, MAX_VALUES // max(1, of_one))
    for start in range(0, len(variants), many):
        yield start, Resident(model, variants[start : start + many], precision=precision)


def variant_logits(
    model: LoadedModel,
    variants: Sequence[Variant],
    encoded: Encoded,
    *,
    reads: Sequence[np.ndarray] | None = None,
    precision: Precision | None = None,
    banks: Banks = in_banks,
    advance: Callable[[int], None] = lambda pairs: None,
) -> np.ndarray:
    """Compute the logits of every example under every variant: float32 [variants, examples, outputs].

    ``model``: the base model of all variants, which is afterwards as it was but for zero biases that it lacked.
    ``reads``: numbers of the examples that each variant reads, int64 [n] each; those of others are NaN. None: all.
    ``precision``: float32 on the CPU, or what the model was prepared for. ``banks``: puts variants beside the model.
    ``advance`` is called with the number of pairs of a variant and an example that were read since.

    Raises:
        UserError: variants of another base model, without the head, with heads of different sizes, or whose weights
            changed, too.
    """
    sizes = {outputs_of(head_of_base(model, variant)) for variant in variants}
    if len(sizes) > 1:
        told = ", ".join(sorted("as many as candidates" if size is None else str(size) for size in sizes))
        raise UserError(f"got heads with {told} outputs", "heads of one task")
    (outputs,) = sizes
    out = np.full((len(variants), len(encoded), outputs or encoded.most_candidates), np.nan, np.float32)
    every = [np.arange(len(encoded))] * len(variants) if reads is None else reads
    for start, some in banks(model, variants, precision):
        here = every[start : start + len(some.variants)]
        variant_of, example_of = np.repeat(np.arange(len(here)), list(map(len, here))), np.concatenate(here)
        side_by_side = np.lexsort((variant_of, example_of))  # the variants of an example
        of, examples = variant_of[side_by_side], example_of[side_by_side]
        out[start + of, examples] = some.logits(encoded, of, examples, advance=advance)
    return out


def row_logits(
    model: LoadedModel,
    variants: Sequence[Variant],
    encoded: Encoded,
    of: np.ndarray,
    *,
    precision: Precision | None = None,
    advance: Callable[[int], None] = lambda rows: None,
) -> tuple[np.ndarray, list[int]]:
    """Compute the logits of each example under one variant of its own, any number of variants, so many at a time.

    ``of``: number of the variant of each example, int64 [examples]. Returns what
    :meth:`beft_core.inference.resident.Resident.logits` does, float32 [examples, most outputs of a head], and the
    numbers of the variants that could share no pass with others. Everything else, and the errors, are as there.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = []
    alone: list[int] = []
    for start, some in in_banks(model, variants, precision):
        rows = np.flatnonzero((of >= start) & (of < start + len(some.variants)))
        found.append((rows, some.logits(encoded.take(rows), of[rows] - start, advance=advance)))
        alone += [start + number for number in some.alone]
    out = np.full((len(encoded), max(logits.shape[1] for _, logits in found)), np.nan, np.float32)
    for rows, logits in found:
        out[rows, : logits.shape[1]] = logits
    return out, alone


def changed_slots(
    model: LoadedModel, variants: Sequence[Variant]
) -> tuple[list[BiasSlot], list[dict[Key, np.ndarray]]]:
    """Find the slots that some variant has otherwise than the model, and the values of all variants in their terms.

    Raises:
        UserError: terms of another shape than the model's.
    """
    before = biases(model)
    changed = union(model, changed_by_each(model, variants))
    values = [values_of(model, variant) for variant in variants]
    for of_variant in values:
        for slot in changed:
            of_variant.setdefault((slot.stack, slot.term), before[slot.stack, slot.term])
    return changed, values
