"""Arrangement of one pass over examples: which token stands where, on the host and then on the device, as the model
takes it.

In packed rows attention sees a block-diagonal mask and positions restart, so that each example gets the same vectors as
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beft_core.models.biases import LoadedModel
from beft_core.models.packing import packed_forward_inputs, unmasked_forward_inputs
from beft_core.training.batches.answers import Answers, answer_arrays, are_siblings
from beft_core.training.batches.by_example import ByExample
from beft_core.training.batches.encoded import Encoded, Tokens
from beft_core.training.batches.plan import PassPlan

MASKS = {
    "none": "a row is one example without padding",
    "tokens": "transformers makes a mask of which tokens are none",
    "additive": "a mask is made here, for packed rows or because transformers would look at the numbers",
    "segments": "no mask is made: the attention reads the number of each token's example",
    "causal": "no mask is made: a row is one example, and what pads it stands after all that a token sees",
}
"""Ways in which examples and padding are kept apart in a pass, each with its description."""


@dataclass(frozen=True)
class Shaping:
    """Choices of how passes are shaped, where several ways give the same numbers."""

    mask: str = "tokens"
    """Kind of mask that is made where one is needed: ``tokens``, ``additive`` or ``segments`` of :data:`MASKS`. With
    the last two the model attends by :mod:`beft_core.training.acceleration.segment_attention`, which also knows
    ``causal``.
    """
    widest: int | None = None
    """Width of the widest rows for which ``segments`` can be read; wider ones get ``additive``. None: any."""
    rounded: bool = False
    """Whether widths and counts are rounded up, so that few different shapes occur."""


@dataclass(frozen=True)
class PassShape:
    """Shape of a pass: two passes with equal ones, and arrays of equal shapes, are the same computation."""

    rows: int
    width: int
    mask: str
    """Kind of mask, a key of :data:`MASKS`."""
    siblings: bool = False
    """Whether the candidates of each prompted example are single tokens after one hidden state (see
    :func:`beft_core.training.batches.answers.are_siblings`).
    """


@dataclass(frozen=True)
class HostPass:
    """Pass on the host: which token stands where."""

    shape: PassShape
    arrays: dict[str, np.ndarray]
    """Arrays by name. ``tables`` int64 [3, rows * width]: of each token, where it is among all :class:`Tokens`, its
    segment and its position; of padding -1, 0, 0; where an example is a tree also its branch, [4, rows * width].
    ``vector_at`` int64 [examples, n]: where the n vectors that an
    example's head reads stand in the flattened [rows * width] hidden states; its first or last token, or all its
    tokens, padded with rows * width. ``counts`` float32 [examples, 1]: how many of them are not padding. For a last
    layer that computes what is read, ``length`` int64 [examples]: the tokens of each. Unless row i is example i, also
    ``start`` int64 [examples]: where they begin in the flattened rows, and ``place`` int64 [rows * width]: of each
    token, example * width + position, -1 for padding. Of prompted examples the vectors are the hidden states that
    predict answer tokens, ``vector_at`` [states, 1], and there are the fields of :class:`Answers` as
    ``answer.target`` and so on.
    """
    examples: np.ndarray
    """Positions in the batch, in the order of the rows, int64 [examples]."""
    run_of_row: np.ndarray
    run_of_example: np.ndarray


@dataclass(frozen=True)
class DevicePass:
    """Pass ready for the model."""

    inputs: dict[str, Any]
    """Keyword arguments of the backbone."""
    vector_at: Tensor
    counts: Tensor
    length: Tensor | None = None
    """Number of tokens of each example, int64 [examples], for a last layer that computes only what is read."""
    by_example: ByExample | None = None
    """Map of tokens from rows to examples; None: row i is example i."""
    answers: Answers | None = None
    """Answer tokens, where a language-model head scores them; None where a head is trained."""

    def pool(self, hidden: Tensor) -> Tensor:
        """Take the vector of each example (first, last or mean token): [rows, width, H] -> [examples, H].

        Of prompted examples it takes the hidden states that predict answer tokens, [states, H].
        """
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
"""Functions, by the pooling of an architecture's head, from the lengths of examples to the tokens that it reads: the
first, and how many.
"""


def arrange(
    model: LoadedModel,
    batch: Encoded,
    runs: np.ndarray,
    plan: PassPlan,
    *,
    mask: str = "tokens",
    widest: int | None = None,
    rows: int | None = None,
    rounded: bool = False,
    by_example: bool = False,
) -> HostPass:
    """Build the arrays of one pass.

    ``runs`` int64 [examples]: the run of each example of ``batch``; ``mask``, ``widest``, ``rounded``: see
    :class:`Shaping`; ``rows``: how many rows there are, if more than the plan has; ``by_example``: also what brings
    tokens from rows to examples.
    """
    planned, width, examples = len(plan.sizes), plan.width, plan.examples
    rows = rows or planned
    lengths = batch.lengths[examples]
    row_of = np.repeat(np.arange(planned), plan.sizes)  # of each example, by row
    first = np.cumsum(plan.sizes) - plan.sizes  # example of each row
    before = np.cumsum(lengths) - lengths  # tokens of all examples before it
    number = np.arange(len(examples)) - first[row_of]
    start = row_of * width + before - before[first][row_of]
    within = np.arange(lengths.sum()) - np.repeat(before, lengths)
    at = np.repeat(start, lengths) + within  # where each token stands in the flattened rows

    source = np.repeat(batch.start[examples], lengths) + within
    tree = None if batch.tokens.tree is None else batch.tokens.tree[:, source]
    branches = tree is not None and tree[0].any()
    tables = np.zeros((4 if branches else 3, rows * width), dtype=np.int64)
    tables[0] = -1
    tables[0, at] = source
    tables[1, at] = np.repeat(number + 1, lengths)
    tables[2, at] = within
    if branches:
        tables[3, at], tables[2, at] = tree  # type: ignore[misc]
    run_of_row = runs[examples[first]]
    packed = len(examples) > planned
    one_each = not packed and not branches
    window = model.layout.window
    if one_each and mask != "tokens" and model.layout.causal and (window is None or width <= window):
        mask = "causal"
    elif one_each and len(at) == rows * width and (mask == "tokens" or window is None or width <= window):
        mask = "none"  # one that hides nothing costs the model a look at the device
    elif (mask == "segments" and widest is not None and width > widest) or branches or (mask == "tokens" and packed):
        mask = "additive"
    if batch.answers is None:
        offset, counts = _POOLED[model.layout.head.pooling](lengths)
        column = np.arange(1 if counts.max() == 1 else width)
        vector_at = np.where(column < counts[:, None], (start + offset)[:, None] + column, rows * width)
        answers: dict[str, np.ndarray] = {}
    else:
        table = batch.tokens.answers
        assert table is not None
        places, answers = answer_arrays(table, batch.answers[examples], start, table.most, rounded=rounded)
        vector_at, counts = places[:, None], np.ones(len(places))
    arrays = {"tables": tables, "vector_at": vector_at, "counts": counts[:, None].astype(np.float32)}
    arrays |= {f"answer.{name}": array for name, array in answers.items()}
    alone = len(examples) == planned == rows
    if by_example:
        arrays["length"] = lengths
        if not alone:
            place = np.full(rows * width, -1)
            place[at] = np.repeat(np.arange(len(examples)) * width, lengths) + within
            arrays |= {"start": start, "place": place}
    return HostPass(
        PassShape(rows, width, mask, bool(answers) and are_siblings(answers)),
        arrays,
        examples,
        np.concatenate([run_of_row, np.repeat(run_of_row[-1:], rows - planned)]),
        runs[examples],
    )


def lay_out(
    model: LoadedModel,
    shape: PassShape,
    arrays: Mapping[str, Tensor],
    tokens: Tokens,
    dtype: torch.dtype = torch.float32,
) -> DevicePass:
    """Make what the model takes of the arrays of an arranged pass on its device; nothing is sent there any more.

    ``tokens``: the table of all; ``dtype``: of masks, that of the backbone's activations.
    """
    place, segments, positions, *branches = arrays["tables"].view(-1, shape.rows, shape.width)
    all_ids, all_types = tokens.on(place.device)
    inside, place = place >= 0, place.clamp(min=0)
    ids = torch.where(inside, all_ids[place].long(), getattr(model.config, "pad_token_id", None) or 0)
    if shape.mask in ("additive", "segments"):
        by_segments = shape.mask == "segments"
        branch = branches[0] if branches else None
        inputs = packed_forward_inputs(
            model, ids, segments, positions, dtype, by_segments=by_segments, branch_ids=branch
        )
    elif shape.mask == "causal":
        inputs = unmasked_forward_inputs(model, ids, positions)
    else:
        inputs = {"input_ids": ids, **({"attention_mask": segments} if shape.mask == "tokens" else {})}
    if all_types is not None:
        inputs["token_type_ids"] = torch.where(inside, all_types[place].long(), 0)
    by_example = ByExample(*(arrays[name] for name in ("start", "length", "place"))) if "place" in arrays else None
    answers = None
    if "answer.target" in arrays:
        answers = Answers(*(arrays[f"answer.{name}"] for name in ("target", "state", "of_candidate")))
    return DevicePass(inputs, arrays["vector_at"], arrays["counts"], arrays.get("length"), by_example, answers)
