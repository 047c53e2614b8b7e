"""Small fine-tunes without a tokenizer: random tokens for tiny random models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import VOCABULARY, tiny

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.registry import get_task
from beft_core.training import inputs
from beft_core.training.acceleration import session
from beft_core.training.acceleration.segment_attention import attends_plainly
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.plan import PassPlan
from beft_core.training.workflow import fit_bank

GROUPED = {"llama-bias"}
"""Several of whose query heads share the keys of one."""
CLASSIFICATION = dataclasses.replace(get_task("demo-sentiment"), name="toy")
REGRESSION = dataclasses.replace(get_task("demo-similarity"), name="toy")


def examples(n: int, seed: int, regression: bool = False, longest: int = 11) -> Encoded:
    """Random token rows of length 3 to ``longest`` with labels that depend on the tokens."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(3, VOCABULARY, rng.integers(3, longest + 1)) for _ in range(n)]
    score = np.array([row.mean() / VOCABULARY for row in ids])
    labels = score.astype(np.float32) * 5 if regression else (score > 0.5).astype(np.int64)
    return Encoded.of([row.astype(np.int64) for row in ids], None, labels)


def few_validation_examples(count: int) -> Callable[[RunConfig], TaskData]:
    """A ``load_data`` whose validation sets end after ``count`` examples."""
    whole = inputs.load_data

    def load(config: RunConfig) -> TaskData:
        data = whole(config)
        return dataclasses.replace(data, evals={name: part.take(range(count)) for name, part in data.evals.items()})

    return load


def toy_data(regression: bool = False) -> TaskData:
    """A task without texts: only its specification is used."""
    empty = Examples([], None, np.array([]))
    return TaskData(REGRESSION if regression else CLASSIFICATION, empty, {"validation": empty}, "made up")


def config(**changes: Any) -> RunConfig:
    """Two short epochs with dropout off, so that layouts and banks can be compared exactly."""
    values: dict[str, Any] = {
        "mode": "terms",
        "terms": ("v",),
        "epochs": 2,
        "lr": 1e-2,
        "batch_size": 4,
        "dropout": False,
        "schedule": "linear",
        "device": "cpu",
        "evaluate": "last",
        "regime": "all",
    }
    return RunConfig(**{**values, **changes}).resolved()


def fit(model: LoadedModel | str, *configs: RunConfig, regression: bool = False, **more: Any) -> list[Snapshot]:
    """Train runs in one bank on a fresh model (where it is given by name); each has its own examples by seed."""
    loaded = tiny(model, attn="sdpa", dtype=torch.float32) if isinstance(model, str) else model
    trained = fit_bank(
        loaded,
        toy_data(regression),
        configs,
        trains=more.pop("trains", [examples(c.n_train or 10, 100 + c.seed, regression) for c in configs]),
        evals={"validation": more.pop("validation", None) or examples(12, 7, regression)},
        **more,
    )
    return [one.snapshot if len(trained) > 1 else one.sound() for one in trained]


def attend_by_segments(patch: pytest.MonkeyPatch) -> list[str]:
    """Fine-tunes on this CPU attend as on a GPU; returns the types of the models that did."""
    served: list[str] = []

    def serve(model: LoadedModel, precision: Any) -> bool:
        served.append(model.layout.model_type)
        return attends_plainly(model)

    patch.setattr(session, "is_supported", serve)
    patch.setattr(session, "cpu_dropout", lambda backbone: nullcontext())  # it has an attention of its own
    return served


def few_heads(name: str) -> LoadedModel:
    """A model for kernels that are interpreted: they take their time for each head of each row."""
    return tiny(name, attn="sdpa", dtype=torch.float32, heads=None if name in GROUPED else 2)


def short(name: str, n: int = 3, longest: int = 6, **changes: Any) -> list[Snapshot]:
    """Two runs of two steps, where kernels are interpreted. With ``n`` 4 and ``longest`` 3 both have one shape."""
    settings = {"pad": "packed", "epochs": 1, "batch_size": 2, "evaluate": "never", **changes}
    runs = [config(**settings, seed=seed) for seed in (0, 1)]
    return fit(few_heads(name), *runs, trains=[examples(n, seed, longest=longest) for seed in (0, 1)])


def trace_layers(patch: pytest.MonkeyPatch) -> list[str]:
    """Layers are traced and differentiated as for a GPU, but run without a C++ compiler, which would take a minute;
    returns the classes of what was compiled. A second shape is traced again, for any, and takes twice as long.
    """
    compiled: list[str] = []
    real = torch.nn.Module.compile

    def trace(module: torch.nn.Module) -> None:
        compiled.append(type(module).__name__)
        real(module, backend="aot_eager")

    patch.setattr(torch.nn.Module, "compile", trace)
    return compiled


def difference(a: Snapshot, b: Snapshot) -> float:
    """Largest absolute difference of what two fine-tunes left."""
    pairs = [(a.post(*key), b.post(*key)) for key in a.keys()]  # noqa: SIM118
    pairs += [(a.extra[name], b.extra[name]) for name in a.extra]
    return max(float(np.abs(x - y).max()) for x, y in pairs)


def planned(rows: Sequence[Sequence[int]], width: int) -> PassPlan:
    """A pass with these examples in its rows."""
    return PassPlan(np.array([i for row in rows for i in row], np.int64), np.array([len(row) for row in rows]), width)
