"""Prompted examples of a made-up language, and the oracle of their scores: transformers, one whole text at a time."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tiny_models import VOCABULARY, tiny

from beft_core.models.biases import LoadedModel
from beft_core.tasks.examples import Examples


class Prompts:
    """A tokenizer whose tokens are words with the space before them; the words "new" and "york" are one token where
    they follow one another.
    """

    def __init__(self, begin: int | None = 1) -> None:
        """``begin``: the token before every text; None: there is none."""
        self.begin = begin

    def __call__(self, texts: str | list[str], add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": self([texts], add_special_tokens)["input_ids"][0]}
        before = [self.begin] if add_special_tokens and self.begin is not None else []
        return {"input_ids": [[*before, *map(self.number, self.words(text))] for text in texts]}

    @staticmethod
    def words(text: str) -> list[str]:
        """The tokens of a text as texts."""
        return re.findall(r"\s*new york|\s*\S+", text)

    @staticmethod
    def number(word: str) -> int:
        """The number of a token, the same every time."""
        return 3 + sum(i * ord(letter) for i, letter in enumerate(word, 1)) % (VOCABULARY - 3)


def prompted(candidates: list[tuple[str, ...]], labels: list[int], seed: int = 0, longest: int = 9) -> Examples:
    """Prompts of random words, 2 to ``longest``, with the candidates."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 99, rng.integers(2, longest + 1))) for _ in candidates]
    return Examples(texts, None, np.array(labels), candidates=candidates)


VARIED = prompted(
    [
        (" good", " bad"),
        (" good", " very bad", " very very good indeed"),
        (" one two three", " one two four"),
        (" yes", " no"),
        (" a b", " c d e"),
    ],
    [1, 2, 0, 0, 1],
)
"""Candidates of one token and of several, some of which begin alike."""


def tiny_decoder(name: str) -> LoadedModel:
    """A tiny decoder with a tokenizer of words, whose language-model head is its embedding."""
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    assert model.layout.lm is not None
    model.layout = replace(model.layout, lm=replace(model.layout.lm, tied=True))
    model.tokenizer = Prompts()  # type: ignore[assignment]
    return model


def plain_scores(model: LoadedModel, examples: Examples) -> list[list[float]]:
    """The mean log-probability per token of each candidate, from one whole text at a time without a mask."""
    assert examples.candidates is not None and model.layout.lm is not None
    output, cap = model.backbone.get_input_embeddings().weight, model.layout.lm.softcap  # type: ignore[operator]
    found = []
    for prompt, candidates in zip(examples.text, examples.candidates, strict=True):
        before = len(model.tokenizer(prompt)["input_ids"])
        scores = []
        for one in candidates:
            ids = model.tokenizer(prompt + one)["input_ids"]
            if model.layout.model_type == "opt":
                ids = [0, *ids[1:]]
            hidden = model.backbone(input_ids=torch.tensor([ids]))[0][0]
            logits = hidden @ output.T
            log_probs = (logits if cap is None else cap * torch.tanh(logits / cap)).log_softmax(-1)
            scores.append(float(np.mean([log_probs[i - 1, ids[i]].item() for i in range(before, len(ids))])))
        found.append(scores)
    return found
