"""Models whose parts do not fit each other are refused."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from example_decoder import write_decoder
from safetensors.numpy import load_file, save_file

from beft_core.errors import UserError
from beft_core.models.load import load_model, load_tokenizer
from beft_core.models.source import locate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pad_token_id": -7}, "pad_token_id = -7"),
        ({"pad_token_id": 10**9}, "pad_token_id = 1000000000"),
        ({"vocab_size": -1}, "vocab_size = -1"),
        ({"vocab_size": 10**9}, "vocab_size = 1000000000"),
        ({"vocab_size": 9_000_000, "hidden_size": 32}, "describes"),
        ({"max_position_embeddings": 10**8}, "describes"),
        ({"max_position_embeddings": 10**400}, "huge number as max_position_embeddings"),
        ({"num_hidden_layers": 2000}, "2000 layers over"),
    ],
)
def test_a_configuration_asks_for_no_more_than_its_weights_have(
    folder: Path, change: dict[str, int], message: str
) -> None:
    """Each of these made transformers fill gigabytes, or count places from the end."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message):
        load_model(str(folder))


def test_padding_has_a_number_below_the_size_of_the_vocabulary(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for pad, fits in ((config["vocab_size"] - 1, True), (-1, True), (config["vocab_size"], False), (-2, False)):
        (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": pad}))
        with nullcontext() if fits else pytest.raises(UserError, match=f"pad_token_id = {pad} "):
            locate(str(folder))


def test_a_tokenizer_gives_no_number_that_has_no_embedding(folder: Path) -> None:
    table = json.loads((folder / "tokenizer.json").read_text())
    word = max(table["model"]["vocab"], key=table["model"]["vocab"].get)
    table["model"]["vocab"][word] = 10**9
    (folder / "tokenizer.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="1000000000; expected numbers below the model's"):
        load_tokenizer(str(folder))


def test_a_bias_that_the_configuration_has_no_place_for_is_not_left_out_without_a_word(tmp_path: Path) -> None:
    """Such a folder is what save_pretrained makes of a model on which apply_to put biases."""
    folder = write_decoder(tmp_path / "tuned")
    name = "model.layers.1.self_attn.v_proj.bias"
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {name: np.ones(16, np.float32)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=f"with {name}, which its configuration has no place for.*try beft extract"):
        load_model(str(folder))
    save_file(tensors | {name: np.zeros(16, np.float32)}, folder / "model.safetensors", {"format": "pt"})
    load_model(str(folder))  # zeros, as GPTQ writes them, are no loss
