"""Tokenisation of prompted examples: each becomes a tree of its prompt and its candidates.

The prompt and each whole text, prompt and candidate together, are tokenised; the candidate's tokens are the last ones
of the whole text, as many as it is longer than the prompt. (This is the rule of MeZO, whose code the paper's decoder
experiments use.) What all whole texts of an example have in common is its trunk and is computed once, so the scores are
those of the whole texts even where a tokenizer joins the end of a prompt with a candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.tasks.examples import Examples
from beft_core.training.batches.answers import AnswerTokens
from beft_core.training.batches.encoded import Encoded, Tokens, Writing
from beft_core.training.observer import Observer

CHUNK = 100
"""Number of examples that are tokenised at once."""

FIRST_TOKEN = {"opt": 0}
"""First token of every text by the type of the model, where it is not the one that the tokenizer puts there: the
paper's experiments begin OPT's texts with 0, where its tokenizer would put 2.
"""


def encode_prompts(
    tokenizer: Any,
    examples: Examples,
    max_length: int,
    observer: Observer | None = None,
    *,
    model_type: str = "",
    gold_only: bool = False,
) -> Encoded:
    """Tokenise prompts and their candidates.

    A prompt that is too long with its longest candidate for ``max_length`` tokens loses tokens on the left; a first
    token that begins every text stays. ``observer`` hears of each example that is done, and how many lost tokens.

    ``gold_only``: keep the right candidate of each example alone (the first where several are right), whose number is
    then 0.

    Raises:
        UserError: an example with two equal candidates, a candidate without tokens, an empty prompt, or a candidate
            that is too long itself.
    """
    assert examples.candidates is not None, "examples without candidates are not prompted"
    candidates, labels = examples.candidates, examples.labels
    if gold_only:
        candidates = [(own[label],) for own, label in zip(candidates, labels, strict=True)]
        labels = np.zeros_like(labels)
    rule = _Texts(tokenizer, model_type)
    made: list[_Tree] = []
    shortened = 0
    for start in range(0, len(examples), CHUNK):
        stop = min(start + CHUNK, len(examples))
        prompts, own = examples.text[start:stop], candidates[start:stop]
        wholes = [prompt + one for prompt, some in zip(prompts, own, strict=True) for one in some]
        ids = [np.asarray(row, np.int32) for row in tokenizer([*prompts, *wholes])["input_ids"]]
        rest = iter(ids[len(prompts) :])
        for number, (some, prompt) in enumerate(zip(own, ids[: len(prompts)], strict=True), start):
            texts = [next(rest) for _ in some]
            counts = [len(text) - len(prompt) for text in texts]
            _check(number, some, texts, counts, max_length)
            beyond = max(map(len, texts)) - max_length
            shortened += beyond > 0
            made.append(_Tree([rule.fitted(text, beyond) for text in texts], counts))
        if observer is not None:
            observer.advance(stop - start)
    if observer is not None:
        _report(shortened, len(examples), max_length, " with their answer", observer)
    return _joined(made, labels, None if gold_only else examples)


def encode_questions(
    tokenizer: Any,
    examples: Examples,
    max_length: int,
    writing: Writing,
    observer: Observer | None = None,
    *,
    model_type: str = "",
) -> Encoded:
    """Tokenise prompts after which the model writes, so short that the answer has room within ``max_length`` tokens.

    What is too long, and what ``observer`` hears, is as in :func:`encode_prompts`.

    Raises:
        UserError: an empty prompt, or no room for a prompt.
    """
    most = max_length - writing.max_new_tokens
    if most < 2:
        raise UserError(
            f"got {max_length} tokens for a prompt and its answer of {writing.max_new_tokens}",
            f"at least {writing.max_new_tokens + 2}",
            "--max-length N",
        )
    ids = [np.asarray(row, np.int32) for row in tokenizer(examples.text)["input_ids"]]
    if not all(map(len, ids)):
        raise UserError("got an empty prompt", "a text before the answer", "a template with words")
    texts = _Texts(tokenizer, model_type)
    made = [texts.fitted(row, len(row) - most) for row in ids]
    if observer is not None:
        observer.advance(len(examples))
        _report(sum(len(row) > most for row in ids), len(ids), most, "", observer)
    return replace(Encoded.of(made, None, examples.labels), source=examples, writing=writing)


class _Texts:
    """Rule of the beginnings of texts."""

    def __init__(self, tokenizer: Any, model_type: str) -> None:
        self._begins, self._first = frozenset(_beginning(tokenizer)), FIRST_TOKEN.get(model_type)

    def fitted(self, text: np.ndarray, beyond: int) -> np.ndarray:
        """Leave ``beyond`` tokens out at the left, if that is positive, and begin as the type of model wants it."""
        begins = int(text[0] in self._begins)
        if beyond > 0:
            text = np.concatenate([text[:begins], text[begins + beyond :]])
        return np.r_[np.int32(self._first), text[1:]] if begins and self._first is not None else text


def _report(shortened: int, total: int, most: int, what: str, observer: Observer) -> None:
    if shortened:
        observer.message(
            f"{shortened:,} of {total:,} prompts are longer than {most} tokens{what}: what is too much is left out at"
            " the left"
        )


class _Tree:
    """Tokens of one example: its trunk, and the branches of its candidates without what predicts nothing."""

    def __init__(self, texts: Sequence[np.ndarray], counts: Sequence[int]) -> None:
        """Make it of whole texts, int32 [tokens] each, whose last ``counts`` tokens are to be predicted."""
        computed = [text[:-1] for text in texts]
        trunk = _in_common(computed)
        ids, branch, position = [computed[0][:trunk]], [np.zeros(trunk, np.int32)], [np.arange(trunk)]
        at, answer, candidate = [], [], []
        end = trunk
        for number, (text, own, count) in enumerate(zip(texts, computed, counts, strict=True)):
            reads = np.arange(len(own) - count, len(own))  # the token before each answer token, along the path
            at.append(np.where(reads < trunk, reads, reads - trunk + end))
            answer.append(text[-count:])
            candidate.append(np.full(count, number))
            ids.append(own[trunk:])
            branch.append(np.full(len(own) - trunk, number + 1))
            position.append(np.arange(trunk, len(own)))
            end += len(own) - trunk
        self.ids = np.concatenate(ids).astype(np.int32)
        self.tree = np.stack([np.concatenate(branch), np.concatenate(position)]).astype(np.int32)
        self.answers = AnswerTokens(*(np.concatenate(column).astype(np.int32) for column in (answer, at, candidate)))


def _joined(made: Sequence[_Tree], labels: np.ndarray, source: Examples | None) -> Encoded:
    lengths = np.array([len(one.ids) for one in made], np.int64)
    counts = np.array([len(one.answers.ids) for one in made], np.int64)
    nothing = np.zeros(0, np.int32)  # of no examples, too, a table can be made
    tokens = Tokens(
        np.concatenate([nothing, *(one.ids for one in made)]),
        None,
        np.concatenate([np.zeros((2, 0), np.int32), *(one.tree for one in made)], axis=1),
        AnswerTokens.join([AnswerTokens(nothing, nothing, nothing), *(one.answers for one in made)]),
    )
    spans = np.stack([np.cumsum(counts) - counts, counts], axis=1)
    return Encoded(tokens, np.cumsum(lengths) - lengths, lengths, labels, spans, source)


def _in_common(texts: Sequence[np.ndarray]) -> int:
    """Count the tokens that all texts begin with; one text alone is all trunk."""
    shortest = min(map(len, texts))
    same = np.all([text[:shortest] == texts[0][:shortest] for text in texts], axis=0)
    return shortest if same.all() else int(same.argmin())


def _beginning(tokenizer: Any) -> Sequence[int]:
    """Find the tokens that a tokenizer puts before every text."""
    with_text = tokenizer("a")["input_ids"]
    without = tokenizer("a", add_special_tokens=False)["input_ids"]
    added = len(with_text) - len(without)
    return with_text[:added] if added > 0 and list(with_text[added:]) == list(without) else ()


def _check(
    number: int, candidates: Sequence[str], texts: Sequence[np.ndarray], counts: Sequence[int], max_length: int
) -> None:
    """Refuse candidates that cannot be scored. ``counts``: how many tokens of each text are the candidate's."""
    where = f"example {number + 1}"
    if not candidates:
        raise UserError(f"got {where} without a candidate", "at least one")
    if len(set(candidates)) < len(candidates):
        twice = next(one for one in candidates if candidates.count(one) > 1)
        raise UserError(f"got {where} with the candidate {twice[:40]!r} twice", "candidates that differ")
    for one, text, count in zip(candidates, texts, counts, strict=True):
        if count < 1:
            raise UserError(f"got {where} with the candidate {one[:40]!r}, which has no tokens of its own", "a text")
        if count >= len(text):
            raise UserError(f"got {where} with an empty prompt", "a text before the answer", "a template with words")
        if count > max_length - 2:
            raise UserError(
                f"got {where} with a candidate of {count} tokens",
                f"at most {max_length - 2}, so that the prompt keeps one",
                "--max-length N",
            )
