"""Empirical Fisher information of every bias term, before fine-tuning (paper, section 2.2).

``F_b = (1/N) sum_i (grad_b log p(y_i | x_i))^2``, one squared gradient per *example*. A bias is added at every token,
so its gradient for one example is the sum over that example's tokens of the gradient arriving at the module's output.
A bank with one run per example yields exactly that for a whole batch in one backward pass.

The authors' code squares the clipped gradient of the mean over batches of 8 instead; that is the variant ``batch``.
Squaring a mean loses the spread between examples, so the two can rank terms differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from beft_core.architectures.layout import BiasSlot
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.plan import by_length
from beft_core.training.batches.reader import Reader
from beft_core.training.forward import one_run_each
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.objectives.base import LogLikelihood
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision

BATCH = 8
"""Batch size, in examples, of the authors' variant."""
CLIP = 1.0
"""Clipping norm of the authors' variant, over all biases and the head."""
_WINDOW = 1024
"""Number of examples whose gradients are grouped into the authors' batches at a time; a multiple of BATCH."""
_TOKENS = {"cpu": 1024, "cuda": 32768, "mps": 4096}
"""Most computed tokens per pass, by device."""
_BANK_BYTES = {"cpu": 2**28, "cuda": 2**31, "mps": 2**29}
"""Most bytes of a bank, by device: every example has its own copy of all biases and of the head, and their
gradients.
"""


@dataclass(frozen=True)
class FisherInformation:
    """Mean squared gradient per element: (stack, term) -> float32 [layers, width]."""

    exact: dict[tuple[str, str], np.ndarray]
    batch: dict[tuple[str, str], np.ndarray]
    examples: int

    def without(self, null: Mapping[str, np.ndarray]) -> FisherInformation:
        """Copy it with exact zeros where elements are certified null.

        ``null``: term -> bool [width] of a layer. Their gradient is zero; what is computed of it is rounding noise.
        """

        def cut(measured: dict[tuple[str, str], np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
            nothing = np.zeros(1, bool)
            return {key: np.where(null.get(key[1], nothing), np.float32(0), of) for key, of in measured.items()}

        return FisherInformation(cut(self.exact), cut(self.batch), self.examples)


def fisher_information(
    model: LoadedModel,
    slots: Sequence[BiasSlot],
    examples: Encoded,
    head: dict[str, np.ndarray],
    log_likelihood: LogLikelihood,
    precision: Precision,
    observer: Observer | None = None,
    reader: Reader | None = None,
    weights: Callable[[Encoded], np.ndarray] | None = None,
) -> FisherInformation:
    """Measure the Fisher information of ``slots`` at the current values of the model, dropout off (paper, section 2.2).

    ``head``: the tensors of the head before fine-tuning, by part name (``head.weight`` [classes, hidden], ...); without
    them the model's own language-model head scores answers. ``reader``: how the bank gets its vectors; None: all hidden
    states are computed. ``weights``: factor of each example's log-likelihood, such as the tokens of an answer whose
    log-probability is a mean over them; None: 1.
    """
    classes = len(head["head.weight"]) if "head.weight" in head else None

    def pass_over(window: Encoded, members: np.ndarray) -> tuple[Bank, np.ndarray]:
        part = window.take(members)
        bank = Bank(
            model, slots, runs=len(part), classes=classes, precision=precision, outside_biases=True, reader=reader
        )
        for name, value in head.items():
            bank.values[:, bank.parts[name].columns] = torch.as_tensor(value).reshape(-1).to(precision.device)
        one = one_run_each(bank, part)
        labels = torch.as_tensor(part.labels, device=precision.device)
        with bank.installed(), precision.autocast():
            likelihoods = log_likelihood(bank.outputs(one), labels)
            if weights is not None:
                likelihoods = likelihoods * torch.as_tensor(weights(part), device=precision.device)
            likelihoods.sum().backward()
        if observer is not None:
            observer.advance(len(part))
        return bank, members

    values = sum(value.size for value in head.values()) + sum(slot.width for slot in slots)
    return _accumulate(slots, examples, pass_over, precision.device, values, share_positions(model, slots))


def causal_lm_fisher(
    model: LoadedModel,
    slots: Sequence[BiasSlot],
    texts: Encoded,
    output_embeddings: Tensor,
    precision: Precision,
    observer: Observer | None = None,
) -> FisherInformation:
    """Measure the Fisher information of ``slots`` in a language model, from the text alone.

    ``log p(x)`` of an example is the sum over its tokens of ``log p(next token)``. ``output_embeddings``: [vocabulary,
    hidden], the weight of the language-model head.

    Raises:
        UserError: a model whose tokens see the next ones.
    """
    if not model.layout.causal:
        raise UserError(f"got {model.layout.model_type}, whose tokens see the next ones", "a decoder")

    def pass_over(window: Encoded, members: np.ndarray) -> tuple[Bank, np.ndarray]:
        part = window.take(members)
        bank = Bank(model, slots, runs=len(part), classes=1, precision=precision, outside_biases=True)
        one = one_run_each(bank, part)
        with bank.installed(), precision.autocast():
            hidden = model.backbone(**one.inputs)[0]  # (B, T, H)
            logits = F.linear(hidden, output_embeddings.to(hidden.dtype)).float()
            target = one.inputs["input_ids"][:, 1:]
            mask = one.inputs.get("attention_mask")
            real = torch.ones_like(target, dtype=torch.bool) if mask is None else mask[:, 1:].bool()
            nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), target, reduction="none")
            (-(nll * real).sum()).backward()
        if observer is not None:
            observer.advance(len(part))
        return bank, members

    values = sum(slot.width for slot in slots)
    return _accumulate(slots, texts, pass_over, precision.device, values, share_positions(model, slots))


