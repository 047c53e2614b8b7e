"""Layers that twice compute ``norm(x + f(x))``, in our own words: what BERT, RoBERTa, ELECTRA and DistilBERT have in
common. Subclasses say how tokens attend.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from beft_core.architectures.layout import Layout
from beft_core.models.biases import LoadedModel


def is_post_norm(layout: Layout) -> bool:
    """Whether the layers of such a model are of this kind, and tokens see those after them too."""
    return layout.block is not None and not layout.causal


class PostNormLayer(nn.Module):
    """Module that stands in for a layer, with the same modules at the same paths."""

    def __init__(self, model: LoadedModel, number: int) -> None:
        """Put together the stand-in of a layer; ``number``: of the layer, from 0."""
        super().__init__()
        layout = model.layout
        assert layout.block is not None
        modules = {slot.term: slot.module for slot in (*layout.slots, *layout.addable) if slot.layer == number}
        path = layout.layer_path(number)
        layer = model.backbone.get_submodule(path)
        for name, child in layer.named_children():
            self.add_module(name, child)
        self.train(layer.training)
        self.places = {term: module.removeprefix(f"{path}.") for term, module in modules.items()}
        self.block = layout.block
        self.heads, self.head_dim = layout.heads, layout.head_dim

    def after_attention(self, attended: Tensor, x: Tensor) -> Tensor:
        """Compute the rest of the layer from what attention gave and what the layer was given: [..., hidden] each ->
        the same.
        """
        x = self.of("ln1")(self._dropped(self.block.o_dropout, self.of("o")(attended)) + x)
        inner = self.at(self.block.activation)(self.of("mlp_in")(x))
        return self.of("ln2")(self._dropped(self.block.mlp_dropout, self.of("mlp_out")(inner)) + x)

    def by_head(self, x: Tensor) -> Tensor:
        """Split by heads: [rows, tokens, hidden] -> [rows, heads, tokens, width]."""
        return x.view(*x.shape[:2], self.heads, self.head_dim).transpose(1, 2)

    def of(self, term: str) -> Any:
        """Get the module of a term."""
        return self.at(self.places[term])

    def at(self, path: str) -> Any:
        """Get a module by its path; looked up each time, since other modules may stand in for those that were here."""
        return self.get_submodule(path)

    def _dropped(self, path: str | None, x: Tensor) -> Tensor:
        return x if path is None else self.at(path)(x)
