"""What is left of a step of a reproduction, and what it takes over from the steps before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from beft_core.comparison.folder import RECORD, ComparisonFolder
from beft_core.comparison.plan import plan as plan_comparison
from beft_core.comparison.runner import Compared, compare
from beft_core.comparison.spec import ComparisonSpec
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.fleet import sweep_here
from beft_core.files.safe_io import read_json_file
from beft_core.reports.methods.table import NAME as METHODS_NAME
from beft_core.reproduction.experiments import EXPERIMENTS
from beft_core.reproduction.plan import Step
from beft_core.snapshots.snapshot import SUFFIX
from beft_core.sweeps.merges import are_merged
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import renew
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer


def title(step: Step) -> str:
    """Say what a step is, in words."""
    task = f", {step.comparison.task_name}" if step.comparison is not None else ""
    return f"{EXPERIMENTS[step.experiment].title} on {step.model}{task}"


def unfinished(step: Step) -> list[RunConfig]:
    """List the fine-tunes of a step that can run and are not finished."""
    done = SweepFolder(step.folder).finished(step.runs)
    return [one for one in step.runs if identity(one) not in done]


def count_failed(step: Step) -> int:
    """Count the fine-tunes of a step that failed, because a value was not finite or memory ran out."""
    return sum(row.get("state") == "failed" for row in SweepFolder(step.folder).finished(step.runs).values())


def is_done(step: Step) -> bool:
    """Say whether nothing is left of a step that can run: fine-tunes, merges, or the comparison."""
    if step.comparison is not None:
        return _is_compared(step.comparison, step.folder)
    if unfinished(step):
        return False
    return not isinstance(step.spec, SweepSpec) or are_merged(step.spec, step.runs, SweepFolder(step.folder))


def try_again(steps: Sequence[Step], tell: Callable[[str], object]) -> None:
    """Have the fine-tunes of steps that can run tried again for which memory had run out: once, when a reproduction is
    started. What else is finished stays, also without its snapshot. ``tell``: hears how many, in words.

    Raises:
        UserError: the folder of a step cannot be written.
    """
    for step in steps:
        compared = ComparisonFolder(step.folder)
        folders = [SweepFolder(step.folder)] if step.comparison is None else [compared.trials, compared.finals]
        for folder in folders:
            if step.spec is not None and folder.began:
                runs = step.runs or folder.spec().runs()
                if said := renew(folder, runs, Kept(made_again=False)).in_words():
                    tell(f"{title(step)}: {said}")


def adopt(step: Step, before: Sequence[Step]) -> None:
    """Take over fine-tunes that an earlier step has finished: the same configuration is the same fine-tune.

    Those that leave an adapter beside their snapshot are trained again.

    Raises:
        UserError: the step's folder cannot be written.
    """
    wanted = _adoptable(step)
    if not wanted or not isinstance(step.spec, SweepSpec):
        return
    folder = SweepFolder(step.folder)
    for other in _givers(step, before):
        theirs = SweepFolder(other.folder)
        found = {name: row for name, row in theirs.finished(wanted).items() if row.get("state") == "done"}
        if not found:
            continue
        folder.begin(folder.continued(step.spec.pinned()))
        for name, row in found.items():
            _link(theirs.snapshot(name), folder.snapshot(name))
            folder.save(row, None)
        wanted = [one for one in wanted if identity(one) not in found]


def waits_for(step: Step, before: Sequence[Step]) -> Step | None:
    """Find an earlier step that still trains what this one can take over; None where nothing is to be waited for."""
    wanted = set(map(identity, _adoptable(step)))
    for other in _givers(step, before):
        if wanted.intersection(map(identity, unfinished(other))):
            return other
    return None


def compare_methods(spec: ComparisonSpec, folder: Path, observer: Observer, bank_size: int | None) -> Compared:
    """Make a comparison of methods, by every GPU that is here. Errors as of
    :func:`beft_core.comparison.runner.compare`.
    """
    planned = plan_comparison(spec, observer)
    where = ComparisonFolder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    where.prepare()
    return compare(spec, planned, where, observer, sweep_here, bank_size=bank_size)


def _adoptable(step: Step) -> list[RunConfig]:
    """List the unfinished fine-tunes of a step that another may give it."""
    return [] if step.is_alone else [one for one in unfinished(step) if one.method.adapter is None]


def _givers(step: Step, before: Sequence[Step]) -> list[Step]:
    return [other for other in before if not other.is_alone and other.model == step.model]


def _is_compared(spec: ComparisonSpec, folder: Path) -> bool:
    """Say whether a comparison has been made, of the same methods and settings, and nothing of it is tried again."""
    try:
        began = read_json_file(folder / RECORD).get("comparison")
    except UserError:
        return False
    waits = any(one.marked_again() for one in (ComparisonFolder(folder).trials, ComparisonFolder(folder).finals))
    return began == spec.to_dict() and (folder / f"{METHODS_NAME}.parquet").is_file() and not waits


def _link(source: Path, target: Path) -> None:
    """Put a snapshot in a second place, without a copy where the file system can. One that is gone stays gone."""
    assert target.name.endswith(SUFFIX)
    try:
        os.link(source, target)
    except FileExistsError:
        with suppress(FileNotFoundError):
            if not target.samefile(source):  # of a fine-tune that was killed before it had a row
                target.unlink(missing_ok=True)
                _link(source, target)
    except FileNotFoundError:
        target.unlink(missing_ok=True)
    except OSError:
        with suppress(FileNotFoundError):
            shutil.copyfile(source, target)
