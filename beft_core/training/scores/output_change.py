"""Relative output change of a fine-tune: how far each of b_q, b_k and b_v moves what its layer computes.

Other scores read the numbers of a bias, so they change with the way in which a model is written down (see
:mod:`beft_core.scores.rewriting`). This one looks at what the change ``d = post - pre`` does in the model as it was
before the fine-tune, on validation examples, in each layer by itself:

- of b_v: ``|W_o d|``, what it adds to the attention's output at every token, relative to the root mean square of the
  norm of that output;
- of b_q and b_k: the change of the attention logits relative to the logits, both as root mean squares over heads,
  queries and keys, after the mean over keys was taken from each row, which the softmax does not see. So a b_k that
  cannot act gives 0.

Shifts and scales of values, queries and keys change neither numerator nor denominator.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from beft_core.architectures.certified import certified
from beft_core.architectures.layout import BiasSlot
from beft_core.config import RunConfig, table_fields
from beft_core.errors import UserError
from beft_core.merging.config import recorded
from beft_core.models.biases import LoadedModel, get_bias, set_bias, write_biases
from beft_core.models.folding import folded_change
from beft_core.models.placement import is_spread
from beft_core.models.source import BUNDLED
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Key, Snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.terms import CANDIDATES
from beft_core.training import inputs
from beft_core.training.batches.encoded import Encoded, encode
from beft_core.training.evaluate import inputs_of, load_base
from beft_core.training.module_swap import attention_called, for_every_head, takes_attention
from beft_core.training.observer import Observer
from beft_core.training.precision import pick_device

EXAMPLES = 64
"""Most validation examples that are looked at: the first of a permutation that is always the same."""
ROWS = 8
"""Examples of one pass."""
NAME = "beft_logits"
"""Name, in transformers' registry, of an attention that hands out its logits."""

_listeners: list[Callable[[Tensor, Tensor], None]] = []
"""Who hears of the logits now; empty but while :func:`relative_output_change` runs."""


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, Tensor]:
    """Attention by its definition, of [B, heads, T, hs]; logits and visible keys go to the last listener."""
    key, value = for_every_head(query, key, value)
    scaling = more.get("scaling")
    logits = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)  # (B, H, T, T)
    visible = torch.ones_like(logits, dtype=torch.bool)
    if attention_mask is not None:
        mask = attention_mask[..., : key.shape[2]]
        visible &= mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    if _listeners:
        _listeners[-1](logits, visible)
    weights = logits.masked_fill(~visible, torch.finfo(logits.dtype).min).softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)


def relative_output_change(
    model: LoadedModel, change: Mapping[str, np.ndarray], examples: Encoded, observer: Observer | None = None
) -> dict[str, np.ndarray]:
    """Measure how far changes of b_q, b_k and b_v move what each layer computes.

    Args:
        model: as it was before the fine-tune; it is the same afterwards.
        change: term -> post - pre [layers, width], of terms among q, k and v.
        examples: tokenised; what is measured is a mean over all of their tokens.
        observer: hears of each example.

    Returns:
        Term -> float64 [layers].

    Raises:
        UserError: no examples, or an architecture whose attention does not come from transformers' registry.
    """
    observer = observer or Observer()
    if not len(examples):
        raise UserError("got no validation example", "at least one to measure the output change on")
    if not takes_attention(model.backbone):
        raise UserError(
            f"got a {model.layout.model_type} model, whose attention logits cannot be looked at",
            "an architecture that takes its attention from transformers' registry",
        )
    measured = _Sums(model, change)
    with torch.no_grad(), attention_called(model.backbone, NAME), measured.hooked():
        for first in range(0, len(examples), ROWS):
            part = examples.take(range(first, min(first + ROWS, len(examples))))
            measured.look_at(part)
            observer.advance(len(part))
    return measured.results()


