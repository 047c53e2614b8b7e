"""Comparison of several runs: the settings in which they differ, and what remains between seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from beft_core.runs.overview import Overview


def effective(one: Overview) -> dict[str, Any]:
    """List the settings that a run works with: presets filled in, and without what it ignores."""
    return {"kind": one.kind, **one.row.settings(one.config)}


def differences(runs: Sequence[Overview]) -> dict[str, list[Any]]:
    """Find the settings that are not the same in all runs: name -> the value in each run; None: the run has no such
    one.
    """
    settings = [effective(one) for one in runs]
    names = dict.fromkeys(name for fields in settings for name in fields)
    columns = {name: [fields.get(name) for fields in settings] for name in names}
    return {name: values for name, values in columns.items() if len({_key(v) for v in values}) > 1}


@dataclass(frozen=True)
class Spread:
    """Group of runs that are equal but for the seed."""

    runs: tuple[Overview, ...]
    """Runs in the order of their seeds, one for each."""
    metric: str
    mean: float
    std: float
    """Standard deviation over seeds, with n - 1 in the denominator."""

    @property
    def seeds(self) -> list[int]:
        return [one.config["seed"] for one in self.runs]


def spreads(runs: Sequence[Overview]) -> list[Spread]:
    """Find the groups of at least two seeds among finished runs. Of two runs with the same seed the newer one
    counts.
    """
    groups: dict[str, dict[int, Overview]] = {}
    for one in sorted(runs, key=lambda one: one.run):
        seed = one.config.get("seed")
        if one.status.state == "done" and one.value is not None and math.isfinite(one.value) and isinstance(seed, int):
            fields: Mapping[str, Any] = {k: v for k, v in effective(one).items() if k != "seed"}
            groups.setdefault(_key(fields), {})[seed] = one
    found = []
    for by_seed in groups.values():
        members = tuple(by_seed[seed] for seed in sorted(by_seed))
        values = [one.value for one in members if one.value is not None]
        if len(members) > 1 and members[0].metric is not None:
            found.append(Spread(members, members[0].metric, fmean(values), stdev(values)))
    return found


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
