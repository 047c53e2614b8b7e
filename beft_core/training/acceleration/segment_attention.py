"""Attention of a bank's rows on a GPU: each token sees the tokens of its own segment, and no mask is stored.

Rows of a bank are short (at most 128 tokens) and many. The kernels of PyTorch are made for the opposite: they keep the
output and the softmax sums for backward, add up gradients of queries in a second kernel and convert them in a third,
draw dropout with Philox, and read a mask [tokens, tokens] for every row. Here a program computes one head of one row as
one tile (see :mod:`beft_core.training.acceleration.segment_kernels`); which example a token belongs to is one number
per token, and dropout is a hash (see :mod:`beft_core.training.acceleration.hashed_dropout`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from beft_core.libraries.torch_private import has_triton
from beft_core.models.biases import LoadedModel
from beft_core.models.packing import PER_LAYER
from beft_core.training.acceleration.compiled_layers import layers_run_once
from beft_core.training.module_swap import attention_called, for_every_head, takes_attention
from beft_core.training.precision import Precision

MAX_TOKENS, MAX_WIDTH = 128, 128
"""Widest rows and heads that fit into a tile; wider ones take PyTorch's attention."""
NAMES = {"segments": "beft_segments", "additive": "beft_masks"}
"""Names of attentions in transformers' registry, by the mask of a pass (see
beft_core.training.batches.arrange.MASKS).
"""


@torch.library.custom_op("beft::segment_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_bias: Tensor | None,
    k_bias: Tensor | None,
    v_bias: Tensor | None,
    segments: Tensor | None,
    key: Tensor | None,
    p: float,
    scale: float,
    causal: bool,
) -> Tensor:
    from beft_core.training.acceleration import segment_kernels

    return segment_kernels.forward(q, k, v, (q_bias, k_bias, v_bias), segments, key, p, scale, causal)


@_forward.register_fake
def _(q: Tensor, *_: Any) -> Tensor:
    rows, heads, tokens, width = q.shape
    return q.new_empty(rows, tokens, heads, width)


@torch.library.custom_op("beft::segment_attention_backward", mutates_args=())
def _backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_bias: Tensor | None,
    k_bias: Tensor | None,
    v_bias: Tensor | None,
    out_grad: Tensor,
    segments: Tensor | None,
    key: Tensor | None,
    p: float,
    scale: float,
    causal: bool,
) -> Tensor:
    from beft_core.training.acceleration import segment_kernels

    return segment_kernels.backward(q, k, v, (q_bias, k_bias, v_bias), out_grad, segments, key, p, scale, causal)


@_backward.register_fake
def _(q: Tensor, *_: Any) -> Tensor:
    rows, heads, tokens, width = q.shape
    return q.new_empty(rows, tokens, 3, heads, width)


def _three(product: Tensor) -> tuple[Tensor, ...]:
    """Split [rows, tokens, 3, heads, width] into q, k and v, [rows, heads, tokens, width] each."""
    return product.transpose(1, 3).unbind(2)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        segments: Tensor | None,
        key: Tensor | None,
        p: float,
        scale: float,
        causal: bool,
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, segments, key)
        ctx.settings = p, scale, causal
        return _forward(q, k, v, None, None, None, segments, key, p, scale, causal)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, segments, key = ctx.saved_tensors
        of_all = _backward(q, k, v, None, None, None, grads[0], segments, key, *ctx.settings)
        return *_three(of_all), None, None, None, None, None


class _OfProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        product: Tensor,
        q_bias: Tensor | None,
        k_bias: Tensor | None,
        v_bias: Tensor | None,
        segments: Tensor | None,
        key: Tensor | None,
        p: float,
        scale: float,
    ) -> Tensor:
        ctx.save_for_backward(product, q_bias, k_bias, v_bias, segments, key)
        ctx.settings = p, scale, False
        return _forward(*_three(product), q_bias, k_bias, v_bias, segments, key, p, scale, False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        product, *biases, segments, key = ctx.saved_tensors
        of_product = _backward(*_three(product), *biases, grads[0], segments, key, *ctx.settings)
        of_biases = [
            of_product[:, :, i].sum(1, dtype=torch.float32).flatten(1) if ctx.needs_input_grad[1 + i] else None
            for i in range(3)
        ]
        return of_product, *of_biases, None, None, None, None


def segment_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    segments: Tensor | None,
    *,
    key: Tensor | None,
    p: float,
    scale: float,
    causal: bool,
) -> Tensor:
    """Compute softmax attention within segments. A pass without segments has one per row.

    q, k, v: [rows, heads, tokens, width]; segments: int32 [rows, tokens] or None; key: int32 [4] for dropout with
    probability ``p``, or None; ``scale`` is positive. Returns [rows, tokens, heads, width].
    """
    return _Attention.apply(q, k, v, segments, key, p, scale, causal)


def product_attention(
    product: Tensor,
    biases: Sequence[Tensor | None],
    segments: Tensor | None,
    *,
    key: Tensor | None,
    p: float,
    scale: float,
) -> Tensor:
    """Compute softmax attention within segments of one product for q, k and v, to which each row's own biases are
    added.

    product: [rows, tokens, 3, heads, width]; biases: of q, k and v, float32 [rows, heads * width] or None. Not causal.
    """
    return _OfProduct.apply(product, *biases, segments, key, p, scale)


