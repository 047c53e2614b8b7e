"""Fine-tunes that are resident on a device: the biases and heads of all lie stacked there beside their one base model,
and each row of a batch is read under those of its own fine-tune.

The frozen products are computed once for all rows of a pass, whichever fine-tunes these ask
(:mod:`beft_core.training.methods.bias_bank`), so that a batch of many tasks costs what one of a single task does. A
fine-tune takes as many numbers as it has biases and a head, and no copy of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from beft_core.architectures.layout import BiasSlot
from beft_core.errors import UserError
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, add_zero_bias, biases, restored, write_biases
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Key
from beft_core.training.acceleration.session import session_for
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.plan import by_length, cheapest_by_length, plan
from beft_core.training.forward import arranged, logits_of, pass_arrays
from beft_core.training.methods.bias_bank import Bank, can_hold, slot_name
from beft_core.training.precision import Precision
from beft_core.training.preconditions import head_of, outputs_of
from beft_core.training.predict import EVAL_TOKENS
from beft_core.training.result import head_parts

Head = dict[str, np.ndarray]
"""Parts of a head by name, as :func:`beft_core.training.preconditions.head_of` reads them."""


class Resident:
    """Fine-tunes of one base model on its device, which answer the rows of a batch together, each row its own."""

    def __init__(self, model: LoadedModel, variants: Sequence[Variant], *, precision: Precision | None = None) -> None:
        """Put biases and heads of fine-tunes beside their base model.

        ``model``: the base model of all, on its device; it stays as it is, but for zero biases that it lacked.
        ``variants``: the fine-tunes, each with the task whose head answers. Terms that they trained may differ, and so
        may the outputs of their heads. ``precision``: float32 on the CPU, or what the model was prepared for.

        Raises:
            UserError: a fine-tune of another base model, without the head, or whose weights changed, too; or some with
                a head among some without.
        """
        if not variants:
            raise UserError("got no fine-tune", "one or more")
        self.model, self.variants = model, list(variants)
        self.precision = precision or Precision("float32", torch.device("cpu"))
        self.outputs = [outputs_of(head_of_base(model, variant)) for variant in self.variants]
        """Outputs of each fine-tune's head; None: the language-model head scores candidates."""
        if len({size is None for size in self.outputs}) > 1:
            raise UserError(
                "got fine-tunes with a head among such whose answers the language model scores", "one kind in one batch"
            )
        add_zero_biases(model, self.variants)
        changed = changed_by_each(model, self.variants)
        shares = [all(can_share(model, slot) for slot in slots) for slots in changed]
        self.alone = [number for number, can in enumerate(shares) if not can]
        """Numbers of the fine-tunes that share no pass with others: rows cannot differ in all that they changed."""
        together = [number for number, can in enumerate(shares) if can]
        self._session = session_for(model, self.precision, plain=None in self.outputs)
        self._seat = np.full(len(self.variants), -1)
        """Where each fine-tune lies in the bank; -1: nowhere."""
        self._seat[together] = np.arange(len(together))
        self.bank = self._stacked(together, union(model, [changed[one] for one in together])) if together else None
        """Biases and heads of all but those alone, stacked on the device."""

    @property
    def nbytes(self) -> int:
        """Bytes that biases and heads take on the device, the model itself not counted."""
        return 0 if self.bank is None else self.bank.values.nbytes

    @torch.no_grad()
    def logits(
        self,
        encoded: Encoded,
        of: Sequence[int] | np.ndarray,
        examples: Sequence[int] | np.ndarray | None = None,
        *,
        advance: Callable[[int], None] = lambda rows: None,
    ) -> np.ndarray:
        """Compute the logits of each row under its own fine-tune: float32 [rows, most outputs of a head].

        ``of``: number of the fine-tune of each row. ``examples``: number of the example in ``encoded`` that each row
        reads; by default row i reads example i. ``advance`` is called with the number of rows that were read since.
        What a row's own head does not have is NaN; of prompted examples there are the scores of all candidates.

        Raises:
            UserError: not one fine-tune for each row.
        """
        of = np.asarray(of, np.int64)
        reads = np.arange(len(encoded)) if examples is None else np.asarray(examples, np.int64)
        if of.shape != reads.shape or not ((of >= 0) & (of < len(self.variants))).all():
            raise UserError(
                f"got {len(of)} numbers of fine-tunes for {len(reads)} rows",
                f"one for each row, from 0 to {len(self.variants) - 1}",
            )
        sizes = np.array([encoded.most_candidates if size is None else size for size in self.outputs])
        out = np.full((len(of), sizes.max()), np.nan, np.float32)
        seats = self._seat[of]
        together = np.flatnonzero(seats >= 0)
        if self.bank is not None and len(together):
            self._read(self.bank, encoded, reads, seats, together, out, advance)
        for number in self.alone:
            rows = np.flatnonzero(of == number)
            if len(rows):
                with restored(self.model):
                    write_biases(self.model, values_of(self.model, self.variants[number]))
                    bank = self._stacked([number], [])
                    self._read(bank, encoded, reads, np.zeros_like(of), rows, out, advance)
        out[np.arange(out.shape[1]) >= sizes[of][:, None]] = np.nan  # what other heads have more
        return out

    def _read(
        self,
        bank: Bank,
        encoded: Encoded,
        examples: np.ndarray,
        seats: np.ndarray,
        chosen: np.ndarray,
        out: np.ndarray,
        advance: Callable[[int], None],
    ) -> None:
        """Read the ``chosen`` rows into ``out``, those of similar length in one pass.

        ``examples``, ``seats``: of every row, its example and where its fine-tune lies in the bank.
        """
        session, backbone, device = self._session, self.model.backbone, self.precision.device.type
        split = cheapest_by_length if device == "cpu" else by_length
        was_training = backbone.training
        backbone.eval()
        with bank.installed():
            for group in split(encoded.lengths[examples[chosen]], EVAL_TOKENS[device]):
                rows = chosen[group]
                part, runs = encoded.take(examples[rows]), seats[rows]
                one = plan(part.lengths, runs, "longest", 0)[0]
                host = arranged(bank, session, part, runs, one)
                arrays = pass_arrays(bank, session, host, host.run_of_row, host.run_of_example)
                forward = partial(logits_of, bank, session, host.shape, tokens=encoded.tokens)
                with session.evaluating():
                    logits = session.run(("rows", host.shape), arrays, forward).float().cpu().numpy()
                out[rows[host.examples], : logits.shape[1]] = logits
                advance(len(rows))
        backbone.train(was_training)

    def _stacked(self, numbers: Sequence[int], slots: Sequence[BiasSlot]) -> Bank:
        """Stack fine-tunes: their biases in ``slots``, and their heads with outputs of zeros where others have more."""
        heads = [head_of(self.variants[number].snapshot, self.variants[number].task) for number in numbers]
        sizes = [size for head in heads if (size := outputs_of(head)) is not None]
        classes = max(sizes) if sizes else None
        bank = Bank(
            self.model,
            slots,
            runs=len(numbers),
            classes=classes,
            precision=self.precision,
            outside_biases=any("outside.bias" in head for head in heads),
            reader=self._session.reader,
            trains=False,
        )
        rows = bank.values.cpu().numpy().copy()  # all as the model has them: what a fine-tune lacks stays so
        for row, number, head in zip(rows, numbers, heads, strict=True):
            values = values_of(self.model, self.variants[number])
            for slot in slots:
                if (slot.stack, slot.term) in values:
                    row[bank.parts[slot_name(slot)].columns] = values[slot.stack, slot.term][slot.layer]
            for name, value in head_parts(_padded(head, classes), bank).items():
                row[bank.parts[name].columns] = value.ravel()
        bank.values.copy_(torch.from_numpy(rows))
        return bank


