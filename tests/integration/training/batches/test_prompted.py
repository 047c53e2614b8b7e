"""Prompts and candidates as trees of tokens: what stands where, what is cut, and what cannot be scored."""

from __future__ import annotations

import numpy as np
import pytest
from prompt_tools import VARIED, Prompts, prompted

from beft_core.errors import UserError
from beft_core.tasks.examples import Examples
from beft_core.training.batches.encoded import Encoded, Writing, join, over_one_table
from beft_core.training.batches.prompted import encode_prompts, encode_questions
from beft_core.training.observer import Observer


def paths(encoded: Encoded, example: int) -> list[tuple[list[int], list[int]]]:
    """The tokens that lead to each candidate of an example, and its answer tokens, as they stand in the tree."""
    tokens, table = encoded.tokens, encoded.tokens.answers
    assert table is not None and tokens.tree is not None and encoded.answers is not None
    here = slice(encoded.start[example], encoded.start[example] + encoded.lengths[example])
    ids, (branch, position) = tokens.ids[here], tokens.tree[:, here]
    first, count = encoded.answers[example]
    own = slice(first, first + count)
    found = []
    for candidate in range(table.candidate[own].max() + 1):
        on_path = np.isin(branch, (0, candidate + 1))
        assert position[on_path].tolist() == list(range(on_path.sum()))
        mine = table.candidate[own] == candidate
        # The states that are read are the last ones of the path, one before each answer token.
        assert table.at[own][mine].tolist() == np.flatnonzero(on_path)[-mine.sum() :].tolist()
        found.append((ids[on_path].tolist(), table.ids[own][mine].tolist()))
    return found


@pytest.mark.parametrize("begin", [1, None])
def test_every_path_of_a_tree_is_the_whole_text(begin: int | None) -> None:
    tokenizer = Prompts(begin)
    encoded = encode_prompts(tokenizer, VARIED, 64)
    for i, (prompt, candidates) in enumerate(zip(VARIED.text, VARIED.candidates or [], strict=True)):
        before = len(tokenizer(prompt)["input_ids"])
        wholes = [tokenizer(prompt + one)["input_ids"] for one in candidates]
        assert paths(encoded, i) == [(whole[:-1], whole[before:]) for whole in wholes]
    # One-token candidates are no branches, and what candidates have in common is there once.
    assert encoded.lengths[0] == len(tokenizer(VARIED.text[0])["input_ids"])
    assert encoded.lengths[2] == len(tokenizer(VARIED.text[2])["input_ids"]) + 2
    assert (
        encoded.branches
        and encoded.most_candidates == 3
        and not encode_prompts(tokenizer, VARIED.take([0]), 64).branches
    )


def test_a_tokenizer_may_join_the_end_of_a_prompt_with_a_candidate() -> None:
    tokenizer = Prompts()
    encoded = encode_prompts(
        tokenizer, Examples(["it is new"], None, np.array([0]), candidates=[(" york city", " wine")]), 9
    )
    joined, apart = (tokenizer(text)["input_ids"] for text in ("it is new york city", "it is new wine"))
    # By the authors' rule the candidate is the last one token, since the whole text is one token longer.
    assert paths(encoded, 0) == [(joined[:-1], joined[-1:]), (apart[:-1], apart[-1:])]


def test_of_the_right_candidates_alone_there_are_no_branches() -> None:
    encoded = encode_prompts(Prompts(), VARIED, 64, gold_only=True)
    assert not encoded.branches and encoded.most_candidates == 1 and not encoded.labels.any()
    whole = encode_prompts(Prompts(), VARIED, 64)
    for i, label in enumerate(VARIED.labels):
        assert paths(encoded, i) == [paths(whole, i)[label]]


def test_of_no_examples_there_is_a_table_too() -> None:
    none = encode_prompts(Prompts(), VARIED.take([]), 64)
    assert len(none) == 0 and none.most_candidates == 0 and not none.branches
    both = over_one_table([none, encode_prompts(Prompts(), VARIED, 64)])
    assert [len(one) for one in both] == [0, len(VARIED)] and paths(both[1], 0)[0][1] == [Prompts.number(" good")]


