"""Where examples stand in the rows of a pass, against placing them one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import VOCABULARY, tiny

from beft_core.models import load
from beft_core.tasks.load import Examples
from beft_core.training.batches.arrange import (
    MASKS,
    Encoded,
    Plan,
    arrange,
    by_length,
    encode,
    join,
    lay_out,
    over_one_table,
    plan,
    rounded_rows,
)

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(st.integers(1, 100_000))
def test_rows_are_rounded_up_by_little_to_few_numbers(rows: int) -> None:
    rounded = rounded_rows(rows)
    assert rows <= rounded <= rows * 17 / 16
    assert rounded_rows(rounded) == rounded
    octave = 1 << (rows.bit_length() - 1)
    assert len({rounded_rows(n) for n in range(octave, 2 * octave, max(1, octave // 64))}) <= 17


@given(LENGTHS, st.integers(1, 4), st.sampled_from(["packed", "longest", "max", "buckets"]), st.booleans())
def test_every_example_has_one_place(lengths: list[int], runs: int, pad: str, rounded: bool) -> None:
    owners = [i % runs for i in range(len(lengths))]
    passes = plan(lengths, owners, pad, 48, rounded=rounded)
    assert sorted(i for one in passes for row in one.rows for i in row) == list(range(len(lengths)))
    for one in passes:
        for row in one.rows:
            assert sum(lengths[i] for i in row) <= one.width
            assert len({owners[i] for i in row}) == 1
    if rounded and pad in ("packed", "longest"):
        assert passes[0].width == -(-max(lengths) // 8) * 8


@pytest.mark.parametrize("rows", [None, 4])
def test_tokens_stand_where_the_plan_says(rows: int | None) -> None:
    rng = np.random.default_rng(0)
    ids = [rng.integers(3, VOCABULARY, n) for n in (3, 2, 4)]
    batch = Encoded.of(ids, [np.full(len(one), number) for number, one in enumerate(ids)], np.zeros(3))
    more = Encoded.of([np.array([7])], [np.array([1])], np.zeros(1))
    _, batch = over_one_table([more, batch])  # the tokens begin somewhere else then
    model = tiny("bert")
    one = arrange(model, batch, [0, 0, 1], Plan([[1, 0], [2]], 6), mask="additive", rows=rows)
    count = rows or 2
    expected = np.zeros((4, count, 6), np.int64)
    expected[0] = model.config.pad_token_id
    for row, start, example, segment in ((0, 0, 1, 1), (0, 2, 0, 2), (1, 0, 2, 1)):
        here = slice(start, start + len(ids[example]))
        for table, values in enumerate((ids[example], segment, np.arange(len(ids[example])), example)):
            expected[table, row, here] = values
    arrays = {name: torch.from_numpy(array) for name, array in one.arrays.items()}
    inputs = lay_out(model, one.form, arrays, batch.tokens).inputs
    np.testing.assert_array_equal(inputs["input_ids"], expected[0])
    np.testing.assert_array_equal(inputs["token_type_ids"], expected[3])
    np.testing.assert_array_equal(one.arrays["tables"].reshape(3, count, 6)[1:], expected[1:3])
    assert one.examples == [1, 0, 2] and one.run_of_example == [0, 0, 1]
    assert one.run_of_row == [0, 1] + [1] * (count - 2)
    assert one.arrays["vector_at"].tolist() == [[0], [2], [6]]


@given(st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=4), st.booleans(), st.data())
def test_sets_over_one_table_hold_the_same_examples(lengths: list[list[int]], typed: bool, data: st.DataObject) -> None:
    rng = np.random.default_rng(1)
    sets = []
    for own in lengths:
        ids = [rng.integers(0, 99, n) for n in own]
        made = Encoded.of(ids, [row % 2 for row in ids] if typed else None, np.arange(len(own)))
        order = data.draw(st.lists(st.sampled_from(range(len(own))), max_size=6)) if own else []
        sets += [made, made.take(order)]
    together = over_one_table(sets)
    assert len({id(one.tokens) for one in together}) == 1
    for before, after in zip(sets, together, strict=True):
        assert [row.tolist() for row in after.ids] == [row.tolist() for row in before.ids]
        assert (after.labels == before.labels).all() and len(after) == len(before)
    joined = join(together)
    assert [row.tolist() for row in joined.ids] == [row.tolist() for one in sets for row in one.ids]
    assert len(joined.tokens.ids) == sum(sum(own) for own in lengths)  # what is shared is there once
    assert (joined.tokens.types is not None) == typed


def test_a_table_of_tokens_is_copied_to_a_device_once() -> None:
    tokens = Encoded.of([np.arange(3)], None, np.zeros(1)).tokens
    cpu = torch.device("cpu")
    assert tokens.on(cpu)[0] is tokens.on(cpu)[0] and tokens.on(cpu)[1] is None


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
    one = arrange(tiny("bert"), batch, [0, 0], Plan(rows, width), mask=wanted)
    assert one.form.mask == mask and mask in MASKS


@given(LENGTHS, st.integers(1, 200), st.none() | st.integers(1, 8))
def test_groups_by_length_hold_as_much_as_they_may(lengths: list[int], tokens: int, most: int | None) -> None:
    groups = by_length(np.array(lengths), tokens, most)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group, following in itertools.zip_longest(groups, groups[1:]):
        longest = max(lengths[i] for i in group)
        assert len(group) == 1 or len(group) * longest <= tokens
        assert most is None or len(group) <= most
        if following is not None:  # its first example did not fit into this one
            assert lengths[following[0]] >= longest
            assert (len(group) + 1) * lengths[following[0]] > tokens or len(group) == most


def test_examples_are_cut_to_the_limit_of_tokens_and_the_longer_text_first() -> None:
    tokenizer = load.load_tokenizer()
    texts, pairs = ["a b c d e f g h", "a"], ["a b", "a b c d e f g h"]
    encoded = encode(tokenizer, Examples(texts, pairs, np.array([0, 1])), 9)
    assert encoded.lengths.tolist() == [9, 9]
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    a_to_h = [tokenizer.convert_tokens_to_ids(letter) for letter in "abcdefgh"]
    assert encoded.ids[0].tolist() == [begin, *a_to_h[:4], end, *a_to_h[:2], end]
    assert encoded.ids[1].tolist() == [begin, *a_to_h[:1], end, *a_to_h[:5], end]
