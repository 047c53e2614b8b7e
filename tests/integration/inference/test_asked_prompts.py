"""Fine-tunes of a language model that are asked prompts: as transformers scores each whole text, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from example_decoder import asked_fine_tune
from transformers import AutoModelForCausalLM, AutoTokenizer

from beft_core.errors import UserError
from beft_core.inference.answers import Answer
from beft_core.inference.predict import ask_prompts, predict, predict_rows
from beft_core.inference.rows import Rows
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.snapshot import Snapshot

WORDS = ("terrible", "so great")
PROMPT = "a long film. It was"


def by_transformers(folder: Path, snapshot: Snapshot, share: list[float], prompt: str) -> list[float]:
    """Mean log-probability per token of each candidate; b_v of each layer times its share."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for layer, value, factor in zip(model.model.layers, snapshot.post("decoder", "v"), share, strict=True):
        layer.self_attn.v_proj.bias = torch.nn.Parameter(torch.tensor(factor * value))
    found = []
    for word in WORDS:
        before, ids = (tokenizer(text)["input_ids"] for text in (prompt, f"{prompt} {word}"))
        with torch.no_grad():
            shares = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        found.append(float(np.mean([shares[at - 1, ids[at]].item() for at in range(len(before), len(ids))])))
    return found


def test_candidates_of_a_prompt_layer_by_layer(folder: Path, model: LoadedModel) -> None:
    snapshot = asked_fine_tune(model, candidates=("bad", "good"))
    (one,) = ask_prompts([snapshot], [PROMPT], WORDS, task="asks", loader=lambda config: model)
    assert one.labels == WORDS and one.prompted and sorted(one.without) == [0, 1]
    for logits, share in (
        (one.logits, [1.0, 1.0]),
        (one.before, [0.0, 0.0]),
        (one.without[0], [0.0, 1.0]),
        (one.without[1], [1.0, 0.0]),
    ):
        assert logits[0] == pytest.approx(by_transformers(folder, snapshot, share, PROMPT), abs=1e-4)
    assert "head" not in one.verdict(0) and Answer.from_dict(one.to_dict()).prompted
    untouched = asked_fine_tune(model, candidates=("bad", "good"), size=0.0)
    (same,) = ask_prompts([untouched], [PROMPT], WORDS, task="asks", loader=lambda config: model)
    assert same.verdict(0).endswith("is what the base model says.")


def test_texts_stand_in_the_column_of_the_prompt(folder: Path, model: LoadedModel) -> None:
    snapshot = asked_fine_tune(model, candidates=WORDS)
    told = predict([snapshot], ["a long film."], loader=lambda config: model)
    asked = ask_prompts([snapshot], [PROMPT], WORDS, task="asks", loader=lambda config: model)
    assert (told[0].logits == asked[0].logits).all() and told[0].labels == WORDS


def test_rows_of_two_prompts_share_their_passes(model: LoadedModel) -> None:
    two = asked_fine_tune(model, candidates=WORDS)
    three = asked_fine_tune(model, seed=1, candidates=("bad", "good", "so so"), task="rates")
    rows = Rows.checked([two, three], ["a long film.", "dull.", "a film that is fine."], [1, 0, 1])
    found = predict_rows(rows, loader=lambda config: model)
    assert [(one.task, len(one.logits)) for one in found] == [("rates", 3), ("asks", 2), ("rates", 3)]
    for text, one in zip(rows.texts, found, strict=True):
        (alone,) = predict([rows.snapshots[one.snapshot]], [text], apart=[], loader=lambda config: model)
        np.testing.assert_allclose(one.logits, alone.logits[0], atol=1e-5)
        assert one.labels == alone.labels and one.value == alone.labels[int(alone.predicted[0])]
    with pytest.raises(UserError, match="no fixed candidates"):
        predict_rows(Rows.checked([two, asked_fine_tune(model)], ["a"], [1]), loader=lambda config: model)


def test_what_cannot_be_asked(model: LoadedModel) -> None:
    chooses, writes = asked_fine_tune(model, candidates=WORDS), asked_fine_tune(model)
    for prompts, words, said in (
        (["  "], WORDS, "empty prompt"),
        ([PROMPT], ("a",), "1 candidates"),
        ([PROMPT], ("a", "a "), "2 candidates, 1 of them different"),
    ):
        with pytest.raises(UserError, match=said):
            ask_prompts([chooses], prompts, words, task="asks", loader=lambda config: model)
    with pytest.raises(UserError, match="no fixed candidates"):
        predict([writes], ["a"], loader=lambda config: model)
    with pytest.raises(UserError, match="pairs of texts"):
        predict([chooses], ["a"], ["b"], loader=lambda config: model)
