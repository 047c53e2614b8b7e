"""Plan of a reproduction: the sweeps that experiments need, what is missing for them, and how long they will take."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.extras import install_command, training_missing
from beft_core.models.source import locate
from beft_core.reports import paper
from beft_core.reproduction.experiments import EXPERIMENTS, SMALL, WEIGHTS, Grid, Rehearsal, chosen, spec_of
from beft_core.sweeps.forecast import Hours, hours
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.staging import Missing, missing_model, missing_task
from beft_core.sweeps.store import SweepFolder
from beft_core.tasks.registry import get_task

SWEEPS = "sweeps"
"""Name of the folder below the reproduction's that holds one sweep's folder for each step."""
OWN_SETTINGS: tuple[str, ...] = ("device", "precision", "pad", "compile")
"""Settings of a fine-tune that a user may choose: they change how it is computed, not what it is."""


@dataclass(frozen=True)
class Step:
    """Sweep of one grid on one model."""

    experiment: str
    """Name of the experiment, a key of :data:`beft_core.reproduction.experiments.EXPERIMENTS`."""
    grid: Grid
    model: str
    """Name that ``--model`` takes."""
    paper_model: str
    """Model of the paper that it is, or stands in for."""
    folder: Path
    spec: SweepSpec | None
    """Grid of what can run here; None: nothing can."""
    runs: tuple[RunConfig, ...]
    """Fine-tunes of that grid, resolved."""
    wanted: tuple[RunConfig, ...]
    """Fine-tunes of the whole grid, also those that lack a model or data."""
    missing: tuple[Missing, ...]
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    """Task of the lab's own by the task of the paper whose data are not here."""
    regimes: Mapping[int, str] = field(default_factory=dict)
    """Regime that a number of training examples of a rehearsal stands for."""

    @property
    def is_other_model(self) -> bool:
        """Whether the model is not the paper's."""
        return paper.model_of(self.model) != self.paper_model


@dataclass(frozen=True)
class Line:
    """Line of a plan: what one step will do."""

    step: Step
    fine_tunes: int
    """Number of fine-tunes of the whole grid."""
    shared: int
    """Number of them that a step before it trains, too."""
    finished: int
    """Number of the others that are finished."""
    ready: tuple[RunConfig, ...]
    """Fine-tunes to do for which everything is here."""
    waiting: tuple[RunConfig, ...]
    """Fine-tunes to do that lack a model or data."""

    def hours(self, workers: int = 1) -> Hours:
        """Forecast the time of all that is to do, ready or not."""
        return hours([*self.ready, *self.waiting], workers, WEIGHTS.get(self.step.paper_model))


@dataclass(frozen=True)
class Plan:
    """Everything that a reproduction will do."""

    experiments: tuple[str, ...]
    folder: Path
    steps: tuple[Step, ...]
    small: Rehearsal | None

    @property
    def missing(self) -> tuple[Missing, ...]:
        """List what is missing, each once."""
        return tuple(dict.fromkeys(one for step in self.steps for one in step.missing))

    def lines(self) -> list[Line]:
        """Count what each step must train itself: neither finished nor trained by a step before it."""
        seen: set[str] = set()
        found = []
        for step in self.steps:
            own = [(identity(run), run) for run in step.wanted]
            new = [(name, run) for name, run in own if step.grid.alone or name not in seen]
            if not step.grid.alone:
                seen |= {name for name, _ in own}
            done = SweepFolder(step.folder).finished(run for _, run in new)
            here = {identity(run) for run in step.runs}
            to_do = [(name, run) for name, run in new if name not in done]
            ready = tuple(run for name, run in to_do if name in here)
            waiting = tuple(run for name, run in to_do if name not in here)
            found.append(Line(step, len(own), len(own) - len(new), len(done), ready, waiting))
        return found


