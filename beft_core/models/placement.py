"""Placement of a model's weights while they are read: on which device, in which precision, and over how many GPUs.

A model whose weights are read into main memory in float32 and then rounded and moved costs four bytes per parameter
there, 27 GB of 6.7 billion. Read straight to the GPU, one tensor after another, it costs two bytes there and next to
nothing in main memory. Its values are the same: the weights of matrix products are rounded as
:meth:`beft_core.training.precision.Precision.prepare` rounds them, all else (biases, norms, embeddings) stays in
float32.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers.pytorch_utils import Conv1D

from beft_core.errors import UserError

ROOM = 1.25
"""Factor between a model's weights and the memory that it needs at least on one GPU: the rest is for training it."""


@dataclass(frozen=True)
class Placement:
    """Choice of where the weights of a model go."""

    device: torch.device
    """Device that trains, where all weights go if they fit."""
    bfloat16: bool = False
    """Whether the weights of matrix products are bfloat16."""
    parts: Mapping[str, str | int] | None = None
    """Devices by the path of a module, of a model in parts; None: :meth:`device_map` chooses."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Give models that transformers makes, while the context is open, their products in the precision.

        A tensor is then read in the precision that its place has.
        """
        if not self.bfloat16:
            yield
            return
        # A hook may return what is registered instead, as PyTorch documents; its annotation says that none does.
        handle = register_module_parameter_registration_hook(_in_bfloat16)  # type: ignore[arg-type]
        try:
            yield
        finally:
            handle.remove()

    def device_map(self, shapes: nn.Module) -> Any:
        """Choose where each part goes, as transformers takes it: ``{"": device}`` where one holds all, else ``auto``.

        ``shapes``: the model without values, made while :meth:`reading`. What the GPU cannot hold is spread over all
        of this host.

        Raises:
            UserError: they cannot hold it together.
        """
        if self.parts is not None:
            return dict(self.parts)
        if self.device.type != "cuda":
            return {"": self.device}
        needed = ROOM * sum(value.nbytes for value in shapes.parameters())
        gc.collect()  # a model that was trained before, whose memory PyTorch keeps for later
        torch.cuda.empty_cache()
        if needed <= torch.cuda.mem_get_info(self.device.index or 0)[0]:
            return {"": self.device}
        # Only now, because whoever asks a GPU takes some of its memory.
        free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
        if needed > sum(free):
            raise UserError(
                f"got a model that needs {needed / 1e9:.0f} GB to be trained",
                f"at most the {sum(free) / 1e9:.0f} GB that are free on {len(free)} GPU{'s' * (len(free) > 1)}",
                "a smaller model, --precision bfloat16, or --device cpu",
            )
        return "auto"


def require_on_devices(backbone: nn.Module) -> None:
    """Refuse a model of which a part was left in main memory or on disk, from where nothing is trained.

    Raises:
        UserError: so it is.
    """
    left = sorted(part for part, device in parts_of(backbone).items() if str(device) in ("cpu", "disk"))
    if left and len(set(map(str, parts_of(backbone).values()))) > 1:
        raise UserError(
            f"got a model whose {left[0]} does not fit on the GPUs of this machine ({len(left)} such parts)",
            "GPUs that hold all of it",
            "a smaller model, or --device cpu",
        )


def is_spread(backbone: nn.Module) -> bool:
    """Say whether a model lies on several devices, between which transformers moves the hidden states."""
    return len(set(map(str, parts_of(backbone).values()))) > 1


def parts_of(backbone: nn.Module) -> Mapping[str, Any]:
    """Return devices by the path of a module, as transformers wrote them down; empty for a model read without."""
    found: Mapping[str, Any] = getattr(backbone, "hf_device_map", {})
    return found


def is_product(module: nn.Module) -> bool:
    """Say whether a module is a matrix product, whose weight may be rounded."""
    return isinstance(module, nn.Linear | Conv1D)


def _in_bfloat16(module: nn.Module, name: str, value: nn.Parameter | None) -> nn.Parameter | None:
    """Make the weight of a product one of bfloat16, before it has values; None leaves what there is."""
    if value is None or name != "weight" or not is_product(module) or value.device.type != "meta":
        return None
    return nn.Parameter(value.data.to(torch.bfloat16), requires_grad=value.requires_grad)