def share_positions(model: LoadedModel, slots: Sequence[BiasSlot]) -> bool:
    """Say whether rows of one pass cannot differ in some of these biases, which act on positions that they share."""
    return any(slot.term in model.layout.reads_positions for slot in slots)


def _accumulate(
    slots: Sequence[BiasSlot],
    examples: Encoded,
    pass_over: Callable[[Encoded, np.ndarray], tuple[Bank, np.ndarray]],
    device: torch.device,
    weights: int,
    one_by_one: bool,
) -> FisherInformation:
    """Sum squared gradients over windows of examples; inside a window, passes go by length.

    ``one_by_one``: one example a pass.
    """
    most = 1 if one_by_one else max(1, _BANK_BYTES[device.type] // (3 * 4 * weights))
    squares: Tensor | None = None
    batch_squares: Tensor | None = None
    batches = 0
    bank: Bank | None = None
    for start in range(0, len(examples), _WINDOW):
        window = examples.take(range(start, min(start + _WINDOW, len(examples))))
        count = -(-len(window) // BATCH)
        sums: Tensor | None = None
        for members in by_length(window.lengths, _TOKENS[device.type], most):
            bank, _ = pass_over(window, members)
            grads = bank.grads  # (examples, P)
            if sums is None:
                sums = grads.new_zeros(count, grads.shape[1])
            if squares is None:
                squares = torch.zeros(grads.shape[1], dtype=torch.float64, device=device)
            squares += grads.square().sum(0)
            _add_by_batch(sums, grads, members // BATCH)
        assert sums is not None
        sizes = torch.full((count,), float(BATCH), device=device)
        sizes[-1] = len(window) - (count - 1) * BATCH
        means = sums / sizes[:, None]
        means *= (CLIP / (means.norm(dim=1) + 1e-6)).clamp(max=1.0)[:, None]
        total = means.square().sum(0).double()
        batch_squares = total if batch_squares is None else batch_squares + total
        batches += count
    assert bank is not None and squares is not None and batch_squares is not None
    return FisherInformation(
        _by_term(bank, slots, squares / len(examples)),
        _by_term(bank, slots, batch_squares / batches),
        len(examples),
    )


def _add_by_batch(sums: Tensor, grads: Tensor, batch_of: np.ndarray) -> None:
    """Add each example's gradient to its batch, in a fixed order (atomics would not repeat on a GPU)."""
    for position in range(BATCH):
        chosen: list[int] = []
        seen: dict[int, int] = {}
        for i, batch in enumerate(batch_of):
            rank = seen.get(batch, 0)
            seen[batch] = rank + 1
            if rank == position:
                chosen.append(i)
        if chosen:
            sums[torch.as_tensor(batch_of[chosen])] += grads[chosen]


def _by_term(bank: Bank, slots: Sequence[BiasSlot], flat: Tensor) -> dict[tuple[str, str], np.ndarray]:
    values = flat.float().cpu().numpy()
    out: dict[tuple[str, str], list[np.ndarray]] = {}
    for slot in slots:
        out.setdefault((slot.stack, slot.term), []).append(values[bank.parts[slot_name(slot)].columns])
    return {key: np.stack(rows) for key, rows in out.items()}
