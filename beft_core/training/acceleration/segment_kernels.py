"""Triton kernels of :mod:`beft_core.training.acceleration.segment_attention`: one program per row and head, all keys in
one tile.

A row of at most 128 tokens fits into one tile, so softmax needs no running sums, backward needs neither the output nor
anything else that was computed before, and no gradient is added up in several places.

Registers decide how fast this is: only if several programs fit on a multiprocessor do some load while others compute
(see :class:`_Launch`). So nothing is held that is cheap to have later: constant factors are applied to the results
[tokens, width], and backward keeps probabilities in the type of its inputs, with dropout in their signs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from beft_core.training.acceleration.hashed_dropout import FIRST, SECOND, threshold_of

_FIRST, _SECOND = tl.constexpr(FIRST), tl.constexpr(SECOND)
_LOG2_E = tl.constexpr(1.4426950408889634)
_NOWHERE = tl.constexpr(-(2**31))
"""Segment of tokens past the end of a row. They see each other, harmlessly: nothing of them is stored or added."""
_PIECE = tl.constexpr(16)

Biases = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Biases that are added to each row's q, k and v where given: float32 [rows, heads * width]."""


class _Launch(NamedTuple):
    """Shape in which a kernel is launched. A multiprocessor has 65536 registers, so 128 of them for a thread let 16
    warps in.
    """

    queries: int
    """Number of queries in a tile; fewer than 16 for each warp, and warps would do each other's work."""
    num_warps: int
    maxnreg: int | None


def _forward_launch(tile: int, width: int) -> _Launch:
    if width > 64:
        return _Launch(min(tile, 64), 4, None)
    return _Launch(min(tile, 64), 4, 128 if tile > 64 else 80)


def _backward_launch(tile: int, width: int) -> _Launch:
    return _Launch(tile, 8 if tile > 64 else 4, 128 if width <= 64 else None)


@triton.jit
def _powers(q, k, at, keys, segments, tokens, scale, SEGMENTS: tl.constexpr, CAUSAL: tl.constexpr, FULL: tl.constexpr):
    """Compute the softmax of the visible logits before division by its sum, float32 [queries, T]; ``scale`` is
    positive.
    """
    logits = tl.dot(q, tl.trans(k))
    if SEGMENTS:
        own = tl.load(segments + at, mask=at < tokens, other=_NOWHERE)
        others = tl.load(segments + keys, mask=keys < tokens, other=_NOWHERE)
        logits = tl.where(own[:, None] == others[None, :], logits, float("-inf"))
    elif not CAUSAL and not FULL:
        logits = tl.where(keys[None, :] < tokens, logits, float("-inf"))
    if CAUSAL:
        logits = tl.where(at[:, None] >= keys[None, :], logits, float("-inf"))
    scale *= _LOG2_E
    return tl.exp2(logits * scale - (tl.max(logits, 1) * scale)[:, None])


@triton.jit
def _dropped(numbers, key, threshold):
    """Whether a hash is below the threshold: beft_core.training.acceleration.hashed_dropout, with what depends on the
    key alone apart."""
    before = tl.load(key).to(tl.uint32, bitcast=True)
    between = tl.load(key + 1).to(tl.uint32, bitcast=True) * _SECOND
    x = numbers.to(tl.uint32)
    x = (x ^ (x >> 16) ^ (before ^ (before >> 16))) * _FIRST
    x = (x ^ (x >> 15)) * _SECOND + between
    x = x ^ (x >> 16)
    return x.to(tl.int32, bitcast=True) < threshold


