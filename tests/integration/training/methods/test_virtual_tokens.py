"""Prefixes and prompts before branching answers, packed rows and written text, against PEFT's own models."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prompt_tools import VARIED, tiny_decoder
from tiny_models import tiny
from training_tools import CLASSIFICATION, config, difference, fit
from transformers import AutoModelForCausalLM

from beft_core.models.biases import LoadedModel, add_zero_bias
from beft_core.tasks.examples import TaskData
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.targets import Classes
from beft_core.training.batches.encoded import Writing
from beft_core.training.methods.adapters import AdapterWeights
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.objectives.free_text import Writer
from beft_core.training.precision import Precision
from beft_core.training.workflow import Trained, fit_bank

peft = pytest.importorskip("peft")

DECODERS = ("opt", "gpt2", "llama", "gemma3_text")


def before_answers(model: LoadedModel, method: str) -> Trained:
    """A short fine-tune on prompts whose candidates branch."""
    if not model.layout.terms:
        add_zero_bias(model, "v")
    spec = dataclasses.replace(
        CLASSIFICATION,
        objective="candidates",
        labels=("bad", "good"),
        prompt=PromptSpec("{text}", candidates=("bad", "good")),
    )
    encode = Candidates(Classes(("bad", "good"))).encode
    one = config(mode=method, terms=(), virtual_tokens=3, max_length=32)
    return fit_bank(
        model,
        TaskData(spec, VARIED, {"validation": VARIED}, "made up"),
        [one],
        trains=[encode(model, VARIED, 32, training=True)],
        evals={"validation": encode(model, VARIED, 32)},
    )[0]


def language_model(name: str) -> Any:
    """Transformers' language model around a fresh copy of a tiny decoder, whose head is its embedding."""
    fresh = tiny_decoder(name)
    settings = copy.deepcopy(fresh.config)
    settings.tie_word_embeddings = True
    whole = AutoModelForCausalLM.from_config(settings, attn_implementation="eager")
    getattr(whole, whole.base_model_prefix).load_state_dict(fresh.backbone.state_dict())
    whole.tie_weights()
    return whole.eval()


@pytest.mark.parametrize("method", ["prefix", "prompt-tuning"])
@pytest.mark.parametrize("name", DECODERS)
def test_branching_answers_score_as_whole_texts_under_peft(name: str, method: str, tmp_path: Path) -> None:
    model = tiny_decoder(name)
    trained = before_answers(model, method)
    assert trained.snapshot.adapter is not None
    trained.snapshot.adapter.write(tmp_path)
    opened = peft.PeftModel.from_pretrained(language_model(name), tmp_path).eval()
    for row, (prompt, candidates) in enumerate(zip(VARIED.text, VARIED.candidates or [], strict=True)):
        before = len(model.tokenizer(prompt)["input_ids"])
        for number, one in enumerate(candidates):
            ids = model.tokenizer(prompt + one)["input_ids"]
            ids = [0, *ids[1:]] if name == "opt" else ids
            with torch.no_grad():
                given = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
                log_probs = opened(**given).logits[0, -len(ids) :].log_softmax(-1)
            score = np.mean([log_probs[i - 1, ids[i]].item() for i in range(before, len(ids))])
            np.testing.assert_allclose(trained.logits["validation"][row, number], score, atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "opt", "mistral"])
def test_packed_rows_change_nothing_under_prefixes(name: str) -> None:
    runs = [config(mode="prefix", terms=(), virtual_tokens=3, max_length=32, pad=pad) for pad in ("packed", "longest")]
    made = []
    for run in runs:
        model = tiny(name, attn="sdpa", dtype=torch.float32)
        if not model.layout.terms:
            add_zero_bias(model, "v")
        made.append(fit(model, run)[0])
    packed, longest = made
    assert packed.adapter is not None and longest.adapter is not None and difference(packed, longest) < 1e-4
    for key, value in packed.adapter.tensors.items():
        np.testing.assert_allclose(value, longest.adapter.tensors[key], atol=1e-4)


@pytest.mark.parametrize("method", ["prefix", "prompt-tuning"])
@pytest.mark.parametrize("name", ["bert", "opt"])
def test_layers_that_are_computed_again_see_the_same_vectors(name: str, method: str) -> None:
    runs = [
        config(mode=method, terms=(), virtual_tokens=3, max_length=32, gradient_checkpointing=again)
        for again in (False, True)
    ]
    kept, again = (fit(name, run)[0].adapter for run in runs)
    assert kept is not None and again is not None
    for key, value in kept.tensors.items():
        np.testing.assert_allclose(value, again.tensors[key], atol=1e-6)


@contextmanager
def moved(model: LoadedModel, method: str) -> Iterator[AdapterWeights]:
    """An adapter whose values are far from their first ones, in a model."""
    weights = AdapterWeights(model, config(mode=method, terms=(), virtual_tokens=3, max_length=32))
    with torch.no_grad():
        for parameter in weights.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    with weights.installed():
        yield weights


@pytest.mark.parametrize("method", ["prefix", "prompt-tuning"])
@pytest.mark.parametrize("name", ["opt", "llama"])
def test_text_is_written_as_peft_generates_it(name: str, method: str, tmp_path: Path) -> None:
    model = tiny_decoder(name)
    bank = Bank(model, [], runs=1, classes=None, precision=Precision("float32", torch.device("cpu")))
    prompts = [np.array([1, 5, 9, 4]), np.array([1, 7, 30])]
    with bank.installed(), moved(model, method) as weights, torch.no_grad():
        written = Writer(bank, Writing(5, "\n"))
        written._ends = lambda tokens: len(tokens) == 5  # type: ignore[method-assign]
        written._head = bank.lm_head
        ours = written._write(prompts, 0)
        weights.adapter({}).write(tmp_path)
    opened = peft.PeftModel.from_pretrained(language_model(name), tmp_path).eval()
    for prompt, tokens in zip(prompts, ours, strict=True):
        text = list(prompt)
        for token in tokens:  # one whole text at a time, without keys and values that are kept
            given = {"input_ids": torch.tensor([text]), "attention_mask": torch.ones(1, len(text))}
            with torch.no_grad():
                assert int(opened(**given).logits[0, -1].argmax()) == token
            text.append(token)


def test_the_backbone_is_as_before_once_the_context_is_left() -> None:
    model = tiny_decoder("opt")
    ids = torch.tensor([[1, 5, 9]])
    with torch.no_grad():
        before = model.backbone(input_ids=ids)[0]
        with moved(model, "prefix"):
            inside = model.backbone(input_ids=ids)[0]
        after = model.backbone(input_ids=ids)[0]
    assert torch.equal(before, after) and (before - inside).abs().max() > 0.1
