"""Tiny random models of every architecture, from their real configuration classes."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from beft_core.models.biases import LoadedModel
from beft_core.models.load import wrap

HEADS, HEAD_DIM, LAYERS, VOCABULARY = 4, 8, 2, 60
HIDDEN = HEADS * HEAD_DIM

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_BERT = {**_SIZES, "type_vocab_size": 2}
_DECODER = {**_SIZES, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}
_GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": HIDDEN,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": 64,
    "n_inner": 48,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_DEBERTA = {**_BERT, "relative_attention": True, "position_buckets": 8, "max_relative_positions": 32}
_GEMMA = {
    **_DECODER,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"],
}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", _BERT),
    "roberta": ("roberta", _BERT),
    "electra": ("electra", {**_BERT, "embedding_size": 16}),
    "distilbert": (
        "distilbert",
        {"vocab_size": VOCABULARY, "dim": HIDDEN, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": 48},
    ),
    "albert": ("albert", {**_BERT, "embedding_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 2}),
    "deberta-v2": ("deberta-v2", {**_DEBERTA, "pos_att_type": ["c2p", "p2c"], "norm_rel_ebd": "layer_norm"}),
    "deberta-v2-shared": (
        "deberta-v2",
        {**_DEBERTA, "pos_att_type": "p2c|c2p", "share_att_key": True, "position_biased_input": False},
    ),
    "deberta-v2-c2p": ("deberta-v2", {**_DEBERTA, "pos_att_type": ["c2p"]}),
    "deberta": ("deberta", {**_DEBERTA, "pos_att_type": ["c2p", "p2c"]}),
    "opt": ("opt", {**_DECODER, "ffn_dim": 48, "word_embed_proj_dim": HIDDEN, "pad_token_id": 0}),
    "gpt2": ("gpt2", _GPT2),
    "gptj": ("gptj", {**_GPT2, "rotary_dim": 4}),
    "gpt_neox": ("gpt_neox", {**_DECODER, "rotary_pct": 0.5}),
    "gpt_neox-no-bias": ("gpt_neox", {**_DECODER, "attention_bias": False}),
    "bloom": (
        "bloom",
        {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "n_layer": LAYERS, "n_head": HEADS},
    ),
    "qwen2": ("qwen2", {**_DECODER, "num_key_value_heads": 2}),
    "qwen2-sliding": (
        "qwen2",
        {
            **_DECODER,
            "num_key_value_heads": 2,
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 1,
        },
    ),
    "llama": ("llama", {**_DECODER, "num_key_value_heads": 2}),
    "llama-bias": (
        "llama",
        {**_DECODER, "num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True, "head_dim": 16},
    ),
    "mistral": ("mistral", {**_DECODER, "num_key_value_heads": 2, "sliding_window": 4}),
    "qwen3": ("qwen3", {**_DECODER, "num_key_value_heads": 2, "head_dim": 16}),
    "qwen3-bias": (
        "qwen3",
        {
            **_DECODER,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 1,
        },
    ),
    "gemma": ("gemma", {**_DECODER, "num_key_value_heads": 1, "head_dim": 16}),
    "gemma2": ("gemma2", {**_GEMMA, "final_logit_softcapping": 3.0}),
    "gemma3_text": ("gemma3_text", _GEMMA),
    "gemma3_text-bias": ("gemma3_text", {**_GEMMA, "attention_bias": True, "num_key_value_heads": 2}),
    "falcon-multi-query": ("falcon", {**_DECODER, "multi_query": True, "bias": True}),
    "falcon-heads": (
        "falcon",
        {**_DECODER, "multi_query": False, "bias": True, "alibi": True, "parallel_attn": False},
    ),
    "falcon-grouped": (
        "falcon",
        {**_DECODER, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True},
    ),
    "phi3": ("phi3", {**_DECODER, "num_key_value_heads": 2, "sliding_window": 4}),
    "modernbert": (
        "modernbert",
        {
            **_SIZES,
            "num_hidden_layers": 4,
            "global_attn_every_n_layers": 2,
            "local_attention": 6,
            "attention_bias": True,
            "mlp_bias": True,
            "norm_bias": True,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "cls_token_id": 1,
            "sep_token_id": 2,
        },
    ),
    "modernbert-no-bias": (
        "modernbert",
        {
            **_SIZES,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "cls_token_id": 1,
            "sep_token_id": 2,
        },
    ),
    "vit": (
        "vit",
        {
            "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "intermediate_size": 48,
            "image_size": 12,
            "patch_size": 4,
        },
    ),
}
"""Name -> (model type, configuration)."""

KEY_ACTS = {
    "deberta-v2",
    "deberta-v2-shared",
    "gptj",
    "gpt_neox",
    "gpt_neox-no-bias",
    "qwen2",
    "qwen2-sliding",
    "llama",
    "llama-bias",
    "mistral",
    "qwen3",
    "qwen3-bias",
    "gemma",
    "gemma2",
    "gemma3_text",
    "gemma3_text-bias",
    "falcon-multi-query",
    "falcon-grouped",
    "phi3",
    "modernbert",
    "modernbert-no-bias",
}
"""Tiny models whose key bias changes the attention."""


def tiny(
    name: str, *, attn: str = "eager", dtype: torch.dtype = torch.float64, seed: int = 0, heads: int | None = None
) -> LoadedModel:
    """A random model in which every parameter, biases included, is far from zero. ``heads``: other than HEADS."""
    model_type, values = CONFIGS[name]
    config = AutoConfig.for_model(model_type, **values)
    if heads is not None:
        config.num_attention_heads = heads
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        supported = attn if model_type not in ("bloom", "gptj", "deberta", "deberta-v2", "gemma2") else "eager"
        backbone = AutoModel.from_config(config, attn_implementation=supported, dtype=dtype)
        with torch.no_grad():
            for parameter_name, parameter in backbone.named_parameters():
                noise = torch.randn(parameter.shape, dtype=torch.float64)
                if parameter.dim() == 1 and parameter_name.endswith("weight"):
                    parameter.copy_(1 + 0.1 * noise)  # LayerNorm
                elif parameter.dim() == 1:
                    parameter.copy_(0.5 * noise)
                else:
                    parameter.copy_(noise / parameter.shape[-1] ** 0.5)
    return wrap(backbone.to(dtype), id=f"tiny-{name}")


def inputs(model: LoadedModel, *, rows: int = 2, tokens: int = 9, seed: int = 1) -> dict[str, torch.Tensor]:
    """Random token ids (no padding), or random pixels."""
    generator = torch.Generator().manual_seed(seed)
    dtype = next(model.backbone.parameters()).dtype
    if model.layout.model_type == "vit":
        return {"pixel_values": torch.randn(rows, 3, 12, 12, generator=generator, dtype=torch.float64).to(dtype)}
    ids = torch.randint(3, VOCABULARY, (rows, tokens), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


class Words:
    """A tokenizer of a made-up language whose words are numbers."""

    def __call__(self, text: str, pair: str = "", truncation: bool = False, max_length: int = 0, **_: Any) -> Any:
        ids = [int(word) for word in f"{text} {pair}".split()]
        ids = ids[:max_length] if truncation else ids
        return (
            {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
            if truncation
            else {"input_ids": ids}
        )

    def decode(self, ids: list[int]) -> str:
        return f"w{ids[0]}"


def tiny_with_words(name: str) -> LoadedModel:
    """A tiny model with a tokenizer of words."""
    model = tiny(name, dtype=torch.float32)
    model.tokenizer = Words()  # type: ignore[assignment]
    return model
