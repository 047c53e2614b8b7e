"""Small snapshots in memory, for tests of everything that reads snapshots."""

from __future__ import annotations

from typing import Any

import numpy as np

from beft_core.snapshots.snapshot import Key, ModelInfo, Snapshot, SnapshotMeta, fingerprint

LAYERS, WIDTH = 3, 8


def base(seed: int = 0, terms: tuple[str, ...] = ("q", "k", "v"), stack: str = "encoder") -> dict[Key, np.ndarray]:
    """Pre-trained biases: float32 [LAYERS, WIDTH], twice as wide for mlp_in."""
    rng = np.random.default_rng(seed)
    return {
        (stack, term): rng.standard_normal((LAYERS, 2 * WIDTH if term == "mlp_in" else WIDTH)).astype(np.float32)
        for term in terms
    }


def example(
    seed: int = 1,
    *,
    pre: dict[Key, np.ndarray] | None = None,
    size: float = 0.3,
    full: bool = False,
    **meta: Any,
) -> Snapshot:
    """A fine-tune of `pre` (or `base()`) that moved every element; `full` adds all optional tensors."""
    pre = base() if pre is None else pre
    rng = np.random.default_rng(seed)
    post = {key: array + size * rng.standard_normal(array.shape).astype(np.float32) for key, array in pre.items()}
    details: dict[str, Any] = {
        "task": f"task{seed}",
        "trained_terms": tuple(dict.fromkeys(term for _, term in pre)),
        "null_elements": {},  # as the lab records a model that it certified
        "metric": "accuracy",
        "metrics": ({"epoch": 1, "train_loss": 0.5, "accuracy": 0.8},),
        **meta,
    }
    optional: dict[str, Any] = {}
    if full:
        task = details["task"]
        details.setdefault("heads", {task: {"kind": "classification", "labels": ["no", "yes"]}})
        optional = {
            "fisher": {key: rng.random(array.shape) for key, array in pre.items()},
            "fisher_batch": {key: rng.random(array.shape) for key, array in pre.items()},
            "fisher_tuned": {key: rng.random(array.shape) for key, array in pre.items()},
            "steps": {key: np.stack([array, post[key]]) for key, array in pre.items()},
            "trajectory_step": np.array([0, 10]),
            "extra": {
                f"extra.{task}.head.weight": rng.standard_normal((2, WIDTH)),
                f"extra.{task}.head.bias": rng.standard_normal(2),
                f"extra.{task}.pooler.bias": rng.standard_normal(WIDTH),
            },
        }
    model = ModelInfo("bundled", None, "bert", LAYERS, WIDTH, fingerprint(pre))
    return Snapshot.build(SnapshotMeta(model=model, **details), pre, post, **optional)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)
