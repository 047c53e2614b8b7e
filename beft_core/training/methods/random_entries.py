"""Baselines that train a few single entries of the model: drawn at random (the paper's "rand uniform"), or those of the
largest Fisher information (FISH mask).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from beft_core.models.biases import LoadedModel
from beft_core.training.methods.base import Adam, Information, Method, TrainedWeights


class RandomUniform(Method):
    """Method that trains as many single parameters, drawn at random, as the value biases have."""

    def weights(self, model: LoadedModel, information: Information) -> SingleEntries:
        """Draw the entries, by the seed of the configuration."""
        total = sum(parameter.numel() for parameter in model.backbone.parameters())
        count = self.row.counts(model.layout, total)
        return SingleEntries(model.backbone, drawn(model.backbone, count, self.config.seed), Adam.of(self.config))


class FishMask(Method):
    """Method that trains as many single parameters as the value biases have: those of the largest Fisher information.

    Sung et al. 2021, https://arxiv.org/abs/2111.09839. The information is empirical, over the run's first training
    examples at the pre-trained model, under the head as it was drawn.
    """

    def candidates(self, name: str) -> bool:
        """Say whether entries of a parameter of this name may be chosen."""
        return True

    def weights(self, model: LoadedModel, information: Information) -> SingleEntries:
        """Measure every candidate and choose."""
        owners = list(_parameters(model.backbone))
        measured = iter(information([p for _, name, p in owners if self.candidates(name)]))
        values = torch.cat(
            [(next(measured) if self.candidates(name) else torch.zeros_like(p)).flatten() for _, name, p in owners]
        )
        total = sum(parameter.numel() for parameter in model.backbone.parameters())
        count = min(self.row.counts(model.layout, total), int((values > 0).sum()))
        chosen = values.topk(count).indices.sort().values.cpu().numpy()
        return SingleEntries(model.backbone, chosen, Adam.of(self.config))


class FishMaskOfBiases(FishMask):
    """Method that trains the single biases of the largest Fisher information, out of all biases of the model."""

    def candidates(self, name: str) -> bool:
        """Say whether a parameter of this name is a bias."""
        return name == "bias"


def drawn(backbone: nn.Module, count: int, seed: int) -> np.ndarray:
    """Draw ``count`` entries uniformly over all parameters whose entries can be trained singly, int64, sorted.

    An entry is numbered by its place among all of them, one parameter after another.
    """
    total = sum(p.numel() for _, _, p in _parameters(backbone))
    return np.sort(np.random.default_rng([seed, 2]).choice(total, size=count, replace=False))


class SingleEntries(TrainedWeights):
    """Parameters that are single entries of the model's parameters.

    No mask and no dense gradient of a weight matrix is ever made: the gradient of entry (i, j) of a product is the sum
    over tokens of (gradient of output i) x (input j), and only the chosen entries are summed. The entries live in one
    vector; before each forward pass they are written into the weights.

    An embedding that is the language-model head of a prompted task, too, is drawn from as any other matrix. Its entries
    have the gradient of the look-up alone: what they do to the head's logits is computed, and is not followed back.
    """

    def __init__(self, backbone: nn.Module, chosen: np.ndarray, adam: Adam) -> None:
        """``chosen``: numbers of the entries, int64, sorted, as :func:`drawn` gives them."""
        self._backbone = backbone
        owners = [(module, name, p) for module, name, p in _parameters(backbone)]
        ends = np.cumsum([p.numel() for _, _, p in owners])
        self._leaves: list[Tensor] = []
        self._entries: dict[nn.Module, list[tuple[str, Tensor, Tensor]]] = {}
        for i, (module, name, p) in enumerate(owners):
            low = int(ends[i - 1]) if i else 0
            flat = torch.from_numpy(chosen[(chosen >= low) & (chosen < ends[i])] - low).to(p.device)
            if len(flat):
                leaf = p.detach().view(-1)[flat].clone().requires_grad_()
                self._leaves.append(leaf)
                self._entries.setdefault(module, []).append((name, flat, leaf))
        super().__init__(adam)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make the modules that own chosen entries compute with them while the context is open."""
        for module, entries in self._entries.items():
            module.forward = _forward_with(module, entries)
        try:
            yield
        finally:
            for module in self._entries:
                del module.forward

    def parameters(self) -> list[Tensor]:
        return list(self._leaves)

    def step(self, clip_factor: Tensor | float, lr: float) -> None:
        """Take one AdamW step and write the entries into the weights."""
        super().step(clip_factor, lr)
        self._write()

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        super().load_state(state)
        self._write()

    @torch.no_grad()
    def _write(self) -> None:
        for module, entries in self._entries.items():
            for name, flat, leaf in entries:
                getattr(module, name).data.view(-1)[flat] = leaf


