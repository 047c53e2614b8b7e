"""Products of a decoder's last layer for the tokens that are read, and no others.

A language-model head reads the hidden states before answer tokens: of most prompts one state of a hundred. In the last
layer keys and values are those of all tokens, but queries, the attention's output and the MLP matter for the read ones
alone. Their products are computed for these; elsewhere the layer's hidden states are then not what the model would
give, and nobody reads them. That leaves out five sixths of one layer's products, forward and backward, and changes
nothing but the order of sums and what dropout draws.

The layer itself stays as transformers has it. A product that is trained is computed in full: what is added to
it is that of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beft_core.architectures.layout import Layout
from beft_core.models.biases import LoadedModel
from beft_core.models.placement import is_product
from beft_core.training.batches.arrange import DevicePass
from beft_core.training.batches.reader import Reader
from beft_core.training.methods.bank_linear import OfRuns
from beft_core.training.module_swap import standing_in


@dataclass
class ReadTokens:
    """Tokens that a pass reads, for products that follow one another."""

    at: Tensor | None = None
    """Positions among all rows * tokens, int64 [states]; None: all are to be computed."""
    once: Tensor | None = None
    """1 at the first mention of each position, 0 where it stands again to fill up a shape, float32 [states, 1]."""
    like: Tensor | None = None
    """Any tensor [rows, tokens] of the pass."""

    def note(self, at: Tensor | None, like: Tensor | None) -> None:
        """Take positions, ascending and then filled up with an earlier one, and a tensor [rows, tokens]; or nothing."""
        self.at, self.like, self.once = at, like, None
        if at is not None:
            again = torch.zeros_like(at, dtype=torch.bool)
            again[1:] = at[1:] <= at[:-1]
            self.once = (~again)[:, None].float()

    def narrow(self, x: Tensor) -> Tensor:
        """Take the read tokens: [..., width] -> [states, width]."""
        assert self.at is not None
        return x.flatten(0, -2).index_select(0, self.at)

    def widen(self, few: Tensor, flat: bool) -> Tensor:
        """Put the read tokens back among zeros: [states, width] -> [rows, tokens, width], or ``flat`` as OPT has it,
        [rows * tokens, width].
        """
        assert self.at is not None and self.once is not None and self.like is not None
        nothing = few.new_zeros(self.like.numel(), few.shape[-1])
        full = nothing.index_add(0, self.at, few * self.once.to(few.dtype))
        return full if flat else full.view(*self.like.shape, -1)


class ReadProduct(nn.Module):
    """Product for the read tokens, between a first that takes them and a last that puts them back."""

    def __init__(self, module: nn.Module, tokens: ReadTokens, chain: list[ReadProduct]) -> None:
        """Replace a module. ``chain``: the products that follow one another, in order; the module joins as the last."""
        super().__init__()
        self.module, self.tokens = module, tokens
        self.chain = chain
        """Products of one chain: first those that take the tokens, side by side, then one that puts them back."""
        self.flat = False
        """Whether the input of the first ones has its rows and tokens as one dimension."""
        chain.append(self)

    def forward(self, x: Tensor) -> Tensor:
        """Compute [..., in] -> [..., out], or [states, in] -> [states, out] within a chain."""
        if self.tokens.at is None or any(isinstance(one.module, OfRuns) for one in self.chain):
            return self.module(x)
        last = self.chain[-1]
        if self is not last or len(self.chain) == 1:
            last.flat = x.dim() == 2
            x = self.tokens.narrow(x)
        few = self.module(x)
        return self.tokens.widen(few, self.flat) if self is last else few

    def __getattr__(self, name: str) -> Any:
        """Read what a model may ask of its products, such as their weight."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


class ReadTokensReader(Reader):
    """Reader that computes products of the last layer for the tokens that it reads."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._tokens = ReadTokens()
        self._reading = False
        """Whether the backbone is called for what :meth:`vectors` reads."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make the last layer's products compute what is read while the context is open."""
        backbone = self._model.backbone
        stand_ins: dict[nn.Module, nn.Module] = {}
        for paths in _chains(self._model):
            chain: list[ReadProduct] = []
            for module in map(backbone.get_submodule, paths):
                stand_ins[module] = ReadProduct(module, self._tokens, chain)
        forgetting = backbone.register_forward_pre_hook(self._forget_unless_reading)
        try:
            with standing_in([backbone], stand_ins):
                yield
        finally:
            forgetting.remove()
            self._tokens.note(None, None)

    def _forget_unless_reading(self, *_: Any) -> None:
        """Compute all tokens where somebody else calls the backbone: a writer, which reads other ones.

        What is read is not forgotten sooner: a layer may be computed again in the backward pass.
        """
        if not self._reading:
            self._tokens.note(None, None)

    def vectors(self, backbone: Any, one: DevicePass) -> Tensor:
        """Compute what heads read in a pass, [states, hidden]."""
        at = one.vector_at
        if at.shape[1] != 1:
            return super().vectors(backbone, one)
        self._tokens.note(at[:, 0], one.inputs["input_ids"])
        self._reading = True
        try:
            return super().vectors(backbone, one)
        finally:
            self._reading = False


def reads_tokens(layout: Layout) -> bool:
    """Whether such a model's last layer has products that few tokens need."""
    return layout.lm is not None and layout.block is None


def _chains(model: LoadedModel) -> list[list[str]]:
    """List paths of the last layer's products by chain: queries, the attention's output, the MLP's."""
    layout, backbone = model.layout, model.backbone
    last = {slot.term: slot for slot in (*layout.slots, *layout.addable) if slot.layer == layout.layers - 1}
    chains = []
    own = {term: slot.module for term, slot in last.items()}
    shared = [own.get(term) for term in ("q", "k", "v")]
    if shared.count(own.get("q")) == 1:  # not one product for all three
        chains.append(["q"])
    chains.append(["o"])
    found = [[own[term] for term in chain if term in own] for chain in chains]
    if "mlp_out" in own:
        parent, _, name = own["mlp_out"].rpartition(".")
        children = backbone.get_submodule(parent).named_children()
        firsts = [f"{parent}.{child}" for child, module in children if is_product(module) and child != name]
        found.append([*firsts, own["mlp_out"]])
    return [paths for paths in found if paths and all(is_product(backbone.get_submodule(path)) for path in paths)]
