"""How the examples of one optimizer step are laid out in rows, so that as little padding as possible is computed.

A pass costs a fixed time plus a time per token, padding included (on two CPU cores and a 6-layer model: about 20 ms
plus .35 ms). Packing puts several short examples into one row as wide as the longest example: attention sees a
block-diagonal mask and positions restart, so that each example gets the same vectors as alone. Where an architecture
does not allow it, two micro-batches by length save part of the padding. The losses add up to the same update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beft_core.models import LoadedModel
from beft_core.packing import packed_forward_inputs
from beft_core.tasks.data import Examples
from beft_core.training.last_layer import ByExample, reads_few
from beft_core.training.observer import Observer
from beft_core.training.segment_attention import fits

PASS_COST_IN_TOKENS = 57
"""What one more forward and backward pass costs, in tokens: 20 ms over .35 ms per token (see above)."""


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples."""

    ids: list[np.ndarray]
    """Token ids of each example, int64."""
    types: list[np.ndarray] | None
    """Token type ids (first or second text), where the tokenizer gives them."""
    labels: np.ndarray
    """int64 classes or float32 values, [examples]."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example."""
        return np.array([len(row) for row in self.ids])

    def take(self, order: Sequence[int] | np.ndarray) -> Encoded:
        """The examples at ``order``."""
        types = None if self.types is None else [self.types[i] for i in order]
        return Encoded([self.ids[i] for i in order], types, self.labels[np.asarray(order, dtype=np.int64)])


def encode(tokenizer: Any, examples: Examples, max_length: int, observer: Observer | None = None) -> Encoded:
    """Tokenise, cutting each example to ``max_length`` tokens (the longer text of a pair is cut first)."""
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    chunk = 1000
    for start in range(0, len(examples), chunk):
        stop = min(start + chunk, len(examples))
        pair = None if examples.text_pair is None else examples.text_pair[start:stop]
        out = tokenizer(examples.text[start:stop], pair, truncation=True, max_length=max_length)
        ids.extend(np.asarray(row, dtype=np.int64) for row in out["input_ids"])
        types.extend(np.asarray(row, dtype=np.int64) for row in out.get("token_type_ids", ()))
        if observer is not None:
            observer.advance(stop - start)
    return Encoded(ids, types or None, examples.labels)


@dataclass(frozen=True)
class Plan:
    """One forward pass: which examples stand in which row, and how wide the rows are."""

    rows: list[list[int]]
    width: int

    @property
    def tokens(self) -> int:
        """Computed tokens, padding included."""
        return len(self.rows) * self.width


