"""Forecast of a sweep, counted before it starts and without torch: fine-tunes, steps, passes over the model, hours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import psutil

from beft_core.architectures.layout import Layout
from beft_core.config import RunConfig
from beft_core.devices import gpu_bytes, queue_name
from beft_core.errors import UserError
from beft_core.presets import layout_here
from beft_core.sweeps import grouping
from beft_core.sweeps.planning import rates, work
from beft_core.sweeps.spec import SweepSpec
from beft_core.training.estimate.count import count_examples, count_steps, count_weights, judge_estimate
from beft_core.training.preconditions import stands_alone


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
    """Count the fine-tunes that one pass will most likely train together, of the kind that takes most: main memory is
    looked at, that of a GPU is not. How long prompts are is an estimate by their task
    (:func:`beft_core.sweeps.planning.work.longest`): whoever trains them counts the tokens that they have.

    Raises:
        UserError: settings that no run can have.
    """
    device = queue_name(RunConfig.from_dict(dict(spec.settings)).device)
    if device != "cpu" or layout is None:
        return grouping.MAX_AT_ONCE[device]
    kinds = spec.kinds()
    available, weights = psutil.virtual_memory().available, count_weights(kinds[0].model)
    free = grouping.beside_model(available, layout, kinds[0], device, weights)
    together = (run for run in kinds if run.method.shares_pass and not stands_alone(run, layout))
    return min((grouping.most_runs(layout, run, device, free, work.longest(run)) for run in together), default=1)


def _examples(run: RunConfig, rows: int | None) -> int | None:
    there = count_examples(dataclasses.replace(run, n_train=None, regime="all"), rows)
    if run.n_train is not None and there is not None and run.n_train > there:
        raise UserError(f"got {run.n_train:,} training examples of {run.task}", f"at most {there:,}", "regime all")
    return count_examples(run, rows)


@dataclass(frozen=True)
class Hours:
    """Forecast of the time that fine-tunes take on this machine, one after another or in passes as they come."""

    seconds: float | None
    """Seconds of them all; None where no sweep has been finished here yet, or the work cannot be counted."""
    source: str
    """Sentence on where the rate is from, or why there is none."""
    operations: float | None
    """Work of them all (:mod:`beft_core.sweeps.planning.work`)."""

    def in_words(self, cost_per_hour: float | None = None) -> str:
        """Write the forecast, with what it costs where an hour has a price."""
        if self.seconds is None:
            return self.source
        price = "" if cost_per_hour is None else f", {cost_of(self.seconds, cost_per_hour)}"
        return f"about {duration(self.seconds)}{price} ({self.source})"

    def judged(self, took: float, cost_per_hour: float | None = None) -> str:
        """Write how long it took in the end, beside the forecast where there was one."""
        price = "" if cost_per_hour is None else f" ({cost_of(took, cost_per_hour)})"
        if not self.seconds:  # none, or nothing to train
            return f"took {duration(took)}{price}"
        return f"took {duration(took)}{price}, forecast {duration(self.seconds)}: {judge_estimate(self.seconds, took)}"


def hours(runs: Iterable[RunConfig], workers: int = 1, model_weights: int | None = None) -> Hours:
    """Forecast the time of resolved fine-tunes of one model by what sweeps took on this machine before.

    ``workers``: how many devices are there for them; where there are fewer passes, the others are idle.
    ``model_weights``: of :func:`beft_core.sweeps.planning.work.weights`, for a model that is not on this machine.

    Raises:
        UserError: what is wrong with a table of the user's own.
    """
    configs = list(runs)
    if not configs:
        return Hours(0.0, "nothing to do", 0.0)
    operations = operations_of(configs, model_weights)
    if operations is None:
        return Hours(None, "not known before the model is here and every task can be counted", None)
    first = configs[0]
    machine = rates.Machine.of(first.device, first.precision, first.model)
    rate = rates.known(machine)
    if rate is None:
        return Hours(None, f"not known before a first sweep on this {machine.device} has ended", operations)
    source = "as fast as sweeps before" if rate.model == first.model else f"as fast as {rate.model} before"
    seconds = operations / rate.per_second / _at_work(configs, workers)
    return Hours(seconds, f"{source} on this {machine.device}", operations)


def _at_work(configs: Sequence[RunConfig], devices: int) -> int:
    """Count the devices that get a pass, of so many: a few fine-tunes of one kind are one pass, whatever is idle."""
    if devices <= 1:
        return 1
    first = configs[0]
    device, layout, memory = queue_name(first.device).partition(":")[0], layout_here(first.model), gpu_bytes()
    if device != "cuda" or layout is None or memory is None:
        return min(devices, len(grouping.group(configs, grouping.MAX_AT_ONCE[device], devices)))
    free = grouping.beside_model(memory, layout, first, device, count_weights(first.model))
    banks = grouping.group(
        configs, lambda run: grouping.most_runs(layout, run, device, free, work.longest(run)), devices
    )
    return min(devices, len(banks))


def operations_of(configs: Iterable[RunConfig], model_weights: int | None = None) -> float | None:
    """Count the work of resolved fine-tunes; None where something is not known.

    ``model_weights``: as :func:`hours` takes them.
    """
    sizes: dict[str, int | None] = {}
    examples: dict[tuple[object, ...], int | None] = {}
    total = 0.0
    for config in configs:
        if config.model not in sizes:
            layout = layout_here(config.model)
            sizes[config.model] = model_weights if layout is None else work.weights(layout)
        key = config.task, config.n_train, config.table, config.method.trains
        if key not in examples:
            examples[key] = count_examples(config)
            if examples[key] is None and config.train_file is None:
                examples[key] = work.text_size(config).train
        of_model = sizes[config.model]
        one = None if of_model is None else work.work(config, of_model, examples[key])
        if one is None:
            return None
        total += one
    return total


def learned(configs: Iterable[RunConfig], seconds: float, workers: int = 1) -> None:
    """Remember how long fine-tunes took that have just been trained, all of one model and device.

    ``workers``: how many devices of its kind were there for them, as of :func:`hours`; a rate is that of one.
    """
    trained = list(configs)
    operations = operations_of(trained)
    if trained and operations is not None:
        first = trained[0]
        machine = rates.Machine.of(first.device, first.precision, first.model)
        rates.learn(machine, operations, seconds * _at_work(trained, workers))


def require_price(per_hour: float | None) -> None:
    """Check the price of an hour.

    Raises:
        UserError: it is negative or no number.
    """
    if per_hour is not None and not (math.isfinite(per_hour) and per_hour >= 0):
        raise UserError(f"got --cost-per-hour {per_hour:g}", "a price of 0 or more", "--cost-per-hour 2.5")


def duration(seconds: float) -> str:
    """Write a duration: ``40 s``, ``12 min``, ``3.5 h``, ``4.1 days``."""
    for limit, unit, words in ((90.0, 1.0, "s"), (5400.0, 60.0, "min"), (172_800.0, 3600.0, "h")):
        if seconds < limit:
            value = seconds / unit
            return f"{value:.0f} {words}" if words != "h" or value >= 10 else f"{value:.1f} {words}"
    return f"{seconds / 86_400:.1f} days"


def cost_of(seconds: float, per_hour: float) -> str:
    """Write what a time costs, in the unit in which an hour's price was given."""
    return f"cost {seconds / 3600 * per_hour:,.2f}"
