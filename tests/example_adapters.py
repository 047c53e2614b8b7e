"""Files of fine-tunes that left an adapter and that nobody trained, on the bundled model."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot

SAMPLE = Path(__file__).parents[1] / "sample_snapshots" / "sst2-low-seed0-v-only.beft.safetensors"
SIZES: dict[str, dict[str, Any]] = {
    **{name: {"rank": 3} for name in ("lora", "dora", "vera")},
    **{name: {"virtual_tokens": 3} for name in ("prefix", "prompt-tuning")},
}
"""Numbers of the methods, small ones."""


@cache
def bundled() -> LoadedModel:
    """The bundled model, loaded once."""
    from beft_core.models.load import load_model

    return load_model()


def left(method: str, folder: Path, **changes: Any) -> Path:
    """Write a snapshot and its adapter, of random values, with the head of a sample on SST-2; returns the snapshot's
    file.
    """
    import torch

    from beft_core.training.methods.adapters import AdapterWeights

    sample = read_snapshot(SAMPLE)
    config = RunConfig(mode=method, terms=(), max_length=32, **SIZES.get(method, {}), **changes).resolved()
    weights = AdapterWeights(bundled(), config)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in weights.parameters():
            parameter += torch.normal(0.0, 0.2, parameter.shape, generator=draw)
    head = {name.removeprefix("extra.sst2."): value for name, value in sample.extra.items() if ".head." in name}
    adapter = weights.adapter(head)
    weights.take_out()
    values = {key: sample.pre(*key) for key in sample.keys()}  # noqa: SIM118
    meta = dataclasses.replace(
        sample.meta,
        mode=method,
        trained_terms=(),
        hyperparameters={"max_length": 32, "targets": list(config.targets or ()) or None, **SIZES.get(method, {})},
        provenance={"adapter": adapter.digest()},
    )
    snapshot = Snapshot.build(meta, values, values, extra={f"extra.sst2.{name}": value for name, value in head.items()})
    snapshot.adapter = adapter
    file = folder / f"{method}.beft.safetensors"
    write_snapshot(file, snapshot)
    return file
