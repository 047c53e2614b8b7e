"""Session, the only door to what merely makes a fine-tune faster.

The plain algorithm asks a :class:`Session` how passes are shaped, lets it run each computation, and tells it when a
pass begins. :class:`Accelerated` answers with whatever the model, the device and the settings allow. What is computed
is the same up to the order of sums and what dropout draws.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from beft_core.libraries.torch_private import has_triton
from beft_core.models.biases import LoadedModel
from beft_core.models.placement import is_spread
from beft_core.training.acceleration.compiled_layers import compiled_layers, layers_of, layers_run_once, uncompiled
from beft_core.training.acceleration.cpu_dropout import cpu_dropout
from beft_core.training.acceleration.fast_gelu import short_gelu
from beft_core.training.acceleration.fused.frozen_product import frozen_products
from beft_core.training.acceleration.fused.rounded_norm import rounded_norms
from beft_core.training.acceleration.fused_qkv import one_product
from beft_core.training.acceleration.fused_relu import fused_relu
from beft_core.training.acceleration.hashed_dropout import hand_out_keys, hashed_dropout
from beft_core.training.acceleration.last_layer import reader_of
from beft_core.training.acceleration.read_tokens import ReadTokensReader, reads_tokens
from beft_core.training.acceleration.recomputed_layers import recomputed_layers
from beft_core.training.acceleration.replay.cuda_graphs import Replays
from beft_core.training.acceleration.replay.deferred_reads import DeferredReadings
from beft_core.training.acceleration.segment_attention import (
    MAX_TOKENS,
    attention_by,
    is_supported,
    masks_are_made_here,
    scaled_by_attention,
)
from beft_core.training.batches.arrange import Shaping
from beft_core.training.precision import Precision
from beft_core.training.session import Compute, Session

KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Kernels of PyTorch's attention on a GPU, for models and rows that do not fit into ours."""
HASHED = {"cuda"}
"""Devices on which compiled layers hash their dropout."""


class Accelerated(Session):
    """Session with everything that makes a model's fine-tunes faster on its device."""

    def __init__(
        self,
        model: LoadedModel,
        precision: Precision,
        *,
        pad: str = "longest",
        trains_weights: bool = False,
        compile: bool = False,
        recompute: bool = False,
        record: bool = True,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Choose what makes these fine-tunes faster.

        ``pad``: how rows are laid out; ``trains_weights``: whether anything is trained outside of the bank;
        ``compile``: run the layers as compiled programs; ``recompute``: compute them again in the backward pass;
        ``record``: run steps as CUDA graphs where that can be. ``report`` receives what a user should know.
        """
        super().__init__(precision.device)
        self.model, self.precision = model, precision
        self.trains_weights, self.compile = trains_weights, compile
        few = self.device.type == "cuda" and not trains_weights and reads_tokens(model.layout)
        self.reader = ReadTokensReader(model) if few else reader_of(model)
        self.readings = DeferredReadings(self.device)
        self._replays = Replays(self.device, report)
        self.recompute = recompute
        self._records = record and not recompute and can_replay(model, self.device, pad, trains_weights)
        self._keyed: list[nn.Module] = []
        """Modules that need a fresh key before each pass with dropout."""

    @contextmanager
    def training(self) -> Iterator[None]:
        """Make the model's modules compute faster, and record steps where that can be, while the context is open."""
        model, backbone = self.model, self.model.backbone
        by_segments = is_supported(model, self.precision)
        hashes = self.compile and self.device.type in HASHED
        with ExitStack() as stack:
            stack.callback(self._forget_training)
            if self.device.type == "cpu" and backbone.training:
                stack.enter_context(cpu_dropout(backbone))
            if self.device.type == "cuda":
                # cuDNN's attention builds a plan for every new shape, which takes 0.2 s. Its kernels take three
                # quarters of the time, so runs that are long enough for a compiler have them.
                first = [SDPBackend.CUDNN_ATTENTION] if self.compile else []
                stack.enter_context(sdpa_kernel([*first, *KERNELS], set_priority=True))
            mask = "segments" if by_segments else "additive" if self._records else "tokens"
            self.shaping = Shaping(mask, MAX_TOKENS, rounded=self._records)
            if mask != "tokens":
                self._keyed += stack.enter_context(attention_by(model, mask))
                if self.compile:
                    stack.enter_context(scaled_by_attention(model))
            if self.device.type == "cuda" and self.precision.rounds and has_triton() and not self.compile:
                stack.enter_context(rounded_norms(model))
            if by_segments and not self.trains_weights:
                stack.enter_context(one_product(model))
            if self.device.type == "cuda" and self.precision.rounds:
                stack.enter_context(fused_relu(model))
                stack.enter_context(frozen_products(model))
            if hashes and layers_run_once(model):
                self._keyed += stack.enter_context(hashed_dropout(layers_of(model)))
            if hashes and self.precision.low:
                stack.enter_context(short_gelu(layers_of(model)))
            if self.compile:
                stack.enter_context(compiled_layers(model))
            if self.recompute:
                stack.enter_context(recomputed_layers(model))
            if self._records:
                stack.enter_context(self._replays.recording())
            yield

    def _forget_training(self) -> None:
        self.shaping, self._keyed = Shaping(), []

    def before_pass(self) -> None:
        """Hand out the keys of dropout."""
        if self.model.backbone.training and self._keyed:
            hand_out_keys(self._keyed, self.device)

    def run(self, key: Hashable, arrays: Mapping[str, np.ndarray], compute: Compute) -> Tensor:
        """Run a computation: compute it, record it or replay its recording."""
        return self._replays.run(key, arrays, compute)

    def evaluating(self) -> AbstractContextManager:
        """Run compiled layers as they are."""
        return uncompiled() if self.compile else nullcontext()


class Recomputing(Session):
    """Null session in which layers are computed again in the backward pass."""

    def __init__(self, model: LoadedModel, device: torch.device) -> None:
        super().__init__(device)
        self.model = model

    def training(self) -> AbstractContextManager[None]:
        """Make layers keep their inputs alone while the context is open."""
        return recomputed_layers(self.model)


def session_for(
    model: LoadedModel, precision: Precision, *, plain: bool = False, recompute: bool = False, **how: Any
) -> Session:
    """Make the session of a model: :class:`Accelerated` with its settings, or a null session if ``plain`` or where the
    model lies on several devices, between which nothing is recorded or cut short; with ``recompute``, layers are
    computed again in the backward pass.
    """
    if plain or is_spread(model.backbone):
        return Recomputing(model, precision.device) if recompute else Session(precision.device)
    return Accelerated(model, precision, recompute=recompute, **how)


def can_replay(model: LoadedModel, device: torch.device, pad: str, trains_weights: bool) -> bool:
    """Whether steps have few shapes and look at no number on the device, as a CUDA graph needs it."""
    return device.type == "cuda" and not trains_weights and pad != "buckets" and masks_are_made_here(model)
