"""Comparison of several runs: the settings in which they differ, what remains between seeds, and who is best where."""

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


@dataclass(frozen=True)
class Group:
    """Group of finished fine-tunes of one task, scored by one metric, of which more is better."""

    task: str
    metric: str
    trains: str | None
    """Description of what each of them trains; None for a group of whatever is trained."""
    runs: tuple[Overview, ...]
    """Runs, the best first; of equals the newer one."""
    mean: float
    table: str = ""
    """Path of the user's own table, which may have the name of another one; empty for a task of the lab."""

    @property
    def best(self) -> Overview:
        """Run with the largest value."""
        return self.runs[0]

    @property
    def varied(self) -> list[str]:
        """Names of the settings that are not the same in all of the runs, so that the mean is over them too."""
        return list(differences(self.runs))


def groups(runs: Sequence[Overview], *, trained: bool = False) -> list[Group]:
    """Group fine-tunes by task, with ``trained`` also by what they train; the tasks with most runs come first.

    Only single fine-tunes that are done and have a finite value count. Values of different tasks or metrics are never
    averaged, so a term has a group on each task.
    """
    found: dict[tuple[str, str, str], dict[str | None, list[tuple[float, Overview]]]] = {}
    for one in sorted(runs, key=lambda one: one.run, reverse=True):
        value = one.value
        if not one.row.single or one.status.state != "done" or value is None or not math.isfinite(value):
            continue
        # A table of the user may have the name of a task, or of another table.
        same = found.setdefault((one.task, str(one.metric), str(one.config.get("train_file") or "")), {})
        same.setdefault(one.trains if trained else None, []).append((value, one))
    listed = []
    for (task, metric, table), parts in sorted(
        found.items(), key=lambda item: (-sum(map(len, item[1].values())), item[0])
    ):
        made = [
            Group(
                task,
                metric,
                trains,
                tuple(one for _, one in sorted(scored, key=lambda pair: -pair[0])),
                fmean(value for value, _ in scored),
                table,
            )
            for trains, scored in parts.items()
        ]
        listed += sorted(made, key=lambda group: -group.mean)
    return listed


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
