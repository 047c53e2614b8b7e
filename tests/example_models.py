"""Model folders of a small BERT, as files: nothing that loads it is needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN, MLP, LAYERS = 8, 12, 2
BERT = {
    "model_type": "bert",
    "hidden_size": HIDDEN,
    "num_attention_heads": 2,
    "num_hidden_layers": LAYERS,
    "intermediate_size": MLP,
}
PATHS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "mlp_in": "intermediate.dense",
    "mlp_out": "output.dense",
    "ln1": "attention.output.LayerNorm",
    "ln2": "output.LayerNorm",
}


def bert_tensors(seed: int = 0, prefix: str = "bert.", norm: str = "bias") -> dict[str, np.ndarray]:
    """All biases of a small BERT, and a weight that must not be read."""
    rng = np.random.default_rng(seed)
    weight = f"{prefix}encoder.layer.0.attention.self.value.weight"
    tensors = {weight: np.full((HIDDEN, HIDDEN), np.nan, np.float32)}
    for layer in range(LAYERS):
        for term, path in PATHS.items():
            kind = norm if term.startswith("ln") else "bias"
            width = MLP if term == "mlp_in" else HIDDEN
            name = f"{prefix}encoder.layer.{layer}.{path}.{kind}"
            tensors[name] = rng.standard_normal(width).astype(np.float32)
    return tensors


def write_model(folder: Path, tensors: dict[str, np.ndarray], config: dict | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config or BERT))
    return folder