def plan(
    names: Iterable[str],
    folder: Path,
    *,
    models: Sequence[str] = (),
    small: bool = False,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan the experiments of some names. Nothing is downloaded, and nothing heavy imported.

    Args:
        names: keys of :data:`beft_core.reproduction.experiments.EXPERIMENTS`, or ``all``.
        folder: where their sweeps lie, and what they end in.
        models: stand in for all of the paper's, every grid on each of them.
        small: a rehearsal.
        seeds: how many of each fine-tune, instead of the experiment's.
        settings: some of :data:`OWN_SETTINGS`.

    Raises:
        UserError: a name, a model or a setting that there is not.
    """
    experiments = chosen(names)
    rehearsal = SMALL if small else None
    known = _Known()
    steps = []
    for name in experiments:
        for number, grid in enumerate(EXPERIMENTS[name].grids, 1):
            for model, of_paper in _models(grid, models):
                where = folder / SWEEPS / f"{name}-{number}-{_slug(model)}"
                steps.append(_step(name, grid, model, of_paper, where, known, rehearsal, seeds, settings or {}))
    return Plan(experiments, folder, tuple(steps), rehearsal)


def _models(grid: Grid, given: Sequence[str]) -> list[tuple[str, str]]:
    """List the models of a grid, each with the paper's that it is or stands in for."""
    if not given:
        return [(paper.models()[name], name) for name in grid.models]
    named = {model: paper.model_of(model) for model in dict.fromkeys(given)}
    return [(model, of if of in grid.models else grid.models[0]) for model, of in named.items()]


def _slug(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", model).strip("-")[-60:] or "model"


class _Known:
    """What was found out about models and tasks, each once."""

    def __init__(self) -> None:
        self._models: dict[str, Missing | None] = {}
        self._tasks: dict[tuple[str, int | None], Missing | None] = {}

    def model(self, name: str) -> Missing | None:
        if name not in self._models:
            self._models[name] = missing_model(name)
        return self._models[name]

    def task(self, name: str, wanted: int | None) -> Missing | None:
        key = name, wanted
        if key not in self._tasks:
            self._tasks[key] = missing_task(name, wanted)
        return self._tasks[key]


def _step(
    name: str,
    grid: Grid,
    model: str,
    of_paper: str,
    folder: Path,
    known: _Known,
    small: Rehearsal | None,
    seeds: int | None,
    settings: Mapping[str, Any],
) -> Step:
    tasks: list[str] = []
    missing: list[Missing] = []
    stand_ins: dict[str, str] = {}
    for task in grid.tasks:
        lack = known.task(task, _most_examples(grid, task, small))
        if lack is None:
            tasks.append(task)
        elif small is not None and task in small.stand_ins:
            stand_ins[task] = small.stand_ins[task]
            tasks.append(stand_ins[task])
        else:
            missing.append(lack)
    lacks_model = known.model(model) or _unfit(grid, model)
    if lacks_model is not None:
        missing.insert(0, lacks_model)
    if (error := training_missing()) is not None:
        missing.insert(0, Missing("the extra train", str(error), install_command()))
    whole = spec_of(grid, model, [stand_ins.get(task, task) for task in grid.tasks], settings, small=small, seeds=seeds)
    wanted = tuple(_with_epochs(run, of_paper) for run in whole.runs())
    can_run = bool(tasks) and lacks_model is None and error is None
    spec = spec_of(grid, model, tasks, settings, small=small, seeds=seeds) if can_run else None
    shown = [grid.shown_as or regime for regime in grid.regimes]
    regimes = {} if small is None else dict(zip(small.sizes(grid), shown, strict=True))
    runs = () if spec is None else tuple(spec.runs())
    return Step(name, grid, model, of_paper, folder, spec, runs, wanted, tuple(missing), stand_ins, regimes)


def _with_epochs(run: RunConfig, of_paper: str) -> RunConfig:
    """Fill in the authors' epochs where they depend on a model that is not here, but is one of the paper's."""
    if run.epochs is not None:
        return run
    task = get_task(run.task)
    return dataclasses.replace(
        run, epochs=task.epochs if of_paper == "BERT-base" else task.epochs_larger or task.epochs
    )


def _most_examples(grid: Grid, task: str, small: Rehearsal | None) -> int | None:
    """Number of training examples of the largest regime of a grid that has a number."""
    if small is not None:
        return max(small.sizes(grid))
    sizes = [get_task(task).regimes.get(regime) for regime in grid.regimes]
    return max((size for size in sizes if size is not None), default=None)


def _unfit(grid: Grid, model: str) -> Missing | None:
    """Say why a model that is here cannot answer a grid's prompts, or has not the biases that it trains."""
    layout = locate(model, local_only=True).layout
    if any(get_task(task).prompt is not None for task in grid.tasks) and layout.lm is None:
        return Missing(model, "it is no language model, which prompts need", "--model gemma-3-270m, or an OPT model")
    try:
        layout.require(sorted({term for what in grid.terms for term in what.split("+") if term in ("v", "q", "k")}))
    except UserError as lacking:
        return Missing(model, str(lacking), "another model")
    return None
