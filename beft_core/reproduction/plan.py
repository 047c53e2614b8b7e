"""Plan of a reproduction: the sweeps that experiments need, what is missing for them, and how long they will take."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beft_core.comparison.entries import Entry
from beft_core.comparison.folder import ComparisonFolder
from beft_core.comparison.spec import ComparisonSpec
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.extras import install_command, require_methods, training_missing
from beft_core.methods import METHODS
from beft_core.models.source import locate
from beft_core.reports import paper
from beft_core.reproduction.experiments import (
    EXPERIMENTS,
    PROMPT,
    SMALL,
    TERMS,
    WEIGHTS,
    Comparing,
    Grid,
    Rehearsal,
    chosen,
    comparison_of,
    spec_of,
)
from beft_core.sweeps.forecast import Hours, hours
from beft_core.sweeps.planning import work
from beft_core.sweeps.planning.staging import Missing, missing_model, missing_task
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.tasks.registry import get_task
from beft_core.training.estimate.count import count_examples

MAX_SLUG = 60
"""Most characters of a model's name in that of a folder: its last ones."""
SWEEPS = "sweeps"
"""Name of the folder below the reproduction's that holds one sweep's folder for each step."""
OWN_SETTINGS: tuple[str, ...] = ("device", "precision", "pad", "compile")
"""Settings of a fine-tune that a user may choose: they change how it is computed, not what it is."""


@dataclass(frozen=True)
class Step:
    """Sweep of one grid on one model."""

    experiment: str
    """Name of the experiment, a key of :data:`beft_core.reproduction.experiments.EXPERIMENTS`."""
    grid: Grid | Comparing
    model: str
    """Name that ``--model`` takes."""
    paper_model: str
    """Model of the paper that it is, or stands in for."""
    folder: Path
    spec: SweepSpec | ComparisonSpec | None
    """Sweep, or comparison of methods, of what can run here; None: nothing can."""
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
    def is_alone(self) -> bool:
        """Whether its fine-tunes are shared with no other step: they are timed, or of a comparison."""
        return isinstance(self.grid, Comparing) or self.grid.alone

    @property
    def comparison(self) -> ComparisonSpec | None:
        """Comparison of methods that it is; None: a sweep, or nothing that can run."""
        return self.spec if isinstance(self.spec, ComparisonSpec) else None

    def finished(self) -> int:
        """Count its finished fine-tunes."""
        if not isinstance(self.grid, Comparing):
            return len(SweepFolder(self.folder).finished(self.wanted))
        folder = ComparisonFolder(self.folder)
        # Which rate is reported is not known before the trials have ended: what is there is what was planned.
        there = sum(len(one.rows_there()) for one in (folder.trials, folder.finals))
        return min(there, len(self.wanted))

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
        """Forecast the time of all that is to do, ready or not. ``workers``: how many devices work at once."""
        of_paper = None if self.step.is_other_model else WEIGHTS.get(self.step.paper_model)
        return hours([*self.ready, *self.waiting], workers, of_paper)


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
            if isinstance(step.grid, Comparing):
                count = step.finished()
                left = step.wanted[count:]
                runs: tuple[tuple[RunConfig, ...], tuple[RunConfig, ...]] = (left, ()) if step.spec else ((), left)
                found.append(Line(step, len(own), 0, count, *runs))
                continue
            new = [(name, run) for name, run in own if step.is_alone or name not in seen]
            if not step.is_alone:
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
                where = folder / SWEEPS / f"{name}-{number}-{_slug(model, models)}"
                steps.append(_step(name, grid, model, of_paper, where, known, rehearsal, seeds, settings or {}))
        for comparing in EXPERIMENTS[name].comparisons:
            for model, of_paper in _models(comparing, models):
                where = folder / SWEEPS / f"{name}-{_slug(model, models)}"
                steps += _comparisons(name, comparing, model, of_paper, where, known, rehearsal, seeds, settings or {})
    return Plan(experiments, folder, tuple(steps), rehearsal)


def _models(grid: Grid | Comparing, given: Sequence[str]) -> list[tuple[str, str]]:
    """List the models of a grid, each with the paper's that it is or stands in for."""
    if not given:
        return [(paper.models()[name], name) for name in grid.models]
    named = {model: paper.model_of(model) for model in dict.fromkeys(given)}
    return [(model, of if of in grid.models else grid.models[0]) for model, of in named.items()]