def _parameters(backbone: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Yield every parameter once, with the module that owns it; only kinds whose entries can be trained singly."""
    seen: set[int] = set()
    for path, module in backbone.named_modules():
        # Subclasses may compute something else (OPT's positions), so kinds are exact.
        if type(module) not in (nn.Linear, Conv1D, nn.Embedding, nn.LayerNorm) or path.startswith("pooler"):
            continue
        for name, p in module.named_parameters(recurse=False):
            if id(p) not in seen:
                seen.add(id(p))
                yield module, name, p


def _forward_with(module: nn.Module, entries: list[tuple[str, Tensor, Tensor]]) -> Any:
    where = {name: (flat, leaf) for name, flat, leaf in entries}
    weight: Any = module.weight

    def vector(name: str) -> Tensor | None:
        """Make a vector parameter with its trained entries in the graph: vectors are small, so this copy is free."""
        value: Tensor | None = getattr(module, name)
        if name not in where or value is None:
            return value
        flat, leaf = where[name]
        return value.index_copy(0, flat, leaf)

    def matrix(out: Tensor, x: Tensor) -> Tensor:
        return _AddEntries.apply(out, x, *where["weight"][::-1], _layout(module)) if "weight" in where else out

    if isinstance(module, nn.LayerNorm):
        return lambda x: F.layer_norm(x, module.normalized_shape, vector("weight"), vector("bias"), module.eps)
    if isinstance(module, nn.Embedding):
        return lambda ids: matrix(F.embedding(ids, module.weight, module.padding_idx), ids)
    if isinstance(module, Conv1D):
        return lambda x: matrix(F.linear(x, weight.t(), vector("bias")), x)
    return lambda x: matrix(F.linear(x, weight, vector("bias")), x)


def _layout(module: nn.Module) -> tuple[str, int]:
    """Say how a flat index falls into (row, column), and what the two mean."""
    kind = "embedding" if isinstance(module, nn.Embedding) else "in_out" if isinstance(module, Conv1D) else "out_in"
    return kind, module.weight.shape[1]  # type: ignore[return-value, index]


class _AddEntries(torch.autograd.Function):
    """Product as it is (the weight already holds the entries), with gradients for the entries alone."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, x: Tensor, leaf: Tensor, flat: Tensor, layout: tuple[str, int]) -> Tensor:
        kind, width = layout
        row, column = flat // width, flat % width
        ctx.kind, ctx.count = kind, leaf.numel()
        if kind == "embedding":
            ctx.save_for_backward(x.reshape(-1)[:, None] == row, column)  # (T, n), (n)
        else:
            source, target = (column, row) if kind == "out_in" else (row, column)
            ctx.save_for_backward(x.detach().reshape(-1, x.shape[-1])[:, source], target)  # (T, n), (n)
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, None, None]:
        inputs, target = ctx.saved_tensors
        arriving = grads[0].reshape(-1, grads[0].shape[-1])[:, target]  # (T, n)
        return grads[0], None, (inputs * arriving).sum(0).float(), None, None