class _Sums:
    """Sums over the tokens seen so far, layer by layer; layers that are used several times are summed over all uses."""

    def __init__(self, model: LoadedModel, change: Mapping[str, np.ndarray]) -> None:
        self._model, self._change = model, change
        layers = model.layout.layers
        self._outputs, self._tokens = np.zeros(layers), np.zeros(layers)
        self._logits = np.zeros(layers)
        self._moved = {term: np.zeros(layers) for term in change if term in "qk"}
        self._valid: Tensor | None = None  # bool [B, T]

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Look at each layer while the context is open."""
        layout, backbone = self._model.layout, self._model.backbone
        with ExitStack() as stack:
            for slot in (*layout.slots, *layout.addable):
                if slot.term == "o":
                    handle = backbone.get_submodule(slot.module).register_forward_hook(self._output_of(slot.layer))
                    stack.callback(handle.remove)
                elif slot.term == "q":
                    parent = backbone.get_submodule(slot.module.rpartition(".")[0])
                    handle = parent.register_forward_hook(self._logits_of(slot.layer), with_kwargs=True)
                    stack.callback(handle.remove)
            yield

    def look_at(self, part: Encoded) -> None:
        """Run one padded pass."""
        device = next(self._model.backbone.parameters()).device
        width = int(part.lengths.max())
        valid = np.arange(width) < part.lengths[:, None]
        ids = np.full(valid.shape, getattr(self._model.tokenizer, "pad_token_id", None) or 0, np.int64)
        ids[valid] = np.concatenate(part.ids)
        self._valid = torch.from_numpy(valid).to(device)
        given: dict[str, Tensor] = {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": self._valid.long()}
        accepted = inspect.signature(self._model.backbone.forward).parameters
        if part.tokens.types is not None and "token_type_ids" in accepted:
            types = np.zeros_like(ids)
            spans = zip(part.start, part.lengths, strict=True)
            types[valid] = np.concatenate([part.tokens.types[start : start + length] for start, length in spans])
            given["token_type_ids"] = torch.from_numpy(types).to(device)
        self._model.backbone(**given)

    def _output_of(self, layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            if len(_listeners):  # a repetition with another bias
                return
            assert self._valid is not None
            valid = self._valid.to(output.device)  # of a model on several devices
            seen = output.reshape(*valid.shape, -1)[valid].double()
            self._outputs[layer] += float(seen.square().sum())
            self._tokens[layer] += len(seen)

        return hook

    def _logits_of(self, layer: int) -> Callable[..., None]:
        busy = False

        def hook(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            nonlocal busy
            if busy:
                return
            busy = True
            try:
                before = self._repeated(module, args, kwargs)
                self._logits[layer] += _size(before)
                for term in self._moved:
                    with self._biased(term, layer):
                        after = self._repeated(module, args, kwargs)
                    self._moved[term][layer] += _size([(new[0] - was[0], was[1]) for new, was in _pairs(after, before)])
            finally:
                busy = False

        return hook

    def _repeated(self, module: Any, args: Any, kwargs: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
        """Compute a layer's attention once more, on the same input: its logits with the pairs that count."""
        found: list[tuple[Tensor, Tensor]] = []
        valid = self._valid
        assert valid is not None

        def listen(logits: Tensor, visible: Tensor) -> None:
            found.append((logits, visible & valid[:, None, :, None].to(visible.device)))

        _listeners.append(listen)
        try:
            module.forward(*args, **kwargs)
        finally:
            _listeners.pop()
        return found

    @contextmanager
    def _biased(self, term: str, layer: int) -> Iterator[None]:
        """Add the change of a term to one layer's bias while the context is open."""
        slot = self._slot(term, layer)
        bias = get_bias(self._model.backbone, slot)
        set_bias(self._model.backbone, slot, bias + torch.from_numpy(self._change[term][layer]).to(bias))
        try:
            yield
        finally:
            set_bias(self._model.backbone, slot, bias)

    def _slot(self, term: str, layer: int) -> BiasSlot:
        return next(slot for slot in self._model.layout.slots_of(term) if slot.layer == layer)

    def results(self) -> dict[str, np.ndarray]:
        """Relative changes by term: float64 [layers]; 0 where there is nothing that could move."""
        results = {term: np.sqrt(_ratio(moved, self._logits)) for term, moved in self._moved.items()}
        if "v" in self._change:
            added = np.linalg.norm(folded_change(self._model, self._change["v"]), axis=1)
            results["v"] = np.sqrt(_ratio(added**2, _ratio(self._outputs, self._tokens)))
        return {term: results[term] for term in CANDIDATES if term in results}


