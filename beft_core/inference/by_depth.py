"""Logits of many variants of one fine-tune, where what they share is computed once: all layers below the first one in
which a variant differs.

The fine-tune as it was trained is read first, and what each layer gave is kept for one batch. A variant without layer 4
then begins at layer 4. That is why these logits come one variant after the other, while
:func:`beft_core.inference.logits.variant_logits` reads variants of different fine-tunes side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beft_core.architectures.layout import BiasSlot
from beft_core.errors import UserError
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.training.acceleration.session import session_for
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.plan import by_length, plan
from beft_core.training.forward import arranged, logits_of, pass_arrays
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.module_swap import standing_in
from beft_core.training.precision import Precision
from beft_core.training.preconditions import head_of, outputs_of
from beft_core.training.predict import EVAL_TOKENS
from beft_core.training.result import put_head

MAX_KEPT = 2**30
"""Most bytes of hidden states, all layers of one batch, that are kept for the variants to come."""


@torch.no_grad()
def logits_by_depth(
    model: LoadedModel,
    variants: Sequence[Variant],
    encoded: Encoded,
    *,
    precision: Precision,
    advance: Callable[[int], None] = lambda pairs: None,
) -> np.ndarray:
    """Compute the logits of every example under every variant: float32 [variants, examples, outputs].

    ``model``: the base model, on its device, with every bias of the snapshot. ``variants``: of one snapshot and one
    task; what the others share with the first is computed once. ``advance`` is called with the number of pairs of a
    variant and an example that were read since.

    Raises:
        UserError: variants of several snapshots or tasks, without the head, or of one whose weights changed, too.
    """
    snapshot, task = variants[0].snapshot, variants[0].task
    if any(one.snapshot is not snapshot or one.task != task for one in variants):
        raise UserError("got variants of several fine-tunes", "one snapshot and one task")
    refuse_changed_weights(snapshot)
    head = head_of(snapshot, task)
    classes = outputs_of(head)
    session = session_for(model, precision, plain=classes is None)
    values = [{key: variant.values(key) for key in snapshot.keys()} for variant in variants]  # noqa: SIM118
    # All slots of the snapshot, not only those that vary: the model itself may have any biases there.
    slots = [slot for slot in model.layout.slots if (slot.stack, slot.term) in values[0]]
    bank = Bank(
        model,
        slots,
        runs=1,
        classes=classes,
        precision=precision,
        outside_biases="outside.bias" in head,
        reader=session.reader,
    )
    put_head(head, bank)
    rows = _rows(bank, slots, values)
    first = _first_layers(slots, values)
    out = np.empty((len(variants), len(encoded), classes or encoded.most_candidates), np.float32)
    backbone = model.backbone
    was_training = backbone.training
    backbone.eval()
    shared = _Shared()
    with bank.installed(), shared.installed(model):
        for group in by_length(encoded.lengths, _most_tokens(model, precision)):
            part = encoded.take(group)
            runs = np.zeros(len(part), np.int64)
            one = plan(part.lengths, runs, "longest", 0)[0]
            host = arranged(bank, session, part, runs, one)
            arrays = pass_arrays(bank, session, host, host.run_of_row, host.run_of_example)
            compute = partial(logits_of, bank, session, host.shape, tokens=encoded.tokens)
            for number in range(len(variants)):
                bank.values[0, : bank.slots_end].copy_(rows[number])
                with session.evaluating(), shared.below(first[number] if number else None):
                    logits = session.run(("by depth", host.shape), arrays, compute).float().cpu().numpy()
                out[number, group[host.examples]] = logits
                advance(len(group))
            shared.forget()
    backbone.train(was_training)
    return out


def _rows(bank: Bank, slots: Sequence[BiasSlot], values: Sequence[dict[tuple[str, str], np.ndarray]]) -> Tensor:
    """Lay the biases of every variant out as the bank has them, float32 [variants, columns]."""
    rows = np.empty((len(values), bank.slots_end), np.float32)
    for slot in slots:
        columns = bank.slot_parts[slot_name(slot)].columns
        for number, of_variant in enumerate(values):
            rows[number, columns] = of_variant[slot.stack, slot.term][slot.layer]
    return torch.as_tensor(rows, device=bank.values.device)


def _first_layers(slots: Sequence[BiasSlot], values: Sequence[dict[tuple[str, str], np.ndarray]]) -> list[int | None]:
    """Find the first layer in which each variant differs from the first variant; None: in none."""
    found: list[int | None] = []
    for of_variant in values:
        differs = [
            slot.layer
            for slot in slots
            for key in [(slot.stack, slot.term)]
            if (of_variant[key][slot.layer] != values[0][key][slot.layer]).any()
        ]
        found.append(min(differs, default=None))
    return found


def _most_tokens(model: LoadedModel, precision: Precision) -> int:
    """Most computed tokens of a batch, whose hidden states of all layers are kept at once."""
    of_token = 4 * model.layout.hidden_size * model.layout.layers
    return max(1, min(EVAL_TOKENS[precision.device.type], MAX_KEPT // of_token))


class _Shared:
    """Record of what the layers gave for a batch, and the way by which later passes take it from there."""

    def __init__(self) -> None:
        self._outputs: list[Any] = []
        """What each call of a layer returned, in order: ALBERT calls one layer many times."""
        self._first_call: dict[int, int] = {}
        """Number of the first call of a layer, by the layer's number."""
        self._calls = 0
        self._skipped: int | None = None
        """Number of calls that are taken from the record; None: this pass is recorded."""

    @contextmanager
    def installed(self, model: LoadedModel) -> Iterator[None]:
        """Put a gate before every layer while the context is open."""
        layers = range(model.layout.layers)
        modules = {number: model.backbone.get_submodule(model.layout.layer_path(number)) for number in layers}
        gates: dict[nn.Module, nn.Module] = {module: _Gate(module, number, self) for number, module in modules.items()}
        with standing_in([model.backbone], gates):
            yield

    @contextmanager
    def below(self, layer: int | None) -> Iterator[None]:
        """Take all layers below ``layer`` from the record in the passes of this context; None: record them."""
        self._calls = 0
        if layer is None and not self._outputs:
            self._skipped = None
        else:  # a variant that differs nowhere is all there already
            self._skipped = len(self._outputs) if layer is None else self._first_call[layer]
        yield

    def forget(self) -> None:
        """Forget the batch."""
        self._outputs.clear()
        self._first_call.clear()

    def through(self, layer: nn.Module, number: int, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Compute a layer, or take what it gave."""
        call = self._calls
        self._calls += 1
        if self._skipped is not None and call < self._skipped:
            return self._outputs[call]
        found = layer(*given, **named)
        if self._skipped is None:
            self._outputs.append(found)
            self._first_call.setdefault(number, call)
        return found


class _Gate(nn.Module):
    """Layer that is computed only where a pass needs it; models may ask it for what its layer has."""

    def __init__(self, layer: nn.Module, number: int, shared: _Shared) -> None:
        super().__init__()
        self.layer = layer
        self._number, self._shared = number, shared

    def forward(self, *given: Any, **named: Any) -> Any:
        """Compute the layer, or take what it gave."""
        return self._shared.through(self.layer, self._number, given, named)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)
