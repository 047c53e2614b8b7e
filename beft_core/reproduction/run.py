"""Runner of a reproduction: one sweep after another, each fine-tune once, and nothing lost where one cannot run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.reproduction.experiments import EXPERIMENTS
from beft_core.reproduction.plan import Plan, Step
from beft_core.snapshots.snapshot import SUFFIX
from beft_core.sweeps.forecast import learned
from beft_core.sweeps.spec import identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer
from beft_core.training.preconditions import require_data

if TYPE_CHECKING:
    from beft_core.sweeps.runner import SweepResult


@dataclass(frozen=True)
class Outcome:
    """What a call of :func:`run` did."""

    trained: int
    """Number of fine-tunes that it trained."""
    failed: int
    """Number of fine-tunes of the plan that failed, because a value was not finite or memory ran out."""
    seconds: float
    """Seconds that its sweeps took."""
    errors: dict[str, str]
    """Steps that could not run, by the name of their folder: why, in words."""
    stopped: bool
    """Whether it was asked to stop."""


def run(plan: Plan, observer: Observer, *, bank_size: int | None = None) -> Outcome:
    """Train what a plan lacks and can run. What cannot run is said and left; what is finished is not done again.

    ``bank_size``: most fine-tunes in one pass; None: from free memory.
    """
    trained = failed = 0
    seconds = 0.0
    errors: dict[str, str] = {}
    stopped = False
    for number, step in enumerate(plan.steps, 1):
        if step.spec is None:
            continue
        folder = SweepFolder(step.folder)
        title = f"{EXPERIMENTS[step.experiment].title} on {step.model}"
        observer.message(f"{title} ({number} of {len(plan.steps)})")
        try:
            if not step.grid.alone:
                _adopt(step, plan.steps[: number - 1])
            to_do = _unfinished(step)
            if to_do or (step.spec.merges and not folder.merges.is_file()):
                result = _sweep(step, folder, observer, 1 if step.grid.alone else bank_size)
                trained, seconds, stopped = trained + result.trained, seconds + result.seconds, result.stopped
                if not (stopped or step.grid.alone):
                    learned(to_do, result.seconds)
            failed += sum(row.get("state") == "failed" for row in folder.finished(step.runs).values())
        except UserError as error:
            errors[step.folder.name] = str(error)
            observer.message(f"{title}: {error}")
        if stopped:
            break
    return Outcome(trained, failed, seconds, errors, stopped)


def _sweep(step: Step, folder: SweepFolder, observer: Observer, bank_size: int | None) -> SweepResult:
    assert step.spec is not None
    observer.stage("load data")
    require_data(_unfinished(step))
    folder.prepare()
    observer.stage("start PyTorch")
    from beft_core.sweeps.runner import run_sweep

    return run_sweep(step.spec, folder, observer, bank_size=bank_size)


def _unfinished(step: Step) -> list[RunConfig]:
    done = SweepFolder(step.folder).finished(step.runs)
    return [one for one in step.runs if identity(one) not in done]


def _adopt(step: Step, before: Sequence[Step]) -> None:
    """Take over fine-tunes that an earlier step has finished: the same configuration is the same fine-tune.

    Those that leave an adapter beside their snapshot are trained again.
    """
    wanted = [one for one in _unfinished(step) if one.method.adapter is None]
    if not wanted or step.spec is None:
        return
    folder = SweepFolder(step.folder)
    for other in before:
        if other.grid.alone or other.model != step.model:
            continue
        theirs = SweepFolder(other.folder)
        found = {name: row for name, row in theirs.finished(wanted).items() if row.get("state") == "done"}
        if not found:
            continue
        folder.begin(folder.continued(step.spec.pinned()))
        for name, row in found.items():
            _link(theirs.snapshot(name), folder.snapshot(name))
            folder.save(row, None)
        wanted = [one for one in wanted if identity(one) not in found]


def _link(source: Path, target: Path) -> None:
    """Put a snapshot in a second place, without a copy where the file system can. One that is gone stays gone."""
    assert target.name.endswith(SUFFIX)
    with suppress(FileNotFoundError):
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, target)
