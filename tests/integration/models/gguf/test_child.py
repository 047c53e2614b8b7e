"""A GGUF file of a small random Gemma 3, written as llama.cpp writes one, converted and opened as any other model."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_models import CONFIGS, HEADS, LAYERS
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from beft_core.errors import UserError
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.biases import add_zero_bias
from beft_core.models.gguf.convert import DONE, TRANSFORMERS
from beft_core.models.lm_head import LmHead
from beft_core.models.load import load_model
from beft_core.models.source import locate

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.skipif(
    tuple(map(int, transformers.__version__.split(".")[:2])) < TRANSFORMERS, reason="this release is refused"
)

TOKENS = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    *(f"<0x{n:02X}>" for n in range(256)),
    "▁",
    *string.ascii_letters,
    ".",
    ",",
]
SPECIAL, BYTE, NORMAL = 3, 6, 1


@pytest.fixture(scope="module")
def gemma() -> PreTrainedModel:
    model_type, values = CONFIGS["gemma3_text"]
    config = AutoConfig.for_model(
        model_type,
        **{
            **values,
            "vocab_size": len(TOKENS),
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
            "layer_types": None,  # a file does not say which layers see how far, nor this scale: both are as in Gemma
            "query_pre_attn_scalar": 256,
        },
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.randn(value.shape) * (0.2 if value.dim() == 1 else 0.05))
            assert "bias" not in name
    return model.eval()


def write(model: PreTrainedModel, file: Path, *, layers: int = LAYERS) -> None:
    """Write a file as llama.cpp does: norms with one added, the embedding in Q8_0, everything else in float32."""
    config = model.config
    writer = gguf.GGUFWriter(file, "gemma3")
    writer.add_name("made up")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
    writer.add_sliding_window(config.sliding_window)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([-float(n) for n in range(len(TOKENS))])
    writer.add_token_types([SPECIAL] * 5 + [BYTE] * 256 + [NORMAL] * (len(TOKENS) - 261))
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, LAYERS)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        stem, _, kind = name.rpartition(".")
        values = value.numpy() + 1 if "norm" in stem else value.numpy()
        where = f"{names.get_name(stem)}.{kind}"
        if "embed" in name:
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(where, gguf.quants.quantize(np.ascontiguousarray(values), q8), raw_dtype=q8)
        else:
            writer.add_tensor(where, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_file_is_converted_once_and_computes_what_the_model_computed(
    gemma: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    file = tmp_path / "tiny.gguf"
    write(gemma, file)
    with pytest.raises(UserError, match="not converted yet"):
        locate(str(file), local_only=True)
    model = load_model(str(file))
    assert "converting tiny.gguf, once" in capsys.readouterr().err
    assert (model.id, model.info.folder, model.layout.model_type) == ("tiny", str(file), "gemma3_text")
    about = json.loads((model.files / DONE).read_text())  # type: ignore[operator]
    assert 4 < about["nats_per_token"] < 6  # of random weights, near log(316)
    assert load_model(str(file), local_only=True).info.fingerprint == model.info.fingerprint
    assert ModelWeights(file).folder == model.files
    assert capsys.readouterr().err == ""

    ids = model.tokenizer("He said: it is.")["input_ids"]
    assert ids[0] == 2 and [TOKENS[n] for n in ids[1:4]] == ["H", "e", "▁"]
    given = {"input_ids": torch.tensor([ids])}
    with torch.no_grad():
        expected = gemma(**given).logits[0].log_softmax(-1)
        hidden = model.backbone(**given).last_hidden_state[0]
        found = LmHead.of(model).logits(hidden).log_softmax(-1)
        torch.testing.assert_close(found, expected, rtol=0, atol=0.02)  # 8 bits of the embedding, 11 of the rest
        add_zero_bias(model, "v")
        torch.testing.assert_close(model.backbone(**given).last_hidden_state[0], hidden, rtol=0, atol=0)

    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 100)
    with pytest.raises(UserError, match=r"tiny\.gguf: .* bytes, as its header says"):
        load_model(str(file))
    write(gemma, file, layers=LAYERS + 1)
    with pytest.raises(UserError, match=f"claims {LAYERS + 1} layers and has tensors of {LAYERS}"):
        load_model(str(file))
