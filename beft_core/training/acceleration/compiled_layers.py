"""Compilation of the frozen model's layers to one program each, while a bank trains on a GPU.

A step of a bank is many small elementwise operations between a few large products: adding biases, GELU, dropout,
LayerNorm, casts. Compiled, they become a few kernels. Only the layers are compiled, not the whole model: all layers
then share one program, and it is made once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

from beft_core.libraries.torch_private import uncompile
from beft_core.models.biases import LoadedModel


def layers_of(model: LoadedModel) -> list[nn.Module]:
    """List the modules of the layers, one for each."""
    layout = model.layout
    return [model.backbone.get_submodule(layout.layer_path(number)) for number in range(layout.layers)]


def layers_run_once(model: LoadedModel) -> bool:
    """Whether each layer is a module of its own. Where layers share one (ALBERT), a key for its dropout would serve
    several of them, which would then drop the same elements.
    """
    return model.layout.layers == getattr(model.config, "num_hidden_layers", None)


@contextmanager
def compiled_layers(model: LoadedModel) -> Iterator[None]:
    """Make calls of a layer run its compiled program while the context is open; the first step takes its time to make
    it.
    """
    layers = layers_of(model)
    for layer in layers:
        layer.compile()
    try:
        # The first layer and the others, with and without a mask, one shape and any shape, each make a program.
        with torch.compiler.config.patch(recompile_limit=64):  # type: ignore[attr-defined]
            yield
    finally:
        for layer in layers:
            uncompile(layer)


def uncompiled() -> AbstractContextManager:
    """Run compiled layers as they are while the context is open: what is done once is not worth a program."""
    return torch.compiler.set_stance("force_eager")
