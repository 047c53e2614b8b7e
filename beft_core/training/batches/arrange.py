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

from beft_core.models.biases import LoadedModel
from beft_core.models.packing import packed_forward_inputs
from beft_core.tasks.load import Examples
from beft_core.training.acceleration.last_layer import ByExample, reads_few
from beft_core.training.acceleration.segment_attention import fits
from beft_core.training.batches.run_index import to_device
from beft_core.training.observer import Observer

PASS_COST_IN_TOKENS = 57
"""What one more forward and backward pass costs, in tokens: 20 ms over .35 ms per token (see above)."""


class Tokens:
    """The tokens of many examples, one after another; a copy on a device is made once."""

    def __init__(self, ids: np.ndarray, types: np.ndarray | None) -> None:
        """``ids``: int32 [tokens]; ``types``: int32 [tokens] (first or second text), where the tokenizer gives them."""
        self.ids, self.types = ids, types
        self._on: dict[torch.device, tuple[Tensor, Tensor | None]] = {}

    def on(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Ids and types there."""
        if device not in self._on:
            types = None if self.types is None else to_device(self.types, device)
            self._on[device] = to_device(self.ids, device), types
        return self._on[device]


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples."""

    tokens: Tokens
    """Those of these examples, and maybe of others."""
    start: np.ndarray
    """int64 [examples]: where each example begins among the tokens."""
    lengths: np.ndarray
    """int64 [examples]: tokens of each example."""
    labels: np.ndarray
    """int64 classes or float32 values, [examples]."""

    @classmethod
    def of(cls, ids: Sequence[np.ndarray], types: Sequence[np.ndarray] | None, labels: np.ndarray) -> Encoded:
        """From the token ids of each example and, where there are, their types."""
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        made = [None if rows is None else np.concatenate([*rows, ()]).astype(np.int32) for rows in (ids, types)]
        return cls(Tokens(*made), np.cumsum(lengths) - lengths, lengths, labels)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def ids(self) -> list[np.ndarray]:
        """Token ids of each example, int64."""
        rows = zip(self.start, self.lengths, strict=True)
        return [self.tokens.ids[start : start + length].astype(np.int64) for start, length in rows]

    def take(self, order: Sequence[int] | np.ndarray) -> Encoded:
        """The examples at ``order``."""
        order = np.asarray(order, dtype=np.int64)
        return Encoded(self.tokens, self.start[order], self.lengths[order], self.labels[order])


def over_one_table(sets: Sequence[Encoded]) -> list[Encoded]:
    """The same examples, their tokens side by side, so that examples of different sets can stand in one pass."""
    tables = list({id(one.tokens): one.tokens for one in sets}.values())
    if len(tables) < 2:
        return list(sets)
    ends = np.cumsum([len(table.ids) for table in tables])
    before = {id(table): end - len(table.ids) for table, end in zip(tables, ends, strict=True)}
    types = [table.types for table in tables if table.types is not None]
    assert len(types) in (0, len(tables))
    both = Tokens(np.concatenate([table.ids for table in tables]), np.concatenate(types) if types else None)
    return [Encoded(both, one.start + before[id(one.tokens)], one.lengths, one.labels) for one in sets]


def join(parts: Sequence[Encoded]) -> Encoded:
    """The examples of all parts; their tokens must be one table (see :func:`over_one_table`)."""
    assert len({id(part.tokens) for part in parts}) == 1
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("start", "lengths", "labels"))
    return Encoded(parts[0].tokens, *columns)


def encode(tokenizer: Any, examples: Examples, max_length: int, observer: Observer | None = None) -> Encoded:
    """Tokenise, cutting each example to ``max_length`` tokens (the longer text of a pair is cut first)."""
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    chunk = 1000
    for start in range(0, len(examples), chunk):
        stop = min(start + chunk, len(examples))
        pair = None if examples.text_pair is None else examples.text_pair[start:stop]
        out = tokenizer(examples.text[start:stop], pair, truncation=True, max_length=max_length)
        ids.extend(np.asarray(row, dtype=np.int32) for row in out["input_ids"])
        types.extend(np.asarray(row, dtype=np.int32) for row in out.get("token_type_ids", ()))
        if observer is not None:
            observer.advance(stop - start)
    return Encoded.of(ids, types or None, examples.labels)


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
"""How examples and padding are kept apart (see also :mod:`beft_core.training.acceleration.segment_attention`)."""


@dataclass(frozen=True)
class Form:
    """What is computed in a pass, besides the numbers in its arrays: with the same form and shapes, the same."""

    rows: int
    width: int
    mask: str
    """A key of :data:`MASKS`."""


@dataclass(frozen=True)
class Arranged:
    """A pass on the host: which token stands where."""

    form: Form
    arrays: dict[str, np.ndarray]
    """``tables`` int64 [3, rows * width]: of each token, where it is among all :class:`Tokens`, its segment and its
    position; of padding -1, 0, 0. ``vector_at`` int64 [examples, n]: where the n vectors that an example's head reads
    stand in the flattened [rows * width] hidden states; its first or last token, or all its tokens, padded with rows
    * width. ``counts`` float32 [examples, 1]: how many of them are not padding. For a last layer that computes what
    is read, ``length`` int64 [examples]: the tokens of each. Unless row i is example i, also ``start`` int64
    [examples]: where they begin in the flattened rows, and ``place`` int64 [rows * width]: of each token, example *
    width + position, -1 for padding."""
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

    tables = np.zeros((3, rows * width), dtype=np.int64)
    tables[0] = -1
    tables[0, at] = np.repeat(batch.start[examples], lengths) + within
    tables[1, at] = np.repeat(number + 1, lengths)
    tables[2, at] = within
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
        Form(rows, width, mask),
        arrays,
        examples,
        run_of_row + run_of_row[-1:] * (rows - len(run_of_row)),
        [runs[i] for i in examples],
    )


def lay_out(
    model: LoadedModel, form: Form, arrays: Mapping[str, Tensor], tokens: Tokens, dtype: torch.dtype = torch.float32
) -> Laid:
    """What the model takes, from the arrays of an arranged pass on its device; nothing is sent there any more.

    ``tokens``: the table of all; ``dtype``: of masks, that of the backbone's activations.
    """
    place, segments, positions = arrays["tables"].view(3, form.rows, form.width)
    all_ids, all_types = tokens.on(place.device)
    inside, place = place >= 0, place.clamp(min=0)
    ids = torch.where(inside, all_ids[place].long(), getattr(model.config, "pad_token_id", None) or 0)
    if form.mask in ("additive", "segments"):
        inputs = packed_forward_inputs(model, ids, segments, positions, dtype, by_segments=form.mask == "segments")
    else:
        inputs = {"input_ids": ids, **({"attention_mask": segments} if form.mask == "tokens" else {})}
    if all_types is not None:
        inputs["token_type_ids"] = torch.where(inside, all_types[place].long(), 0)
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
