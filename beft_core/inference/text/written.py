"""Free text that many variants of one fine-tune write after the same prompts, one variant after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from beft_core.errors import UserError
from beft_core.inference.logits import changed_slots
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, add_zero_bias
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.training.batches.encoded import Encoded
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.objectives.free_text import Writer
from beft_core.training.precision import Precision


def written_by(
    model: LoadedModel,
    variants: Sequence[Variant],
    prompts: Encoded,
    *,
    precision: Precision,
    advance: Callable[[int], None] = lambda prompts: None,
) -> list[list[str]]:
    """Let a model write the answer to every prompt under every variant: a list of texts for each variant.

    ``model``: the base model, on its device; ``prompts``: with the rule of their answers. ``advance`` is called with
    the number of pairs of a variant and a prompt that were answered since.

    Raises:
        UserError: variants of several snapshots, or of one whose weights changed, too.
    """
    assert prompts.writing is not None, "prompts after which nothing is written"
    snapshot = variants[0].snapshot
    if any(one.snapshot is not snapshot for one in variants):
        raise UserError("got variants of several fine-tunes", "one snapshot")
    refuse_changed_weights(snapshot)
    for _, term in snapshot.keys():  # noqa: SIM118
        add_zero_bias(model, term)
    slots, values = changed_slots(model, variants)
    bank = Bank(model, slots, runs=1, classes=None, precision=precision)
    writer = Writer(bank, prompts.writing, advance)
    found = []
    with bank.installed():
        for of_variant in values:
            for slot in slots:
                bank.set_value(slot_name(slot), of_variant[slot.stack, slot.term][slot.layer])
            found.append(writer.texts(prompts))
    return found
