"""Text by several sets of biases side by side is what each model by itself writes, whenever a factor turns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from example_decoder import asked_fine_tune
from transformers import AutoModelForCausalLM, AutoTokenizer

from beft_core.errors import UserError
from beft_core.inference.text import writing
from beft_core.inference.text.writing import Draft, SideBySide
from beft_core.models.biases import LoadedModel
from beft_core.models.load import load_model
from beft_core.snapshots.snapshot import Snapshot

PROMPT = "a film of some length"


def by_transformers(folder: Path, snapshot: Snapshot | None, factors: list[float]) -> list[int]:
    """One token at a time, the whole text each time, with b_v written into the model."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPT)["input_ids"]
    start = len(ids)
    for factor in factors:
        for number, layer in enumerate(model.model.layers):
            if snapshot is not None:
                value = torch.tensor(factor * snapshot.post("decoder", "v")[number])
                layer.self_attn.v_proj.bias = torch.nn.Parameter(value)
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


def test_every_row_is_what_its_model_writes_while_the_factor_turns(folder: Path, model: LoadedModel) -> None:
    first, second = asked_fine_tune(model), asked_fine_tune(model, seed=1)
    writer = SideBySide(model, [first, second], "asks", PROMPT, 64)
    draft = writer.start()
    turns = [(1.0, 1.0)] * 3 + [(0.25, -1.0)] * 3 + [(2.0, 0.0)] * 3
    for turn in turns:
        writer.write(draft, turn, 0.0)
    assert draft.length == len(turns) and draft.tokens[0] == by_transformers(folder, None, [0.0] * 9)
    assert draft.tokens[1] == by_transformers(folder, first, [turn[0] for turn in turns])
    assert draft.tokens[2] == by_transformers(folder, second, [turn[1] for turn in turns])
    assert draft.tokens[0] != draft.tokens[1] != draft.tokens[2]
    again = Draft([row[:4] for row in draft.tokens], [None] * 3)  # as a process that has forgotten the text
    for turn in turns[4:]:
        SideBySide(model, [first, second], "asks", PROMPT, 64).write(again, turn, 0.0)
    assert again.tokens == draft.tokens


def test_a_text_ends_at_its_ending_and_at_its_greatest_length(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SideBySide(model, [asked_fine_tune(model)], "asks", PROMPT, 64)
    newline = model.tokenizer("\n", add_special_tokens=False)["input_ids"][0]
    letter = model.tokenizer("a", add_special_tokens=False)["input_ids"][0]
    script = iter([[letter, letter], [newline, letter], [letter, newline]])
    monkeypatch.setattr(writer, "_next", lambda draft: next(script))
    draft = writer.start()
    writer.write(draft, [1.0], 60.0)
    assert draft.done and draft.ended == [2, 3] and writer.texts(draft) == ["a", "aa"]
    monkeypatch.setattr(writer, "_next", lambda draft: [letter, letter])
    draft = writer.start()
    writer.write(draft, [1.0], 60.0)
    assert not draft.done and draft.length == writer.most <= writing.MAX_NEW_TOKENS


def test_what_cannot_write_says_so(model: LoadedModel) -> None:
    snapshot = asked_fine_tune(model)
    with pytest.raises(UserError, match="empty prompt"):
        SideBySide(model, [snapshot], "asks", "  ", 64)
    with pytest.raises(UserError, match="is no language model"):
        SideBySide(load_model(), [snapshot], "asks", PROMPT, 64)
    writer = SideBySide(model, [snapshot], "asks", PROMPT, 64)
    with pytest.raises(UserError, match="2 rows and 2 factors"):
        writer.write(writer.start(), [1.0, 1.0], 0.0)
    with pytest.raises(UserError, match="factor"):
        writer.write(writer.start(), [float("nan")], 0.0)


def test_factors_of_which_one_is_refused_change_nothing(model: LoadedModel) -> None:
    writer = SideBySide(model, [asked_fine_tune(model), asked_fine_tune(model, seed=1)], "asks", PROMPT, 64)
    untouched, after = writer.start(), writer.start()
    for _ in range(5):
        writer.write(untouched, [0.0, 0.0], 0.0)
    with pytest.raises(UserError, match="factor"):
        writer.write(writer.start(), [2.0, float("nan")], 0.0)
    for _ in range(5):
        writer.write(after, [0.0, 0.0], 0.0)
    assert after.tokens == untouched.tokens
