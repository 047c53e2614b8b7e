"""Answers of fine-tunes that left an adapter of the PEFT library: it is put into the base model, asked, and taken out.

Biases of many fine-tunes share a pass, because each row reads its own. Adapters change the modules themselves, so that
they are asked one after the other, on the same base model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from beft_core.errors import UserError
from beft_core.inference.answers import Answer
from beft_core.inference.heads import labels_of
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training.batches.encoded import Encoded
from beft_core.training.methods.adapters import AdapterWeights
from beft_core.training.methods.base import Weights
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision
from beft_core.training.preconditions import head_of, outputs_of
from beft_core.training.predict import Predictor
from beft_core.training.result import put_head
from beft_core.training.session import Session

SHORTEST = 4
"""Least number of tokens for which a configuration makes room."""
Read = Callable[[Encoded], np.ndarray]
"""Function from tokenised examples to their logits, float32 [examples, outputs]."""


def adapter_logits(model: LoadedModel, snapshot: Snapshot, task: str, encoded: Encoded) -> np.ndarray:
    """Compute the logits of every example under an adapter and its head: float32 [examples, outputs].

    ``model``: the base model, which is afterwards as it was. ``snapshot``: with its adapter in memory, as
    :func:`beft_core.training.preconditions.with_adapter` reads it.

    Raises:
        UserError: another base model, a snapshot without the head, or an adapter that does not fit.
    """
    with _put_in(model, snapshot, encoded) as weights:
        return _reader(model, snapshot, task, weights)(encoded)


def adapter_answer(
    model: LoadedModel,
    snapshot: Snapshot,
    task: str,
    encoded: Encoded,
    *,
    name: str,
    labels: tuple[str, ...] | None = None,
    apart: Sequence[int] | np.ndarray = (),
    precision: Precision | None = None,
) -> Answer:
    """Ask a fine-tune that left an adapter: with it, without it under the same head, and without it in each layer.

    ``name``: of the fine-tune in the answer; ``labels``: names of the outputs, where the snapshot does not say them;
    ``apart``: numbers of the examples that are taken apart layer by layer. An adapter whose vectors stand before the
    text is in no layer. ``precision``: float32 on the CPU, or what the model was prepared for. Model, snapshot and
    errors are as in :func:`adapter_logits`.
    """
    before = _reader(model, snapshot, task, Weights(), precision)(encoded)
    without: dict[int, np.ndarray] = {}
    with _put_in(model, snapshot, encoded) as weights:
        read = _reader(model, snapshot, task, weights, precision)
        after = read(encoded)
        chosen = np.asarray(apart, np.int64)
        for layer in weights.layers() if len(chosen) else []:
            without[layer] = np.full_like(after, np.nan)
            with weights.without(layer):
                without[layer][chosen] = read(encoded.take(chosen))
    outputs = labels or labels_of(snapshot.meta, task, after.shape[1])
    return Answer(name, outputs, after, before, without, snapshot.meta.is_prompted(task))


@contextmanager
def _put_in(model: LoadedModel, snapshot: Snapshot, encoded: Encoded) -> Iterator[AdapterWeights]:
    """Have the adapter of a snapshot in the model, for these examples, while the context is open."""
    if not model.info.shares_base(snapshot.meta.model):
        raise UserError(
            f"got a fine-tune of {snapshot.meta.model.id}, whose base is not {model.id}", "fine-tunes of one base model"
        )
    weights = AdapterWeights.of(snapshot, model, max(SHORTEST, int(encoded.lengths.max())))
    try:
        yield weights
    finally:
        weights.take_out()


def _reader(
    model: LoadedModel, snapshot: Snapshot, task: str, weights: Weights, precision: Precision | None = None
) -> Read:
    """Make the function that reads examples under the head of a snapshot and the model as it is, with ``weights``."""
    precision = precision or Precision("float32", torch.device("cpu"))
    head = head_of(snapshot, task)
    session = Session(precision.device)
    bank = Bank(
        model,
        [],
        runs=1,
        classes=outputs_of(head),
        precision=precision,
        outside_biases="outside.bias" in head,
        reader=session.reader,
    )
    put_head(head, bank)
    predictor = Predictor(bank, {}, {}, session)

    def read(encoded: Encoded) -> np.ndarray:
        with bank.installed(), weights.installed():
            return predictor.predict(encoded)

    return read
