"""Tokenised examples, and the table of tokens that several sets share."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from beft_core.models import load
from beft_core.tasks.examples import Examples
from beft_core.training.batches.encoded import Encoded, encode, join, over_one_table


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


def test_examples_are_cut_to_the_limit_of_tokens_and_the_longer_text_first() -> None:
    tokenizer = load.load_tokenizer()
    texts, pairs = ["a b c d e f g h", "a"], ["a b", "a b c d e f g h"]
    encoded = encode(tokenizer, Examples(texts, pairs, np.array([0, 1])), 9)
    assert encoded.lengths.tolist() == [9, 9]
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    a_to_h = [tokenizer.convert_tokens_to_ids(letter) for letter in "abcdefgh"]
    assert encoded.ids[0].tolist() == [begin, *a_to_h[:4], end, *a_to_h[:2], end]
    assert encoded.ids[1].tolist() == [begin, *a_to_h[:1], end, *a_to_h[:5], end]