def _pairs(after: Any, before: Any) -> Iterator[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    return zip(after, before, strict=True)


def _size(seen: list[tuple[Tensor, Tensor]]) -> float:
    """Sum the squares of logits [B, H, T, T] over the pairs that count, less each row's mean over its keys."""
    total = 0.0
    for logits, counts in seen:
        values = logits.double()
        mean = values.where(counts, 0).sum(-1, keepdim=True) / counts.sum(-1, keepdim=True).clamp(min=1)
        total += float((values - mean).where(counts, 0).square().sum())
    return total


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


# --- of snapshots ------------------------------------------------------------------------------------------------


def with_output_change(
    snapshot: Snapshot,
    config: RunConfig | None = None,
    observer: Observer | None = None,
    *,
    data: TaskData | None = None,
    base: inputs.Base | None = None,
    table: Mapping[str, Any] = MappingProxyType({}),
) -> Snapshot:
    """Complete a snapshot with the relative output change of those of q, k and v that it trained.

    Args:
        snapshot: of a fine-tune of biases.
        config: where model and data are and where to compute; its task is that of the snapshot.
        observer: hears of the stages.
        data: examples that are in memory already.
        base: the base model, where that is.
        table: fields of an ``OwnTable``, for a snapshot of a table of the user's own.

    Raises:
        UserError: model or data cannot be had, the model is not the snapshot's base, or see
            :func:`relative_output_change`.
    """
    observer = observer or Observer()
    refuse_changed_weights(snapshot)
    meta = snapshot.meta
    run = _settings(snapshot, config or RunConfig(), table)
    if data is None:
        observer.stage("load data")
        data = inputs.load_data(run)
    observer.stage("load model")
    model = load_base(snapshot, run, base, inputs.placement_for([run], exact=True))
    drawn = next(iter(data.limited(EXAMPLES).evals.values()))
    examples = encode(model.tokenizer, drawn, run.max_length)
    if not is_spread(model.backbone):
        model.backbone.to(pick_device(run.device))
    stack, null = model.layout.stack, certified(meta).terms
    keys: list[Key] = [(stack, term) for term in CANDIDATES if term in meta.trained_terms and term not in null]
    held = [key for key in snapshot.keys() if key[0] == stack]  # noqa: SIM118
    write_biases(model, {key: snapshot.pre(*key) for key in held})
    change = {key[1]: np.subtract(snapshot.post(*key), snapshot.pre(*key), dtype=np.float64) for key in keys}
    observer.stage("measure output change", len(examples))
    found = relative_output_change(model, change, examples, observer)
    silent = {(stack, term): np.zeros(model.layout.layers) for term in null if (stack, term) in held}
    return snapshot.with_output_change({(stack, term): values for term, values in found.items()} | silent)


def _settings(snapshot: Snapshot, config: RunConfig, table: Mapping[str, Any]) -> RunConfig:
    """Complete a configuration with what the snapshot records of its model, its task and its inputs."""
    meta, fields = snapshot.meta, recorded([snapshot])
    if config.model != BUNDLED:
        fields["model"] = config.model
    if table:
        fields |= table_fields(OwnTable.from_dict({**table, "name": meta.task}))
    elif config.train_file is None:
        fields["task"] = meta.task
    return dataclasses.replace(config, **fields, inputs=inputs_of(snapshot, meta.task))