def plan(
    lengths: Sequence[int], runs: Sequence[int], pad: str, max_length: int, *, rounded: bool = False
) -> list[Plan]:
    """Lay examples out. ``lengths``, ``runs``: per example; a row never holds examples of two runs.

    ``pad``: ``packed``, ``buckets``, ``longest`` or ``max``. ``rounded``: rows are a multiple of 8 tokens wide, so that
    fewer shapes occur.
    """
    everyone = range(len(lengths))
    longest = max(lengths)
    if rounded:
        longest = -(-longest // 8) * 8
    if pad == "packed":
        rows: list[list[int]] = []
        members: dict[int, list[int]] = {}
        for i, run in enumerate(runs):
            members.setdefault(run, []).append(i)
        for own in members.values():
            rows.extend(_first_fit(own, lengths, longest))
        return [Plan(rows, longest if rounded else max(sum(lengths[i] for i in row) for row in rows))]
    if pad == "buckets":
        return _buckets(lengths)
    width = max_length if pad == "max" else longest
    return [Plan([[i] for i in everyone], max(width, longest))]


def rounded_rows(rows: int) -> int:
    """At least so many rows: one of 16 numbers between a power of two and the next, so that fewer shapes occur."""
    step = 1 << max(0, rows.bit_length() - 5)
    return -(-rows // step) * step


def _first_fit(members: Iterable[int], lengths: Sequence[int], width: int) -> list[list[int]]:
    """First-fit decreasing bin packing; ties by position, so that the layout is the same every time."""
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(members, key=lambda i: (-lengths[i], i)):
        for r, free in enumerate(room):
            if lengths[i] <= free:
                rows[r].append(i)
                room[r] -= lengths[i]
                break
        else:
            rows.append([i])
            room.append(width - lengths[i])
    return rows


def _buckets(lengths: Sequence[int]) -> list[Plan]:
    """One or two micro-batches by length, whichever is estimated to be faster."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    n = len(order)
    cost = {0: n * lengths[order[-1]]}
    for cut in range(1, n):
        cost[cut] = cut * lengths[order[cut - 1]] + (n - cut) * lengths[order[-1]] + PASS_COST_IN_TOKENS
    best = min(cost, key=lambda cut: (cost[cut], cut))
    groups = [order] if best == 0 else [order[:best], order[best:]]
    return [Plan([[i] for i in sorted(group)], max(lengths[i] for i in group)) for group in groups]


MASKS = {
    "none": "a row is one example without padding",
    "tokens": "transformers makes a mask of which tokens are none",
    "additive": "a mask is made here, for packed rows or because transformers would look at the numbers",
    "segments": "no mask is made: the attention reads the number of each token's example",
}
"""How examples and padding are kept apart (see also :mod:`beft_core.training.segment_attention`)."""


@dataclass(frozen=True)
class Form:
    """What is computed in a pass, besides the numbers in its arrays: with the same form and shapes, the same."""

    rows: int
    width: int
    mask: str
    """A key of :data:`MASKS`."""
    typed: bool
    """Whether tokens have types (first or second text)."""


@dataclass(frozen=True)
class Arranged:
    """A pass on the host: which token stands where."""

    form: Form
    arrays: dict[str, np.ndarray]
    """``tables`` int64 [4, rows * width]: ids, segments, positions and types of the tokens. ``vector_at`` int64
    [examples, n]: where the n vectors that an example's head reads stand in the flattened [rows * width] hidden states;
    its first or last token, or all its tokens, padded with rows * width. ``counts`` float32 [examples, 1]: how many of
    them are not padding. For a last layer that computes what is read, ``length`` int64 [examples]: the tokens of each.
    Unless row i is example i, also ``start`` int64 [examples]: where they begin in the flattened rows, and ``place``
    int64 [rows * width]: of each token, example * width + position, -1 for padding."""
    examples: list[int]
    """Positions in the batch, in the order of the rows."""
    run_of_row: list[int]
    run_of_example: list[int]


@dataclass(frozen=True)
class Laid:
    """A pass ready for the model."""

    inputs: dict[str, Any]
    """Keyword arguments of the backbone."""
    vector_at: Tensor
    counts: Tensor
    length: Tensor | None = None
    """int64 [examples]: the tokens of each, for a last layer that computes only what is read."""
    by_example: ByExample | None = None
    """How tokens get from rows to examples; None: row i is example i."""

    def pool(self, hidden: Tensor) -> Tensor:
        """[rows, width, H] -> [examples, H]: the vector of each example (its first or last, or the mean)."""
        flat = hidden.flatten(0, 1)
        if self.vector_at.shape[1] == 1:
            return flat.index_select(0, self.vector_at[:, 0])
        padded = torch.cat([flat, flat.new_zeros(1, flat.shape[1])])
        return padded[self.vector_at].sum(1) / self.counts.to(flat.dtype)


_POOLED: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "pooler": lambda lengths: (np.zeros_like(lengths), np.ones_like(lengths)),
    "first": lambda lengths: (np.zeros_like(lengths), np.ones_like(lengths)),
    "last": lambda lengths: (lengths - 1, np.ones_like(lengths)),
    "mean": lambda lengths: (np.zeros_like(lengths), lengths),
}
"""Which of its tokens an example's head reads, by the pooling of the architecture's head: the first, and how many."""


def arrange(
    model: LoadedModel,
    batch: Encoded,
    runs: Sequence[int],
    plan: Plan,
    *,
    mask: str = "tokens",
    rows: int | None = None,
) -> Arranged:
    """Build the arrays of one pass. ``runs``: the run of each example of ``batch``; ``mask``: what is made where one is
    needed, ``tokens``, ``additive`` or ``segments``; ``rows``: how many rows there are, if more than the plan has.
    """
    rows, width = rows or len(plan.rows), plan.width
    examples = [i for row in plan.rows for i in row]
    lengths = batch.lengths[examples]
    row_of = np.repeat(np.arange(len(plan.rows)), [len(row) for row in plan.rows])  # of each example, by row
    first = np.r_[True, row_of[1:] != row_of[:-1]]
    before = np.cumsum(lengths) - lengths  # tokens of all examples before it
    number = np.arange(len(examples)) - np.maximum.accumulate(np.where(first, np.arange(len(examples)), 0))
    start = row_of * width + before - np.maximum.accumulate(np.where(first, before, 0))
    within = np.arange(lengths.sum()) - np.repeat(before, lengths)
    at = np.repeat(start, lengths) + within  # where each token stands in the flattened rows

    tables = np.zeros((4, rows * width), dtype=np.int64)
    tables[0] = getattr(model.config, "pad_token_id", None) or 0
    tables[0, at] = np.concatenate([batch.ids[i] for i in examples])
    tables[1, at] = np.repeat(number + 1, lengths)
    tables[2, at] = within
    if batch.types is not None:
        tables[3, at] = np.concatenate([batch.types[i] for i in examples])
    offset, counts = _POOLED[model.layout.head.pooling](lengths)
    column = np.arange(1 if counts.max() == 1 else width)
    run_of_row = [runs[row[0]] for row in plan.rows]
    packed = len(examples) > len(plan.rows)
    too_wide = mask == "segments" and not fits(width, model.layout.head_dim)
    if too_wide or (mask == "tokens" and packed):
        mask = "additive"
    if not packed and len(at) == rows * width:  # a mask that hides nothing costs the model a look at the device
        mask = "none"
    arrays = {
        "tables": tables,
        "vector_at": np.where(column < counts[:, None], (start + offset)[:, None] + column, rows * width),
        "counts": counts[:, None].astype(np.float32),
    }
    alone = len(examples) == len(plan.rows) == rows
    if reads_few(model.layout):
        arrays["length"] = lengths
        if not alone:
            place = np.full(rows * width, -1)
            place[at] = np.repeat(np.arange(len(examples)) * width, lengths) + within
            arrays |= {"start": start, "place": place}
    return Arranged(
        Form(rows, width, mask, typed=batch.types is not None),
        arrays,
        examples,
        run_of_row + run_of_row[-1:] * (rows - len(run_of_row)),
        [runs[i] for i in examples],
    )


def lay_out(model: LoadedModel, form: Form, arrays: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> Laid:
    """What the model takes, from the arrays of an arranged pass on its device; nothing is sent there any more.

    ``dtype``: of masks, that of the backbone's activations.
    """
    ids, segments, positions, types = arrays["tables"].view(4, form.rows, form.width)
    if form.mask in ("additive", "segments"):
        inputs = packed_forward_inputs(
            model, ids, segments, positions, dtype, by_segments=form.mask == "segments"
        )  # fmt: skip
    else:
        inputs = {"input_ids": ids, **({"attention_mask": segments} if form.mask == "tokens" else {})}
    if form.typed:
        inputs["token_type_ids"] = types
    by_example = ByExample(*(arrays[name] for name in ("start", "length", "place"))) if "place" in arrays else None
    return Laid(inputs, arrays["vector_at"], arrays["counts"], arrays.get("length"), by_example)


def by_length(lengths: np.ndarray, tokens: int, most: int | None = None) -> list[np.ndarray]:
    """Split examples into groups of similar length: at most ``tokens`` computed tokens and ``most`` examples each."""
    order = np.argsort(lengths, kind="stable")
    groups: list[list[int]] = [[]]
    for i in order:
        size = len(groups[-1])
        if size and ((size + 1) * lengths[i] > tokens or size == most):
            groups.append([])
        groups[-1].append(int(i))
    return [np.array(group) for group in groups]
