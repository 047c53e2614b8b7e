"""Runner of a reproduction: one sweep after another, each fine-tune once, and nothing lost where one cannot run."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from beft_core.comparison.folder import RECORD, ComparisonFolder
from beft_core.comparison.plan import plan as plan_comparison
from beft_core.comparison.spec import ComparisonSpec
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.fleet import sweep_here
from beft_core.files.safe_io import read_json_file
from beft_core.reports.methods.table import NAME as METHODS_NAME
from beft_core.reproduction.experiments import EXPERIMENTS
from beft_core.reproduction.plan import Plan, Step
from beft_core.snapshots.snapshot import SUFFIX
from beft_core.sweeps.forecast import learned
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer
from beft_core.training.preconditions import require_data

if TYPE_CHECKING:
    from beft_core.comparison.runner import Compared
    from beft_core.sweeps.sharing.result import SweepResult


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
        task = f", {step.comparison.task_name}" if step.comparison is not None else ""
        title = f"{EXPERIMENTS[step.experiment].title} on {step.model}{task}"
        observer.message(f"{title} ({number} of {len(plan.steps)})")
        try:
            if isinstance(step.spec, ComparisonSpec):
                if not _is_compared(step.spec, step.folder):
                    began = time.monotonic()
                    result = _compare(step.spec, step.folder, observer, bank_size)
                    trained, stopped = trained + result.trained, result.stopped
                    seconds += time.monotonic() - began
                if stopped:
                    break
                continue
            if not step.is_alone:
                _adopt(step, plan.steps[: number - 1])
            to_do = _unfinished(step)
            if to_do or (step.spec.merges and not folder.merges.is_file()):
                swept = _sweep(step, folder, observer, 1 if step.is_alone else bank_size)
                trained, seconds, stopped = trained + swept.trained, seconds + swept.seconds, swept.stopped
                # What other workers trained meanwhile took none of these seconds.
                if not (stopped or step.is_alone) and swept.trained == len(to_do):
                    learned(to_do, swept.seconds)
            failed += sum(row.get("state") == "failed" for row in folder.finished(step.runs).values())
        except UserError as error:
            errors[step.folder.name] = str(error)
            observer.message(f"{title}: {error}")
        if stopped:
            break
    return Outcome(trained, failed, seconds, errors, stopped)


def _sweep(step: Step, folder: SweepFolder, observer: Observer, bank_size: int | None) -> SweepResult:
    assert isinstance(step.spec, SweepSpec)
    observer.stage("load data")
    require_data(_unfinished(step))
    folder.prepare()
    # What is timed has one device for itself; all else takes every GPU of this machine.
    return sweep_here(step.spec, folder, observer, bank_size=bank_size, workers=1 if step.is_alone else None)


def _is_compared(spec: ComparisonSpec, folder: Path) -> bool:
    """Say whether a comparison has been made, of the same methods and settings."""
    try:
        began = read_json_file(folder / RECORD).get("comparison")
    except UserError:
        return False
    return began == spec.to_dict() and (folder / f"{METHODS_NAME}.parquet").is_file()


def _compare(spec: ComparisonSpec, folder: Path, observer: Observer, bank_size: int | None) -> Compared:
    planned = plan_comparison(spec, observer)
    where = ComparisonFolder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    where.prepare()
    observer.stage("start PyTorch")
    from beft_core.comparison.runner import compare

    return compare(spec, planned, where, observer, bank_size=bank_size)


def _unfinished(step: Step) -> list[RunConfig]:
    done = SweepFolder(step.folder).finished(step.runs)
    return [one for one in step.runs if identity(one) not in done]


def _adopt(step: Step, before: Sequence[Step]) -> None:
    """Take over fine-tunes that an earlier step has finished: the same configuration is the same fine-tune.

    Those that leave an adapter beside their snapshot are trained again.
    """
    wanted = [one for one in _unfinished(step) if one.method.adapter is None]
    if not wanted or not isinstance(step.spec, SweepSpec):
        return
    folder = SweepFolder(step.folder)
    for other in before:
        if other.is_alone or other.model != step.model:
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