def _slug(name: str, others: Iterable[str] = ()) -> str:
    """Make a name for a folder. One that another name would have too gets a part of its digest."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[-MAX_SLUG:].strip("-") or "model"
    if all(_slug(other) != plain for other in others if other != name):
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


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
    lacks_model = known.model(model) or _without_terms(grid, model)
    if lacks_model is not None:
        missing.insert(0, lacks_model)
    if (error := training_missing()) is not None:
        missing.insert(0, Missing("the extra train", str(error), install_command()))
    whole = spec_of(grid, model, [stand_ins.get(task, task) for task in grid.tasks], settings, small=small, seeds=seeds)
    wanted = tuple(_with_epochs(run, of_paper) for run in whole.runs())
    can_run = bool(tasks) and lacks_model is None and error is None
    spec = spec_of(grid, model, tasks, settings, small=small, seeds=seeds) if can_run else None
    regimes = {} if small is None else dict(zip(small.sizes(grid), grid.regimes, strict=True))
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


def _without_terms(grid: Grid, model: str) -> Missing | None:
    """Say why a model that is here has not the biases that a grid trains; None where it has."""
    layout = locate(model, local_only=True).layout
    try:
        layout.require(sorted({term for what in grid.terms for term in what.split("+") if term in TERMS}))
    except UserError as lacking:
        return Missing(model, str(lacking), "another model")
    return None


def _comparisons(
    name: str,
    comparing: Comparing,
    model: str,
    of_paper: str,
    folder: Path,
    known: _Known,
    small: Rehearsal | None,
    seeds: int | None,
    settings: Mapping[str, Any],
) -> list[Step]:
    """Plan one comparison of methods for each task. In a rehearsal an encoder answers by heads instead of prompts."""
    lacks_model = known.model(model)
    answers = lacks_model is not None or locate(model, local_only=True).layout.lm is not None
    steps = []
    for asked in comparing.tasks:
        task = asked
        if small is not None and task.removeprefix(PROMPT) not in small.compared:
            continue
        missing = [] if lacks_model is None else [lacks_model]
        stand_ins: dict[str, str] = {}
        if not answers and small is None:
            unfit = "it is no language model, which prompts need"
            missing.append(Missing(model, unfit, "--model gemma-3-270m, or an OPT model"))
        elif not answers:
            task = task.removeprefix(PROMPT)
            stand_ins[asked] = task
        size = None if small is None else small.examples["low"]
        lack = known.task(task, size or get_task(task).regimes.get("low"))
        if lack is not None and small is not None and not answers:
            stand_ins[asked] = task = small.stand_ins[task]
        elif lack is not None:
            missing.append(lack)
        missing += [one for method in comparing.methods if (one := _without_methods(method)) is not None]
        if (error := training_missing()) is not None:
            missing.insert(0, Missing("the extra train", str(error), install_command()))
        spec = comparison_of(comparing, model, task, settings, small=small, seeds=seeds)
        wanted = tuple(_with_epochs(run, of_paper) for run in _fine_tunes(spec, task))
        where = folder.with_name(f"{folder.name}-{_slug(asked)}")
        can_run = spec if not missing else None
        steps.append(Step(name, comparing, model, of_paper, where, can_run, (), wanted, tuple(missing), stand_ins))
    return steps


def _without_methods(method: str) -> Missing | None:
    """Say that the library of a method is not installed; None where it is, or none is needed."""
    row = METHODS.get(method)
    if row is None or row.adapter is None:
        return None
    try:
        require_methods(method)
    except UserError:
        return Missing("the extra methods", "it trains LoRA and prefix tuning", install_command("methods"))
    return None


def _fine_tunes(spec: ComparisonSpec, task: str) -> list[RunConfig]:
    """List the fine-tunes of a comparison, as if the first rate of every method were its best."""
    entries = [entry for entry in spec.entries() if _applies(entry, task)]
    examples = count_examples(RunConfig(task=task, regime="all")) or work.SIZES[task.removeprefix(PROMPT)].train
    trials = spec.trials(entries, examples or work.UNKNOWN.validation).runs()
    first = {entry.trains: entry.lrs[0] for entry in entries if entry.lrs}
    return [*trials, *spec.finals(entries, first, spec.usual_rate()).runs()]


def _applies(entry: Entry, task: str) -> bool:
    """Say whether a method can be compared on a task: without training only prompts are answered."""
    return bool(entry.lrs) or get_task(task).prompt is not None