def head_of_base(model: LoadedModel, variant: Variant) -> Head:
    """Read the head of a fine-tune of ``model``.

    Raises:
        UserError: a fine-tune of another base model, without the head, or whose weights changed, too.
    """
    snapshot = variant.snapshot
    refuse_changed_weights(snapshot)
    if not model.info.shares_base(snapshot.meta.model):
        raise UserError(
            f"got a fine-tune of {snapshot.meta.model.id}, whose {model.info.told_by} are not those of {model.id}",
            "fine-tunes of one base model",
        )
    return head_of(snapshot, variant.task)


def add_zero_biases(model: LoadedModel, variants: Sequence[Variant]) -> None:
    """Give a model biases of zeros where a fine-tune has a term that the model lacks. Raises UserError."""
    for variant in variants:
        for _, term in variant.snapshot.keys():  # noqa: SIM118
            add_zero_bias(model, term)


def values_of(model: LoadedModel, variant: Variant) -> dict[Key, np.ndarray]:
    """Compute all bias terms of a fine-tune, (stack, term) -> float32 [layers, width].

    Raises:
        UserError: terms of another shape than the model's.
    """
    values = {key: variant.values(key) for key in variant.snapshot.keys()}  # noqa: SIM118
    for (stack, term), rows in values.items():
        slots = model.layout.slots_of(term)
        if stack != model.layout.stack or rows.shape != (len(slots), slots[0].width):
            raise UserError(
                f"got {stack}.{term} of shape {rows.shape}",
                f"{model.layout.stack}.{term} of shape {(len(slots), slots[0].width)}, as {model.id} has it",
            )
    return values


def changed_by_each(model: LoadedModel, variants: Sequence[Variant]) -> list[set[BiasSlot]]:
    """Find the slots that each fine-tune has otherwise than the model.

    Raises:
        UserError: terms of another shape than the model's.
    """
    before = biases(model)
    found = []
    for variant in variants:
        differs = {key: (rows != before[key]).any(axis=1) for key, rows in values_of(model, variant).items()}
        every = [slot for slot in model.layout.slots if (slot.stack, slot.term) in differs]
        found.append({slot for slot in every if differs[slot.stack, slot.term][slot.layer]})
    return found


def union(model: LoadedModel, changed: Sequence[set[BiasSlot]]) -> list[BiasSlot]:
    """List the slots that some fine-tune changed, in the model's order."""
    every = set().union(*changed)
    return [slot for slot in model.layout.slots if slot in every]


def can_share(model: LoadedModel, slot: BiasSlot) -> bool:
    """Say whether rows of one pass can have different values in a slot."""
    return can_hold(model, slot) and slot.term not in model.layout.reads_positions


def _padded(head: Head, classes: int | None) -> Head:
    """Give a head outputs of zeros until it has ``classes``."""
    out = dict(head)
    for name in {"head.weight", "head.bias"} & head.keys():
        assert classes is not None
        out[name] = np.pad(head[name], [(0, classes - len(head[name])), *[(0, 0)] * (head[name].ndim - 1)])
    return out
