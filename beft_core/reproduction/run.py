"""Runner of a reproduction: one sweep after another, each fine-tune once, and nothing lost where one cannot run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beft_core.comparison.spec import ComparisonSpec
from beft_core.errors import UserError
from beft_core.execution.fleet import at_once, sweep_here
from beft_core.reproduction.plan import Plan, Step
from beft_core.reproduction.steps import adopt, compare_methods, count_failed, is_done, title, unfinished
from beft_core.sweeps.forecast import learned
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer
from beft_core.training.preconditions import require_data

if TYPE_CHECKING:
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
        observer.message(f"{title(step)} ({number} of {len(plan.steps)})")
        try:
            if isinstance(step.spec, ComparisonSpec):
                if not is_done(step):
                    began = time.monotonic()
                    result = compare_methods(step.spec, step.folder, observer, bank_size)
                    trained, stopped = trained + result.trained, result.stopped
                    seconds += time.monotonic() - began
                if stopped:
                    break
                continue
            adopt(step, plan.steps[: number - 1])
            if not is_done(step):
                to_do = unfinished(step)
                swept = _sweep(step, folder, observer, 1 if step.is_alone else bank_size)
                trained, seconds, stopped = trained + swept.trained, seconds + swept.seconds, swept.stopped
                # What other workers trained meanwhile took none of these seconds.
                if to_do and not (stopped or step.is_alone) and swept.trained == len(to_do):
                    learned(to_do, swept.seconds, at_once(to_do[0]))
            failed += count_failed(step)
        except UserError as error:
            errors[step.folder.name] = str(error)
            observer.message(f"{title(step)}: {error}")
        except KeyboardInterrupt:  # before anything is trained there is nothing to keep, so that nobody asks for a stop
            if observer.should_stop():
                raise  # a second one, which wants the end at once
            stopped = True
        if stopped:
            break
    return Outcome(trained, failed, seconds, errors, stopped)


def _sweep(step: Step, folder: SweepFolder, observer: Observer, bank_size: int | None) -> SweepResult:
    assert isinstance(step.spec, SweepSpec)
    observer.stage("load data")
    require_data(unfinished(step))
    folder.prepare()
    # What is timed has one device for itself; all else takes every GPU of this machine.
    keep = Kept(made_again=False)
    workers = 1 if step.is_alone else None
    return sweep_here(step.spec, folder, observer, bank_size=bank_size, keep=keep, workers=workers)
