"""Inputs of a backbone's forward pass with several examples in one row, each attending only to itself.

Padding is most of the work of a naive batch of short texts. In a packed row examples follow one another, a
block-diagonal attention mask (causal for decoders) keeps them apart and positions restart with each, so every
example gets the hidden states it would get alone. ``Layout.packing`` says for which architectures this holds.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from beft_core.architectures.layout import Layout
from beft_core.errors import UserError

if TYPE_CHECKING:
    from beft_core.models.biases import LoadedModel

PER_LAYER = "per_layer_type"
"""Form of the masks of models of which some layers see a window and others all tokens: a mask for each kind."""


def packed_forward_inputs(
    model: LoadedModel,
    input_ids: torch.Tensor,
    segment_ids: torch.Tensor,
    position_ids: torch.Tensor,
    dtype: torch.dtype = torch.float32,
    token_type_ids: torch.Tensor | None = None,
    by_segments: bool = False,
    branch_ids: torch.Tensor | None = None,
) -> dict[str, Any]:
    """Build the keyword arguments for ``model.backbone(**inputs)`` on packed rows.

    Args:
        input_ids: int64 [rows, tokens].
        segment_ids: int64 [rows, tokens]: 1, 2, ... numbers the examples of a row, 0 is padding.
        position_ids: int64 [rows, tokens], starting at 0 in each example (the architecture's own offset is
        added). dtype: of the additive mask: that of the backbone's activations. token_type_ids: int64 [rows,
        tokens], for sentence pairs; dropped where the architecture has none. by_segments: hand the segments
        themselves to an attention that reads them, int32 [rows, 1, 1, tokens], instead of a mask made of them.
        branch_ids: int64 [rows, tokens], where examples are trees: see :func:`visible`.

    Raises UserError for architectures in which packed rows do not give the same result.
    """
    layout = model.layout
    if not layout.packing:
        raise UserError(
            f"got packed rows for {layout.model_type}, whose positions come from a two-dimensional mask",
            "an architecture with packing",
            "--pad buckets",
        )
    if by_segments:
        assert branch_ids is None, "an attention that reads segments knows no branches"
        mask: Any = segment_ids[:, None, None].int()
    else:
        mask = _prepared_mask(layout, segment_ids, dtype, None if branch_ids is None else (branch_ids, position_ids))
    inputs = _with_positions(model, {"input_ids": input_ids, "attention_mask": mask}, position_ids)
    # Decoders' token types, where they exist, are words of the vocabulary: zeros there are not neutral.
    takes_types = "token_type_ids" in inspect.signature(model.backbone.forward).parameters
    if token_type_ids is not None and takes_types and layout.stack == "encoder":
        inputs["token_type_ids"] = token_type_ids
    return inputs


def unmasked_forward_inputs(model: LoadedModel, input_ids: torch.Tensor, position_ids: torch.Tensor) -> dict[str, Any]:
    """Build the keyword arguments for ``model.backbone(**inputs)`` on rows in which each token sees those before it.

    The mask is an empty one, int32 [1, 1, 1, 0]: without any, models make one themselves. Only an attention that reads
    it as none can be called so.

    Args:
        input_ids: int64 [rows, tokens].
        position_ids: int64 [rows, tokens], starting at 0.
    """
    nothing = torch.zeros(1, 1, 1, 0, dtype=torch.int32, device=input_ids.device)
    mask = {"full_attention": nothing, "sliding_attention": nothing} if model.layout.mask == PER_LAYER else nothing
    return _with_positions(model, {"input_ids": input_ids, "attention_mask": mask}, position_ids)


def _with_positions(model: LoadedModel, inputs: dict[str, Any], position_ids: torch.Tensor) -> dict[str, Any]:
    """Add positions, from 0 on, where a model takes them, as it counts them."""
    if "position_ids" in inspect.signature(model.backbone.forward).parameters:
        inputs["position_ids"] = position_ids + model.layout.position_offset
    return inputs


Tree = tuple[torch.Tensor, torch.Tensor]
"""Branch of each token, 0 for the trunk, and its position on its path: int64 [rows, tokens] each."""


def visible(
    segment_ids: torch.Tensor, *, causal: bool, window: int | None = None, tree: Tree | None = None
) -> torch.Tensor:
    """Mask bool [rows, tokens, tokens]: whether a query (second axis) sees a key (third axis).

    A padding token sees itself alone: a row of the softmax without any key would be NaN. Where an example is a
    ``tree`` (one prompt, several answers), a token sees the trunk and its own branch, and no other branch.
    """
    tokens = torch.arange(segment_ids.shape[1], device=segment_ids.device)
    back = tokens[:, None] - tokens[None, :]  # [queries, keys]: how far back the key is
    see = (segment_ids[:, :, None] == segment_ids[:, None, :]) & (segment_ids > 0)[:, None, :]
    if causal:
        see &= back >= 0
    if tree is not None:
        branch, position = tree
        see &= (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
        if window is not None:  # other branches may stand between a token and the trunk, and do not count
            along = position[:, :, None] - position[:, None, :]
            see &= along < window if causal else along.abs() <= window
    elif window is not None:
        # transformers counts the token itself in a causal window, and neighbours on each side otherwise.
        see &= back < window if causal else back.abs() <= window
    return see | (back == 0)


def accept_packed_masks(backbone: nn.Module, layout: Layout) -> None:
    """Let a DeBERTa, a BLOOM and a Falcon with ALiBi take a mask per query.

    Their attention does. But the embeddings of a DeBERTa multiply by the same mask as if it were one value per token: a
    hook hands them the diagonal, whether a token sees itself. And BLOOM and such a Falcon count their positions (ALiBi,
    https://arxiv.org/abs/2108.12409) in a mask of one value per token: of a mask per query a token's position is the
    number of others that it sees, along its path where examples are trees.
    """
    model: Any = backbone
    own = getattr(model, "build_alibi_tensor", None)
    if own is not None:

        def by_position(attention_mask: torch.Tensor, num_heads: int, dtype: torch.dtype) -> torch.Tensor:
            """Make the bias of each head and key, [rows * heads, 1, tokens]."""
            if attention_mask.dim() == 2:
                made: torch.Tensor = own(attention_mask, num_heads, dtype=dtype)
                return made
            position = _positions(attention_mask)
            # Of a row of two tokens, the second one has the slope of each head.
            slopes = own(torch.ones(1, 2, device=position.device), num_heads, dtype=torch.float32)[:, :, 1:]
            bias = slopes[None] * position[:, None, None, :]  # [rows, heads, 1, tokens]
            return bias.flatten(0, 1).to(dtype)

        model.build_alibi_tensor = by_position
    if getattr(model, "use_alibi", False):
        _accept_in_falcon(model)
    if layout.mask != "boolean":
        return

    def one_value_per_token(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        mask = kwargs.get("mask")
        if mask is not None and mask.dim() == 4:
            kwargs["mask"] = mask[:, 0].diagonal(dim1=-2, dim2=-1)  # [rows, tokens]
        return args, kwargs

    backbone.get_submodule("embeddings").register_forward_pre_hook(one_value_per_token, with_kwargs=True)


def _positions(mask: torch.Tensor) -> torch.Tensor:
    """Count, for each token of an additive mask [rows, 1, tokens, tokens], the others that it sees: [rows, tokens]."""
    return (mask[:, 0] == 0).sum(2) - 1


def _accept_in_falcon(model: Any) -> None:
    """Let a Falcon with ALiBi take a mask per query: without one it makes what its layers need of a row of tokens, and
    hooks then hand them theirs, which holds the positions, too.
    """
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor

    of_pass: dict[str, torch.Tensor] = {}
    """Arguments of the layers in a pass with a mask per query."""

    def take(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        of_pass.clear()  # not after the pass: a layer may be computed again in the backward pass
        mask = kwargs.get("attention_mask")
        if mask is None or mask.dim() != 4:
            return args, kwargs
        position, heads = _positions(mask), model.num_heads
        two = torch.ones(1, 2, device=mask.device, dtype=torch.long)
        slopes = build_alibi_tensor(two, heads, dtype=torch.bfloat16)[:, :, 1:]  # which is how it is rounded, too
        alibi = (slopes[None] * position[:, None, None, :]).to(mask.dtype)  # [rows, heads, 1, tokens]
        scale = (model.config.hidden_size // heads) ** 0.5
        of_pass["attention_mask"] = (alibi / scale).masked_fill(mask < -1, torch.finfo(mask.dtype).min)
        of_pass["alibi"] = alibi.flatten(0, 1)
        return args, kwargs | {"attention_mask": None}

    def hand_out(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        return args, kwargs | of_pass

    model.register_forward_pre_hook(take, with_kwargs=True)
    for layer in model.h:
        layer.register_forward_pre_hook(hand_out, with_kwargs=True)


def _prepared_mask(layout: Layout, segment_ids: torch.Tensor, dtype: torch.dtype, tree: Tree | None = None) -> Any:
    """Attention mask [rows, 1, tokens, tokens] in the form that the architecture takes without touching it."""

    def additive(window: int | None) -> torch.Tensor:
        see = visible(segment_ids, causal=layout.causal, window=window, tree=tree)[:, None]
        return torch.zeros(see.shape, dtype=dtype, device=see.device).masked_fill_(~see, torch.finfo(dtype).min)

    if layout.mask == "boolean":
        return visible(segment_ids, causal=layout.causal, tree=tree)[:, None].long()
    if layout.mask == PER_LAYER:
        return {"full_attention": additive(None), "sliding_attention": additive(layout.window)}
    return additive(layout.window)
