"""Runs on disk, for tests of everything that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from beft_core.config import RunConfig
from beft_core.runs.run import Run
from beft_core.runs.status import Status


def made(root: Path, value: float | None = 0.5, kind: str = "train", state: str = "done", **config: Any) -> Run:
    run = Run.create(kind, RunConfig(**config).to_dict(), root)
    if value is not None:
        tell(run, {"type": "epoch", "run": 0, "epoch": 2, "step": 9, "train_loss": 0.3, "accuracy": value, "f1": 0.1})
    run.write_status(Status(state, created=1.0, began=2.0, ended=5.5))
    return run


def tell(run: Run, *records: dict[str, Any]) -> None:
    with run.metrics.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
