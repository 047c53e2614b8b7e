"""Made-up fine-tunes that fit together, under the names that the page Merge begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_up_samples import write_index

from beft_core.snapshots.snapshot import ModelInfo, Snapshot, SnapshotMeta, fingerprint, write_snapshot

LAYERS, WIDTH = 6, 16
PAIR = {
    "demo-sentiment-low-seed0-v-only": "Sentiment, b_v",
    "demo-similarity-low-seed0-v-only": "Similarity, b_v",
}
MORE = {"third": "Entailment, b_v", "probe-of-all": "Sentiment, all", "foreign": "Another base", "q-only": "b_q only"}


def fine_tune(task: str, seed: int, terms: tuple[str, ...] = ("v",), base: int = 0) -> Snapshot:
    """A fine-tune with a head; those of one `base` can be merged where they share terms."""
    pre = {("encoder", term): _normal(base, LAYERS, WIDTH) for term in ("q", "v")}
    post = {
        key: array + 0.4 * _normal(100 * seed + at, LAYERS, WIDTH) * (key[1] in terms)
        for at, (key, array) in enumerate(pre.items())
    }
    meta = SnapshotMeta(
        model=ModelInfo("bundled", None, "bert", LAYERS, WIDTH, fingerprint(pre)),
        task=task,
        n_train=300,
        trained_terms=terms,
        hyperparameters={"max_length": 64},
        seed=seed,
        metric="accuracy",
        metrics=({"epoch": 1, "accuracy": 0.8},),
        heads={task: {"kind": "classification", "labels": ["no", "yes"]}},
    )
    head = {f"extra.{task}.head.weight": _normal(seed, 2, WIDTH), f"extra.{task}.head.bias": np.zeros(2, np.float32)}
    return Snapshot.build(meta, pre, post, extra=head)


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def write_pair(folder: Path) -> None:
    """The two samples of the first look, and others."""
    made = {
        "demo-sentiment-low-seed0-v-only": fine_tune("demo-sentiment", 1),
        "demo-similarity-low-seed0-v-only": fine_tune("demo-similarity", 2),
        "third": fine_tune("demo-entailment", 3),
        "probe-of-all": fine_tune("demo-sentiment", 4, ("q", "v")),
        "foreign": fine_tune("demo-similarity", 5, base=9),
        "q-only": fine_tune("demo-similarity", 6, ("q",)),
    }
    for name, snapshot in made.items():
        write_snapshot(folder / f"{name}.beft.safetensors", snapshot)
    write_index(folder, PAIR | MORE)
