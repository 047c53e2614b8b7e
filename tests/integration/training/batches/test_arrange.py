"""Where examples stand in the rows of a pass, against placing them one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import VOCABULARY, tiny
from training_tools import planned

from beft_core.training.batches.arrange import MASKS, arrange, lay_out
from beft_core.training.batches.encoded import Encoded, over_one_table


@pytest.mark.parametrize("rows", [None, 4])
def test_tokens_stand_where_the_plan_says(rows: int | None) -> None:
    rng = np.random.default_rng(0)
    ids = [rng.integers(3, VOCABULARY, n) for n in (3, 2, 4)]
    batch = Encoded.of(ids, [np.full(len(one), number) for number, one in enumerate(ids)], np.zeros(3))
    more = Encoded.of([np.array([7])], [np.array([1])], np.zeros(1))
    _, batch = over_one_table([more, batch])  # the tokens begin somewhere else then
    model = tiny("bert")
    one = arrange(model, batch, np.array([0, 0, 1]), planned([[1, 0], [2]], 6), mask="additive", rows=rows)
    count = rows or 2
    expected = np.zeros((4, count, 6), np.int64)
    expected[0] = model.config.pad_token_id
    for row, start, example, segment in ((0, 0, 1, 1), (0, 2, 0, 2), (1, 0, 2, 1)):
        here = slice(start, start + len(ids[example]))
        for table, values in enumerate((ids[example], segment, np.arange(len(ids[example])), example)):
            expected[table, row, here] = values
    arrays = {name: torch.from_numpy(array) for name, array in one.arrays.items()}
    inputs = lay_out(model, one.shape, arrays, batch.tokens).inputs
    np.testing.assert_array_equal(inputs["input_ids"], expected[0])
    np.testing.assert_array_equal(inputs["token_type_ids"], expected[3])
    np.testing.assert_array_equal(one.arrays["tables"].reshape(3, count, 6)[1:], expected[1:3])
    assert one.examples.tolist() == [1, 0, 2] and one.run_of_example.tolist() == [0, 0, 1]
    assert one.run_of_row.tolist() == [0, 1] + [1] * (count - 2)
    assert one.arrays["vector_at"].tolist() == [[0], [2], [6]]


@pytest.mark.parametrize(
    ("lengths", "rows", "wanted", "mask"),
    [
        ((4, 4), [[0], [1]], "tokens", "none"),
        ((4, 4), [[0], [1]], "segments", "none"),
        ((4, 3), [[0], [1]], "tokens", "tokens"),
        ((4, 3), [[0], [1]], "additive", "additive"),
        ((4, 3), [[0], [1]], "segments", "segments"),
        ((2, 2), [[0, 1]], "tokens", "additive"),
        ((2, 2), [[0, 1]], "segments", "segments"),
        ((150, 4), [[0], [1]], "segments", "additive"),  # too wide for the kernels
    ],
)
def test_the_mask_is_what_the_rows_need(
    lengths: tuple[int, ...], rows: list[list[int]], wanted: str, mask: str
) -> None:
    batch = Encoded.of([np.full(n, 5) for n in lengths], None, np.zeros(2))
    width = max(sum(lengths[i] for i in row) for row in rows)
    one = arrange(tiny("bert"), batch, np.zeros(2, np.int64), planned(rows, width), mask=wanted, widest=128)
    assert one.shape.mask == mask and mask in MASKS


@pytest.mark.parametrize(
    ("name", "lengths", "rows", "wanted", "mask"),
    [
        ("opt", (4, 3), [[0], [1]], "additive", "causal"),
        ("opt", (150, 4), [[0], [1]], "segments", "causal"),
        ("opt", (4, 4), [[0], [1]], "tokens", "none"),
        ("opt", (4, 3), [[0], [1]], "tokens", "tokens"),
        ("opt", (2, 2), [[0, 1]], "additive", "additive"),
        ("mistral", (4, 3), [[0], [1]], "additive", "causal"),  # its window is 4 tokens wide
        ("mistral", (5, 3), [[0], [1]], "additive", "additive"),
        ("mistral", (5, 5), [[0], [1]], "additive", "additive"),
        ("mistral", (5, 5), [[0], [1]], "tokens", "none"),
    ],
)
def test_a_decoders_rows_of_one_example_need_no_mask(
    name: str, lengths: tuple[int, ...], rows: list[list[int]], wanted: str, mask: str
) -> None:
    batch = Encoded.of([np.full(n, 5) for n in lengths], None, np.zeros(2))
    width = max(sum(lengths[i] for i in row) for row in rows)
    one = arrange(tiny(name), batch, np.zeros(2, np.int64), planned(rows, width), mask=wanted, widest=128)
    assert one.shape.mask == mask and mask in MASKS
