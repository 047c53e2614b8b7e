"""Certificate of the bias terms that cannot act: the rule of the architecture, checked by numbers on the loaded model.

Attention of query i to key j is ``softmax_j(q_i . k_j)``. A key bias d adds ``q_i . d``, the same number for
every j, and the softmax does not see it: d is a null direction with an exactly zero gradient. What training
sees instead is rounding noise, which Adam normalises into real movement, so a null term must be known before
it is scored. Rotary and relative-key positions break the argument, because the number then depends on j; partial
rotary positions break it only for the elements that they turn, so what is certified is each element.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from beft_core.models.biases import LoadedModel, get_bias, restored, set_bias
from beft_core.terms import CANDIDATES

TOLERANCE = 1e-5
"""Largest relative change of the hidden states that counts as none. Terms that act change them by more than
1e-3; in float64 a null term changes them by 1e-13, or by 1e-7 where an architecture computes its softmax in
float32."""
SIZE = 3.0
"""Standard deviation of the perturbation: large against pre-trained biases, small enough not to saturate
the softmax.
"""
TOKENS = 8
AT_ONCE = 2**32
"""Most bytes that a model may take in float64 to be turned as a whole; of a larger one, one layer at a time is."""
SMALL = 200_000_000
"""Number of parameters up to which a model is checked in one thread."""
SEED = 20250915


@dataclass(frozen=True, eq=False)
class NullReport:
    """Report on whether one term is null, by rule and by numbers."""

    null: bool
    """Whether the term is certified null: the rule and the numbers both say that no element of it can act."""
    rule: bool
    """Whether the whole term is null by the rule of its architecture."""
    numeric: bool
    """Whether the whole term is null by numbers on the loaded model."""
    max_change: float
    """Largest change of a final hidden state, relative to the largest hidden state, when all elements change."""
    why: str
    """Explanation of the rule, in words."""
    elements: np.ndarray
    """Mask, bool [width], of the elements of a layer that are certified null, the same in every layer."""
    part_agrees: bool = True
    """Whether changing the elements that the rule calls null changes no output, where it calls only some of a term
    null.
    """

    @property
    def agrees(self) -> bool:
        """Whether rule and numbers agree; elements on which they do not are never treated as null."""
        return self.rule == self.numeric and self.part_agrees


def null_certificate(model: LoadedModel) -> dict[str, NullReport]:
    """Report on each of q, k and v that the model has.

    The backbone computes in float64 and is restored bit by bit. A small one is turned as a whole: twice its memory for
    a moment, no copy. Of one that takes more than :data:`AT_ONCE` each layer is turned only while it computes. All
    layers of a term are perturbed at once; a fixed random input of a few tokens shows whether anything changes. Where
    the rule calls only some elements null, those are also perturbed alone.
    """
    terms = [term for term in CANDIDATES if term in model.layout.terms]
    generator = torch.Generator().manual_seed(SEED)
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        few_threads(model.backbone),
        _float64(model),
        restored(model),
    ):
        probe = probe_input(model, generator)
        base = hidden_states(model, probe)

        def change(term: str, elements: np.ndarray) -> float:
            """Measure the largest relative change of a hidden state when these elements of all layers are perturbed."""
            with restored(model):
                for slot in model.layout.slots_of(term):
                    bias = get_bias(model.backbone, slot)
                    noise = torch.randn(slot.width, generator=generator, dtype=torch.float64)
                    noise[torch.from_numpy(~elements)] = 0
                    # In the bias's own precision: of a layer that is not turned now it is float32.
                    set_bias(model.backbone, slot, bias + SIZE * noise.to(bias.device))
                return float((hidden_states(model, probe) - base).abs().max() / base.abs().max())

        return {term: _report(model, term, change) for term in terms}


def null_terms(model: LoadedModel) -> tuple[str, ...]:
    """Terms of the model that are certified null as a whole, in canonical order."""
    return tuple(term for term, report in null_certificate(model).items() if report.null)


def null_elements(reports: Mapping[str, NullReport]) -> dict[str, np.ndarray]:
    """Certified null elements, bool [width], of every term that has any."""
    return {term: report.elements for term, report in reports.items() if report.elements.any()}


def _report(model: LoadedModel, term: str, change: Callable[[str, np.ndarray], float]) -> NullReport:
    claimed = model.layout.null_elements(term)
    rule = bool(claimed.all())
    whole = change(term, np.ones_like(claimed))
    numeric = whole <= TOLERANCE
    why = model.layout.key_rule.why if term == "k" else f"the {term} bias acts in every softmax attention"
    some = bool(claimed.any()) and not rule
    still = numeric if not some else change(term, claimed) <= TOLERANCE
    return NullReport(rule and numeric, rule, numeric, whole, why, claimed & still, still or not some)


def hidden_states(model: LoadedModel, probe: dict[str, torch.Tensor]) -> torch.Tensor:
    """Compute the final hidden states [1, tokens, hidden_size] of a :func:`probe_input`."""
    return model.backbone(**probe).last_hidden_state


def probe_input(model: LoadedModel, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Draw a row of random tokens, or one random image, on the model's device."""
    device = next(model.backbone.parameters()).device
    config: Any = model.config
    if getattr(model.backbone, "main_input_name", "input_ids") == "pixel_values":
        size = config.image_size if isinstance(config.image_size, int) else next(iter(config.image_size))
        pixels = torch.randn(1, config.num_channels, size, size, generator=generator, dtype=torch.float64)
        return {"pixel_values": pixels.to(device)}
    ids = torch.randint(0, config.vocab_size, (1, TOKENS), generator=generator)
    if config.pad_token_id is not None:
        # A padding token would shift RoBERTa's positions.
        ids[ids == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    return {"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}


@contextlib.contextmanager
def few_threads(module: nn.Module) -> Iterator[None]:
    """Use one thread for a small model: a few tokens are less work than the threads' waiting for each other, which on a
    busy computer turns a third of a second into ten.
    """
    threads = torch.get_num_threads()
    if sum(parameter.numel() for parameter in module.parameters()) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _float64(model: LoadedModel) -> Iterator[None]:
    """Make a model compute in float64 while the context is open (on the CPU if its device has none)."""
    backbone, layout = model.backbone, model.layout
    home = next(backbone.parameters()).device
    if home.type == "mps":
        try:
            backbone.to("cpu")
            with _turned(_floating(backbone)):
                yield
        finally:
            backbone.to(home)
        return
    everything = _floating(backbone)
    if sum(8 * tensor.numel() for tensor in everything) <= AT_ONCE:
        with _turned(everything):
            yield
        return
    layers = [backbone.get_submodule(layout.layer_path(number)) for number in range(layout.layers)]
    inside = {id(tensor) for layer in layers for tensor in _floating(layer)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_turned([tensor for tensor in everything if id(tensor) not in inside]))
        for layer in layers:
            stack.enter_context(_turned_while_it_computes(layer))
        yield


@contextlib.contextmanager
def _turned(tensors: list[torch.Tensor]) -> Iterator[None]:
    """Turn tensors to float64 while the context is open; then they are as they were."""
    before = [tensor.dtype for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.data = tensor.data.double()
        yield
    finally:
        for tensor, dtype in zip(tensors, before, strict=True):
            tensor.data = tensor.data.to(dtype)


@contextlib.contextmanager
def _turned_while_it_computes(layer: nn.Module) -> Iterator[None]:
    """Turn a layer to float64 in each of its calls while the context is open."""
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def turn(*_: Any) -> None:
        kept.extend((tensor, tensor.data) for tensor in _floating(layer))
        for tensor, data in kept:
            tensor.data = data.double()

    def turn_back(*_: Any) -> None:
        while kept:
            tensor, data = kept.pop()
            tensor.data = data

    handles = [layer.register_forward_pre_hook(turn), layer.register_forward_hook(turn_back, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _floating(module: nn.Module) -> list[torch.Tensor]:
    return [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