def fits(tokens: int, width: int) -> bool:
    """Whether rows of so many tokens and heads of such a width have a kernel."""
    return tokens <= MAX_TOKENS and width <= MAX_WIDTH


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention function as transformers calls it; a mask of integers holds segments, [rows, 1, 1, tokens], and an
    empty one is none.
    """
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)  # as in transformers
    scaling = _scaling(module, scaling)
    if attention_mask is not None and attention_mask.shape[-1] == 0:
        if not fits(query.shape[2], query.shape[3]):
            return _unmasked(query, key, value, dropout, scaling)
        attention_mask = None
    segments = attention_mask is not None and attention_mask.dtype == torch.int32
    cached = query.shape[2] != key.shape[2]  # keys of tokens before: a model that writes
    if not segments and (attention_mask is not None or cached or not fits(query.shape[2], query.shape[3])):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, causal, **kwargs)
    key, value = for_every_head(query, key, value)
    query, key = query.to(value.dtype), key.to(value.dtype)  # rotated positions may come in float32
    out = segment_attention(
        query,
        key,
        value,
        attention_mask[:, 0, 0] if attention_mask is not None else None,
        key=module.dropout_key if dropout else None,  # type: ignore[arg-type]
        p=dropout,
        scale=scaling if scaling is not None else query.shape[-1] ** -0.5,
        causal=causal,
    )
    return out, None


def _by_masks(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """PyTorch's attention as transformers calls it; of an empty mask it makes none."""
    scaling = _scaling(module, scaling)
    if attention_mask is not None and attention_mask.shape[-1] == 0:
        return _unmasked(query, key, value, dropout, scaling)
    return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)


def _scaling(module: nn.Module, scaling: float | None) -> float | None:
    """Find the factor of a layer's logits: under :func:`scaled_by_attention` the one that its queries would get."""
    held: float | None = getattr(module, "logit_scale", None)
    return scaling if held is None else held * (1.0 if scaling is None else scaling)


def _unmasked(query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None) -> tuple[Tensor, None]:
    """Attend to what stands before, of the empty mask of :func:`beft_core.models.packing.unmasked_forward_inputs`.

    In float32 no kernel but the one that writes all weights lets several heads share their keys, so these are repeated.
    """
    query, key = query.to(value.dtype), key.to(value.dtype)  # rotated positions may come in float32
    shared = value.dtype != torch.float32 and key.shape[1] != query.shape[1]
    if not shared:
        key, value = for_every_head(query, key, value)
    out = F.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=shared
    )
    return out.transpose(1, 2).contiguous(), None


def _mask_or_none(*, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor | None:
    """Make the mask of a pass, and none of nothing: transformers makes one while a CUDA graph is recorded, since it
    then cannot look.
    """
    return None if attention_mask is None else sdpa_mask(attention_mask=attention_mask, **kwargs)


ALL_ATTENTION_FUNCTIONS.register(NAMES["segments"], _attention)
ALL_ATTENTION_FUNCTIONS.register(NAMES["additive"], _by_masks)
for _name in NAMES.values():
    ALL_MASK_ATTENTION_FUNCTIONS.register(_name, _mask_or_none)


def attention_modules(model: LoadedModel) -> list[nn.Module]:
    """List the modules that call the attention function, one per layer: where the projection to queries is."""
    layout = model.layout
    paths = [slot.module for slot in (*layout.slots, *layout.addable) if slot.term == "q"]
    return [model.backbone.get_submodule(path.rpartition(".")[0]) for path in paths]


def attends_plainly(model: LoadedModel) -> bool:
    """Whether each layer once calls transformers' SDPA, with nothing in its mask but which tokens see each other.

    Not so with sliding windows, disentangled attention or shared layers.
    """
    layout = model.layout
    plain = layout.packing and layout.mask == "additive" and layout.window is None
    once = layers_run_once(model) and len(set(attention_modules(model))) == layout.layers
    return plain and once and takes_attention(model.backbone)


def masks_are_made_here(model: LoadedModel) -> bool:
    """Whether each layer once calls transformers' SDPA with a mask that can be prepared: so it is in decoders with
    sliding windows, too.
    """
    layout = model.layout
    windows = layout.packing and layout.causal and layout.mask in ("additive", PER_LAYER)
    once = layers_run_once(model) and len(set(attention_modules(model))) == layout.layers
    return attends_plainly(model) or (windows and once and takes_attention(model.backbone))


def is_supported(model: LoadedModel, precision: Precision) -> bool:
    """Whether this model's attention can be computed here: in bfloat16, on a GPU that has Triton."""
    here = precision.device.type == "cuda" and precision.low and has_triton()
    return here and attends_plainly(model) and fits(1, model.layout.head_dim)


@contextmanager
def attention_by(model: LoadedModel, mask: str) -> Iterator[list[nn.Module]]:
    """Make the model's attention take masks of a kind (a key of :data:`NAMES`) while the context is open; yields the
    modules that need keys for their dropout.
    """
    modules = attention_modules(model) if mask == "segments" else []
    try:
        with attention_called(model.backbone, NAMES[mask]):
            yield modules
    finally:
        for module in modules:
            module.__dict__.pop("dropout_key", None)


@contextmanager
def scaled_by_attention(model: LoadedModel) -> Iterator[None]:
    """Have attention scale the logits while the context is open, within :func:`attention_by`, where a layer scales its
    queries before it (OPT).

    A product with 1 is one that a compiler leaves out: forward and backward, a pass over all queries less.
    """
    modules: list[Any] = attention_modules(model) if model.layout.model_type == "opt" else []
    for module in modules:
        module.logit_scale, module.scaling = module.scaling, 1.0
    try:
        yield
    finally:
        for module in modules:
            module.scaling = module.__dict__.pop("logit_scale")
