"""Prediction of several fine-tunes for sentences of one's own, in as few passes as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.answers import Answer, short_name
from beft_core.inference.heads import labels_of, reads_pairs, shared_task
from beft_core.inference.logits import variant_logits
from beft_core.inference.variants import Variant, changed_layers
from beft_core.merging.config import recorded
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import Examples
from beft_core.training import inputs
from beft_core.training.batches.encoded import encode

Loader = Callable[[RunConfig], LoadedModel]
"""Function that gives the base model of a configuration."""


def predict(
    snapshots: Sequence[Snapshot],
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    task: str | None = None,
    names: Sequence[str] | None = None,
    apart: Sequence[int] | None = None,
    config: RunConfig | None = None,
    loader: Loader = inputs.load,
) -> list[Answer]:
    """Ask fine-tunes of one base model about texts, or pairs of texts.

    Args:
        task: whose head is asked; by default the only one that all have.
        names: of the fine-tunes in the answers; by default what each trained.
        apart: numbers of the examples that are taken apart layer by layer; by default all.
        config: model, device and precision are read from it; by default the model is the one that the snapshots name.
        loader: gives the base model.

    Raises:
        UserError: no head that all have, texts that do not suit it, other base models, or changed weights.
    """
    task = shared_task(snapshots, task)
    examples = checked(snapshots, task, texts, text_pairs)
    config = config or RunConfig(**recorded(snapshots), device="cpu")
    model = loader(config)
    encoded = encode(model.tokenizer, examples, config.max_length)
    chosen = np.arange(len(examples)) if apart is None else np.unique(np.asarray(apart, dtype=np.int64))
    layers = [changed_layers(one) if len(chosen) else [] for one in snapshots]
    ends = [end for one in snapshots for end in (Variant(one, task), Variant.before(one, task))]
    put_back = [
        Variant.without_layer(one, task, layer)
        for one, own in zip(snapshots, layers, strict=True)
        if len(own) > 1
        for layer in own
    ]
    if len(chosen) == len(examples):
        every = variant_logits(model, [*ends, *put_back], encoded)
        logits, taken = every[: len(ends)], every[len(ends) :]
    else:
        logits = variant_logits(model, ends, encoded)
        taken = np.full((len(put_back), *logits.shape[1:]), np.nan, np.float32)
        if put_back:
            taken[:, chosen] = variant_logits(model, put_back, encoded.take(chosen))
    rows = iter(taken)
    answers = []
    for at, (one, own) in enumerate(zip(snapshots, layers, strict=True)):
        after, before = logits[2 * at], logits[2 * at + 1]
        # Without its only layer, a fine-tune is what it was before.
        without = {layer: next(rows) if len(own) > 1 else before for layer in own}
        name = names[at] if names is not None else short_name(one.meta)
        answers.append(Answer(name, labels_of(one.meta, task, logits.shape[2]), after, before, without))
    return answers


def checked(
    snapshots: Sequence[Snapshot], task: str, texts: Sequence[str], text_pairs: Sequence[str] | None
) -> Examples:
    """Make examples without labels of texts. Raises UserError where they are empty, or do not suit the task."""
    if not texts:
        raise UserError("got no text", "one sentence or more")
    pairs = next((known for one in snapshots if (known := reads_pairs(one.meta, task)) is not None), None)
    if pairs is not None and pairs != (text_pairs is not None):
        got, expected = ("one text each", "a pair of texts") if pairs else ("pairs of texts", "one text each")
        raise UserError(f"got {got} for {task}", f"{expected}, as its head was trained", "--text-pair" * pairs)
    if text_pairs is not None and len(text_pairs) != len(texts):
        raise UserError(f"got {len(text_pairs)} second texts for {len(texts)} texts", "as many")
    for text in (*texts, *(text_pairs or ())):
        if not text.strip():
            raise UserError("got an empty text", "a sentence", "one with a word in it")
    return Examples(list(texts), None if text_pairs is None else list(text_pairs), np.zeros(len(texts)))
