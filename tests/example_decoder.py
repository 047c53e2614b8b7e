"""Folder of a tiny decoder with random weights and a tokenizer of bytes, as save_pretrained writes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta

BEGIN, END = "<s>", "</s>"
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "initializer_range": 0.3,
}


def write_decoder(folder: Path, seed: int = 0, **sizes: int) -> Path:
    """A Llama, which has no biases: 2 layers of 32, one token for each byte; wide weights, so that texts differ.

    ``sizes``: fields of its configuration instead of :data:`SIZES`.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = [BEGIN, END, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokens.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokens.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token=BEGIN, eos_token=END).save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=len(words), bos_token_id=0, eos_token_id=1, pad_token_id=None, **SIZES | sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_reviews(file: Path, rows: int = 40) -> Path:
    """A table of short reviews with a verdict and a word of praise, as JSONL."""
    lines = [
        {"review": f"film {i} was {word}", "verdict": verdict, "why": "ok"}
        for i in range(rows)
        for word, verdict in [("so good", "pos") if i % 3 else ("too long", "neg")]
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def write_copa(folder: Path, rows: int = 5) -> None:
    """COPA below a folder, in its official layout: one made-up question, several times."""
    (folder / "COPA").mkdir(parents=True)
    row = '{"premise": "It rained.", "choice1": "We left.", "choice2": "I slept.", "question": "effect", "label": 0}\n'
    for name in ("train.jsonl", "val.jsonl"):
        (folder / "COPA" / name).write_text(row * rows)


def write_varied_copa(folder: Path, rows: int) -> None:
    """COPA in its official layout, as :func:`write_copa`, of made-up questions that differ, either answer in turn."""
    (folder / "COPA").mkdir(parents=True)
    made = (
        {
            "premise": f"It rained {n} times.",
            "choice1": f"We left {7 * n}.",
            "choice2": f"I slept {n}.",
            "question": "effect",
            "label": n % 2,
        }
        for n in range(rows)
    )
    text = "".join(json.dumps(row) + "\n" for row in made)
    for name in ("train.jsonl", "val.jsonl"):
        (folder / "COPA" / name).write_text(text)


def asked_fine_tune(
    model: Any,
    term: str = "v",
    seed: int = 0,
    candidates: tuple[str, ...] = (),
    size: float = 3.0,
    task: str = "asks",
) -> Snapshot:
    """A fine-tune, that nobody trained, of a bias that is added to a loaded decoder.

    Its task has the prompt "{x} It was", and free text as its answer unless there are candidates.
    """
    from beft_core.models.biases import add_zero_bias

    add_zero_bias(model, term)
    slots = model.layout.slots_of(term)
    pre = np.zeros((len(slots), slots[0].width), np.float32)
    post = np.random.default_rng(seed).normal(0, size, pre.shape).astype(np.float32)
    prompt = {"template": "{x} It was", "label": "y", "candidates": list(candidates), "candidates_column": None}
    head = {"kind": "text", "labels": None, "objective": "generation", "prompt": prompt}
    if candidates:
        head |= {"kind": "classification", "labels": list(candidates), "objective": "candidates"}
    meta = SnapshotMeta(
        model.info,
        task,
        trained_terms=(term,),
        heads={task: head},
        hyperparameters={"add_bias": [term], "max_length": 512},
    )
    return Snapshot.build(meta, {("decoder", term): pre}, {("decoder", term): post})
