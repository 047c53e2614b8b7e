"""What tests of models share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from beft_core.models.source import bundled_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small BERT that save_pretrained wrote, with the bundled model's tokenizer."""
    config = BertConfig(
        vocab_size=30522, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    torch.manual_seed(1)
    BertModel(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(bundled_path() / name, tmp_path)
    return tmp_path