@triton.jit
def _dropped_signs(firsts, key, threshold, T: tl.constexpr):
    """Compute signs, int32 [T, T], negative where dropped. A loop, as otherwise the compiler holds the hashes of a row
    all at once.
    """
    numbers = firsts[:, None] + tl.arange(0, _PIECE)[None, :]
    bits = tl.zeros([T, _PIECE], tl.int32)
    for piece in tl.range(0, T // _PIECE):
        bits |= _dropped(numbers + piece * _PIECE, key, threshold).to(tl.int32) << piece
    pieces = tl.arange(0, T // _PIECE)[None, :, None]
    return tl.reshape((bits[:, None, :] >> pieces) << 31, [T, T])


@triton.jit
def _biased(tile, bias, at, d, width):
    """Add to a tile the bias of its row, if there is one; past the end of the row too, where it is harmless."""
    if bias is not None:
        tile = (tile.to(tl.float32) + tl.load(bias + at + d, mask=d < width, other=0.0)).to(tile.dtype)
    return tile


@triton.jit
def _forward(
    q,
    k,
    v,
    q_bias,
    k_bias,
    v_bias,
    out,
    segments,
    key,
    heads,
    tokens,
    width,
    scale,
    threshold,
    keep_scale,
    q_row,
    q_head,
    q_token,
    k_row,
    k_head,
    k_token,
    v_row,
    v_head,
    v_token,
    SEGMENTS: tl.constexpr,
    CAUSAL: tl.constexpr,
    DROPOUT: tl.constexpr,
    FULL: tl.constexpr,
    T: tl.constexpr,
    D: tl.constexpr,
    QUERIES: tl.constexpr,
):
    program = tl.program_id(0)
    row = (program // heads).to(tl.int64)
    head = program % heads
    q += row * q_row + head * q_head
    out += (row * tokens * heads + head) * width
    part = heads * width
    bias_at = row * part + head * width
    if SEGMENTS:
        segments += row * tokens
    keys, d = tl.arange(0, T), tl.arange(0, D)[None, :]
    there = (keys[:, None] < tokens) & (d < width)
    k_tile = tl.load(k + row * k_row + head * k_head + keys[:, None] * k_token + d, mask=there, other=0.0)
    v_tile = tl.load(v + row * v_row + head * v_head + keys[:, None] * v_token + d, mask=there, other=0.0)
    k_tile = _biased(k_tile, k_bias, bias_at, d, width)
    v_tile = _biased(v_tile, v_bias, bias_at, d, width)
    for start in tl.range(0, T, QUERIES):
        at = start + tl.arange(0, QUERIES)
        inside = (at[:, None] < tokens) & (d < width)
        q_tile = tl.load(q + at[:, None] * q_token + d, mask=inside, other=0.0)
        q_tile = _biased(q_tile, q_bias, bias_at, d, width)
        p = _powers(q_tile, k_tile, at, keys, segments, tokens, scale, SEGMENTS, CAUSAL, FULL)
        factors = keep_scale / tl.sum(p, 1)
        if DROPOUT:
            numbers = ((program * tokens + at) * tokens)[:, None] + keys[None, :]
            p = tl.where(_dropped(numbers, key, threshold), 0.0, p)
        o = tl.dot(p.to(v_tile.dtype), v_tile) * factors[:, None]
        tl.store(out + at[:, None] * part + d, o.to(v_tile.dtype), mask=inside)


@triton.jit
def _backward(
    q,
    k,
    v,
    q_bias,
    k_bias,
    v_bias,
    out_grad,
    grads,
    segments,
    key,
    heads,
    tokens,
    width,
    scale,
    threshold,
    keep_scale,
    q_row,
    q_head,
    q_token,
    k_row,
    k_head,
    k_token,
    v_row,
    v_head,
    v_token,
    SEGMENTS: tl.constexpr,
    CAUSAL: tl.constexpr,
    DROPOUT: tl.constexpr,
    FULL: tl.constexpr,
    T: tl.constexpr,
    D: tl.constexpr,
    QUERIES: tl.constexpr,
):
    tl.static_assert(QUERIES == T)
    program = tl.program_id(0)
    row = (program // heads).to(tl.int64)
    head = program % heads
    part = heads * width
    bias_at = row * part + head * width
    if SEGMENTS:
        segments += row * tokens
    at, d = tl.arange(0, T), tl.arange(0, D)[None, :]
    inside = (at[:, None] < tokens) & (d < width)
    q_tile = tl.load(q + row * q_row + head * q_head + at[:, None] * q_token + d, mask=inside, other=0.0)
    k_tile = tl.load(k + row * k_row + head * k_head + at[:, None] * k_token + d, mask=inside, other=0.0)
    v_tile = tl.load(v + row * v_row + head * v_head + at[:, None] * v_token + d, mask=inside, other=0.0)
    q_tile = _biased(q_tile, q_bias, bias_at, d, width)
    k_tile = _biased(k_tile, k_bias, bias_at, d, width)
    v_tile = _biased(v_tile, v_bias, bias_at, d, width)
    here = at[:, None] * part + d
    o_grad = tl.load(out_grad + row * tokens * part + head * width + here, mask=inside, other=0.0)
    grads += row * tokens * 3 * part + head * width
    there = at[:, None] * (3 * part) + d
    p = _powers(q_tile, k_tile, at, at, segments, tokens, scale, SEGMENTS, CAUSAL, FULL)
    p *= (1.0 / tl.sum(p, 1))[:, None]
    signed = p.to(v_tile.dtype)
    kept = signed
    if DROPOUT:
        signs = _dropped_signs((program * tokens + at) * tokens, key, threshold, T)
        kept = tl.where(signs < 0, 0.0, p).to(v_tile.dtype)
        signed = (p.to(tl.int32, bitcast=True) ^ signs).to(tl.float32, bitcast=True).to(v_tile.dtype)
    of_v = tl.dot(tl.trans(kept), o_grad) * keep_scale
    tl.store(grads + 2 * part + there, of_v.to(v_tile.dtype), mask=inside)
    p_grad = tl.dot(o_grad, tl.trans(v_tile))
    if DROPOUT:
        p_grad = tl.where(signed > 0, p_grad, 0.0)
    p = tl.abs(signed.to(tl.float32))
    logits_grad = (p * (p_grad - tl.sum(p * p_grad, 1)[:, None])).to(q_tile.dtype)
    of_k = tl.dot(tl.trans(logits_grad), q_tile) * (scale * keep_scale)
    tl.store(grads + part + there, of_k.to(k_tile.dtype), mask=inside)
    of_q = tl.dot(logits_grad, k_tile) * (scale * keep_scale)
    tl.store(grads + there, of_q.to(q_tile.dtype), mask=inside)


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    biases: Biases,
    segments: Tensor | None,
    key: Tensor | None,
    p: float,
    scale: float,
    causal: bool,
) -> Tensor:
    """Launch the forward kernel: q, k and v [rows, heads, tokens, width] -> [rows, tokens, heads, width]."""
    rows, heads, tokens, width = q.shape
    out = q.new_empty(rows, tokens, heads, width)
    _launch(_forward, _forward_launch, (q, k, v), biases, (out,), segments, key, p, scale, causal)
    return out


def backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    biases: Biases,
    out_grad: Tensor,
    segments: Tensor | None,
    key: Tensor | None,
    p: float,
    scale: float,
    causal: bool,
) -> Tensor:
    """Launch the backward kernel: gradients of q, k and v, [rows, tokens, 3, heads, width]."""
    rows, heads, tokens, width = q.shape
    grads = q.new_empty(rows, tokens, 3, heads, width)
    others = out_grad.contiguous(), grads
    _launch(_backward, _backward_launch, (q, k, v), biases, others, segments, key, p, scale, causal)
    return grads


def _launch(
    kernel: object,
    launch_of: Callable[[int, int], _Launch],
    inputs: tuple[Tensor, ...],
    biases: Biases,
    others: tuple[Tensor, ...],
    segments: Tensor | None,
    key: Tensor | None,
    p: float,
    scale: float,
    causal: bool,
) -> None:
    inputs = tuple(one if one.stride(-1) == 1 else one.contiguous() for one in inputs)
    biases = tuple(one if one is None else one.contiguous() for one in biases)  # type: ignore[assignment]
    rows, heads, tokens, width = inputs[0].shape
    dropout = key is not None and p > 0
    threshold, keep_scale = threshold_of(p if dropout else 0.0)
    tile, d_tile = (max(16, triton.next_power_of_2(size)) for size in (tokens, width))
    launch = launch_of(tile, d_tile)
    strides = [stride for one in inputs for stride in one.stride()[:3]]
    kernel[(rows * heads,)](  # type: ignore[index]
        *inputs,
        *biases,
        *others,
        segments,
        key,
        heads,
        tokens,
        width,
        scale,
        threshold,
        keep_scale,
        *strides,
        SEGMENTS=segments is not None,
        CAUSAL=causal,
        DROPOUT=dropout,
        FULL=tokens == tile,
        T=tile,
        D=d_tile,
        QUERIES=launch.queries,
        num_warps=launch.num_warps,
        num_stages=1,
        maxnreg=launch.maxnreg,
    )