class Heard(Observer):
    def __init__(self) -> None:
        self.done, self.said = 0, []

    def advance(self, n: int = 1) -> None:
        self.done += n

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize("begin", [1, None])
def test_what_is_too_long_loses_tokens_on_the_left(begin: int | None) -> None:
    tokenizer, heard = Prompts(begin), Heard()
    examples = Examples(["a b c d e f", "a"], None, np.array([0, 0]), candidates=[(" x y z", " u")] * 2)
    encoded = encode_prompts(tokenizer, examples, 6, heard)
    kept = [1, *map(tokenizer.number, (" e", " f"))] if begin else list(map(tokenizer.number, (" d", " e", " f")))
    (long, first), (short, second) = paths(encoded, 0)
    assert long[:3] == kept and len(long) == 5 and first == list(map(tokenizer.number, (" x", " y", " z")))
    assert short == kept and second == [tokenizer.number(" u")]  # the same prompt for all candidates
    assert heard.done == 2 and heard.said == [
        "1 of 2 prompts are longer than 6 tokens with their answer: what is too much is left out at the left"
    ]


def test_the_first_token_of_opt_is_that_of_the_paper() -> None:
    assert encode_prompts(Prompts(2), VARIED, 64, model_type="opt").ids[0][0] == 0
    assert encode_prompts(Prompts(None), VARIED, 64, model_type="opt").ids[0][0] > 2  # nothing is put before a text


def test_sets_of_prompts_stand_side_by_side() -> None:
    few, many = encode_prompts(Prompts(), VARIED.take([3]), 64), encode_prompts(Prompts(), VARIED, 64)
    one, other = over_one_table([few, many.take([2, 1])])
    assert paths(one, 0) == paths(many, 3) and paths(other, 0) == paths(many, 2)
    both = join([other, one])
    assert [paths(both, i) for i in range(3)] == [paths(many, i) for i in (2, 1, 3)]


@pytest.mark.parametrize(
    ("text", "candidates", "told"),
    [
        ("a", (" b", " b"), "got example 2 with the candidate ' b' twice"),
        ("a", (" b", " "), "got example 2 with the candidate ' ', which has no tokens of its own"),
        ("a", (), "got example 2 without a candidate"),
        ("a", (" b c d e f g h i",), "got example 2 with a candidate of 8 tokens"),
    ],
)
def test_what_cannot_be_scored_is_one_line(text: str, candidates: tuple[str, ...], told: str) -> None:
    examples = Examples(["a", text], None, np.zeros(2, int), candidates=[(" x",), candidates])
    with pytest.raises(UserError, match=told):
        encode_prompts(Prompts(), examples, 8)


def test_without_a_first_token_a_prompt_must_not_be_empty() -> None:
    examples = Examples([""], None, np.zeros(1, int), candidates=[(" x",)])
    with pytest.raises(UserError, match="an empty prompt"):
        encode_prompts(Prompts(None), examples, 8)
    assert paths(encode_prompts(Prompts(), examples, 8), 0) == [([1], [Prompts.number(" x")])]


def test_a_random_prompt_is_the_same_every_time() -> None:
    assert prompted([(" a",)], [0], 3).text == prompted([(" a",)], [0], 3).text


def test_prompts_to_write_after_keep_a_table_of_their_own() -> None:
    """Free text is trained on prompts with their answers and evaluated on prompts alone."""
    train = encode_prompts(Prompts(), VARIED, 64, gold_only=True)
    asked = encode_questions(Prompts(), VARIED, 64, Writing(8, "\n"))
    first, second, third = over_one_table([train, asked, train.take([0])])
    assert first.tokens is third.tokens is train.tokens and second.tokens is asked.tokens
    for one, was in ((first, train), (second, asked)):
        assert [row.tolist() for row in one.ids] == [row.tolist() for row in was.ids]
