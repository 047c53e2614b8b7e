"""Forecast of a sweep, counted before it starts and without torch: fine-tunes, steps, passes over the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import psutil

from beft_core.architectures.layout import Layout
from beft_core.config import RunConfig
from beft_core.devices import queue_name
from beft_core.errors import UserError
from beft_core.sweeps import grouping
from beft_core.sweeps.spec import SweepSpec
from beft_core.training.estimate.count import count_examples, count_steps


@dataclass(frozen=True)
class Forecast:
    """Forecast of what a sweep will take."""

    runs: tuple[RunConfig, ...]
    """Configurations of the sweep's fine-tunes, resolved."""
    steps: int | None
    """Number of optimizer steps of all fine-tunes together; None where only the Hub knows how many examples a task has
    or how large the model is.
    """
    banks: tuple[int, ...]
    """Number of fine-tunes that each pass trains together."""


def forecast(
    spec: SweepSpec, layout: Layout | None, most: int, rows: Mapping[str, int] = MappingProxyType({})
) -> Forecast:
    """Count what a sweep will take. ``layout``: of its model, where that is known; ``most``: of :func:`most_at_once`.

    ``rows``: task -> training examples of a table of the user's own, where they are known; others are read.

    Raises:
        UserError: settings that no run can have, terms that the model does not have, more examples than there are.
    """
    runs = spec.runs()
    if layout is not None:
        layout = layout.with_added(runs[0].add_bias)
        layout.require(sorted({term for run in runs if run.method.names_terms for term in run.terms}))
    sizes: dict[tuple[str, int | None], int | None] = {}
    total: int | None = 0
    for run in runs:
        key = run.task, run.n_train
        if key not in sizes:
            sizes[key] = _examples(run, rows.get(run.task))
        count = count_steps(run, sizes[key])
        total = None if total is None or count is None else total + count
    return Forecast(tuple(runs), total, tuple(map(len, grouping.group(runs, most))))


def most_at_once(spec: SweepSpec, layout: Layout | None) -> int:
    """Count the fine-tunes that one pass will most likely train together: main memory is looked at, that of a GPU is
    not.
    """
    config = RunConfig.from_dict(dict(spec.settings))
    device = queue_name(config.device)
    if device != "cpu" or layout is None:
        return grouping.MAX_AT_ONCE[device]
    return grouping.most_runs(layout, config, device, psutil.virtual_memory().available)


def _examples(run: RunConfig, rows: int | None) -> int | None:
    there = count_examples(dataclasses.replace(run, n_train=None, regime="all"), rows)
    if run.n_train is not None and there is not None and run.n_train > there:
        raise UserError(f"got {run.n_train:,} training examples of {run.task}", f"at most {there:,}", "regime all")
    return count_examples(run, rows)
