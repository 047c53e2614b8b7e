"""A loaded model is copied as a base model: like the same model from its folder, and left as it was."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import tiny
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
)

from beft_core.errors import UserError
from beft_core.models.in_memory import backbone_of, copied
from beft_core.models.lm_head import LmHead
from beft_core.models.load import load_model


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.fixture
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", [BertModel, AutoModelForSequenceClassification])
def test_the_copy_is_the_model_as_its_folder_has_it(folder: Path, tokenizer: Any, kind: Any) -> None:
    from_disk = load_model(str(folder))
    loaded = copied(kind.from_pretrained(folder), tokenizer)
    assert same(state(loaded.backbone), state(from_disk.backbone))
    assert loaded.info == from_disk.info and loaded.layout.terms == from_disk.layout.terms
    assert not loaded.backbone.training and not any(p.requires_grad for p in loaded.backbone.parameters())


def test_a_missing_pooler_is_drawn_as_from_the_folder(folder: Path, tokenizer: Any) -> None:
    without = AutoModelForMaskedLM.from_pretrained(folder)
    assert not any("pooler" in name for name, _ in without.named_parameters())
    without.save_pretrained(folder)
    from_disk = load_model(str(folder))
    assert same(state(copied(without, tokenizer).backbone), state(from_disk.backbone))


@pytest.mark.parametrize("tied", [False, True])
def test_the_head_of_a_language_model_comes_along(tied: bool, tokenizer: Any) -> None:
    config = GPT2Config(vocab_size=30522, n_embd=16, n_layer=1, n_head=2, n_positions=32, tie_word_embeddings=tied)
    model = GPT2LMHeadModel(config).eval()
    loaded = copied(model, tokenizer)
    ids = torch.arange(9)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits[0]
        head = LmHead.of(loaded)
        found = head.logits(loaded.backbone(input_ids=ids).last_hidden_state[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (loaded.output is None) == tied and head.weight.data_ptr() != model.lm_head.weight.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_theirs_stays_as_it_was(folder: Path, tokenizer: Any, dtype: torch.dtype) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype).train()
    before, config = state(model), copy.deepcopy(model.config.to_dict())
    loaded = copied(model, tokenizer)
    with torch.no_grad():
        for parameter in loaded.backbone.parameters():
            parameter.add_(1)
    loaded.tokenizer.pad_token = "[SEP]"
    assert same(state(model), before) and model.config.to_dict() == config and tokenizer.pad_token == "[PAD]"
    assert model.training and all(p.requires_grad and p.dtype == dtype for p in model.parameters())
    assert all(p.dtype == torch.float32 for p in loaded.backbone.parameters())


def test_a_model_that_comes_from_nowhere_is_named_by_its_class(tokenizer: Any) -> None:
    model = tiny("roberta", dtype=torch.float32).backbone
    model.config.vocab_size = 60
    with pytest.raises(UserError, match="got a tokenizer in the tokenizer given with the loaded RobertaModel"):
        copied(model, tokenizer)


@pytest.mark.parametrize("name", ["distilbert", "gpt2", "llama-bias", "deberta-v2", "modernbert"])
def test_backbones_of_other_architectures(name: str) -> None:
    model = tiny(name, dtype=torch.float32).backbone
    loaded = copied(model, Vocabulary())
    assert same(state(loaded.backbone), state(model)) and loaded.id == f"{type(model).__name__} in memory"


class Vocabulary:
    """What a tokenizer is asked for when a model is loaded."""

    pad_token = "x"

    def get_vocab(self) -> dict[str, int]:
        return {"x": 0}


def test_what_is_no_model_or_not_whole_is_refused(folder: Path, tokenizer: Any) -> None:
    model = BertModel.from_pretrained(folder)
    adapted = get_peft_model(copy.deepcopy(model), LoraConfig(target_modules=["query"]))
    for wrong, words in [
        ((None, tokenizer), "got a NoneType for a model"),
        ((torch.nn.Linear(2, 2), tokenizer), "got a Linear for a model"),
        ((adapted, tokenizer), "got a PeftModel for a model.*merge_and_unload"),
        ((adapted.get_base_model(), tokenizer), "with an adapter in it.*merge_and_unload"),
        ((model, None), "without its tokenizer"),
        ((model, "bert"), "got a str for a tokenizer"),
        ((model.half().to("meta"), tokenizer), "has no values"),
    ]:
        with pytest.raises(UserError, match=words):
            copied(*wrong)


def test_the_backbone_is_what_automodel_makes(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert backbone_of(model) is model.bert and backbone_of(model.bert) is model.bert
