"""Made-up rows of a comparison of methods."""

from __future__ import annotations

from typing import Any

from beft_core.reports.methods.table import Comparison, comparison_of

LABELS = {"v": "b_v", "q": "b_q", "lora": "LoRA", "full": "every weight", "icl": "in-context learning"}


def row(method: str, value: float, **values: Any) -> dict[str, Any]:
    """Row of a method on SST-2 whose interval is three points to either side."""
    usual: dict[str, Any] = {
        "task": "sst2",
        "model": "bundled",
        "n_train": 1000,
        "n_eval": 872,
        "setting": "best",
        "method": method,
        "label": LABELS.get(method, method),
        "trains": method,
        "state": "done",
        "lr": 1e-3,
        "lr_low": 1e-4,
        "lr_high": 1e-2,
        "edge": "",
        "trials": "[[0.001, 0.8]]",
        "metric": "accuracy",
        "value": value,
        "spread": 0.01,
        "low": value - 0.03,
        "high": value + 0.03,
        "seeds": 3,
        "failed": 0,
        "values": f"[{value}]",
        "constant": 0.509,
        "at_chance": "yes" if value - 0.03 <= 0.509 else "no",
        "seeds_at_chance": 3 if value - 0.03 <= 0.509 else 0,
        "trained_parameters": 2304,
    }
    return usual | values


def comparison(*rows: dict[str, Any], pairs: tuple[dict[str, Any], ...] = ()) -> Comparison:
    return comparison_of(rows, pairs)
