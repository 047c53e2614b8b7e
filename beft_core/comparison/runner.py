"""Runner of a comparison: the trials, the choice, what is reported, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from beft_core.comparison.choice import Choice, choose
from beft_core.comparison.folder import VERSION, ComparisonFolder
from beft_core.comparison.plan import Plan
from beft_core.comparison.results import result_of, units
from beft_core.comparison.spec import ComparisonSpec
from beft_core.errors import UserError
from beft_core.reports.methods.table import Comparison, write_comparison
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.result import SweepResult
from beft_core.sweeps.spec import SweepSpec, identity, trains
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer


class Sweeping(Protocol):
    """Way to do a sweep: :func:`beft_core.sweeps.runner.run_sweep`, or
    :func:`beft_core.execution.fleet.sweep_here` by several workers.
    """

    def __call__(
        self, spec: SweepSpec, folder: SweepFolder, observer: Observer, *, bank_size: int | None, keep: Kept
    ) -> SweepResult:
        """Train what the grid lacks, and write the table."""


@dataclass(frozen=True)
class Compared:
    """Result of a call of :func:`compare`."""

    found: Comparison | None
    """Tables of the comparison; None where it was stopped before."""
    choices: dict[str, Choice]
    """Rate of each method that was tried, by its name in sweeps."""
    trials: SweepResult | None
    """Sweep of the trials; None where nothing is trained."""
    finals: SweepResult | None
    """Sweep of what is reported; None where the call was stopped in the trials."""

    @property
    def stopped(self) -> bool:
        """Whether the call was asked to stop: the same call goes on from there."""
        return self.found is None

    @property
    def trained(self) -> int:
        """Fine-tunes that this call trained."""
        return sum(sweep.trained for sweep in (self.trials, self.finals) if sweep is not None)


def compare(
    spec: ComparisonSpec,
    plan: Plan,
    folder: ComparisonFolder,
    observer: Observer,
    sweep: Sweeping,
    *,
    bank_size: int | None = None,
    snapshots: bool = True,
) -> Compared:
    """Compare methods: try each at its rates, train it at the best of them and at one for all, and put them side by
    side. What is finished in the folder is not done again.

    ``sweep``: does the two sweeps, of the trials and of what is reported. ``bank_size``, ``snapshots``: as of a sweep;
    snapshots are of what is reported.

    Raises:
        UserError: everything that a user can put right; another comparison that is at work in the folder is that too.
    """
    with folder.held():
        folder.begin({"comparison": spec.to_dict()})
        names: dict[str, str] = {}
        choices: dict[str, Choice] = {}
        tried = None
        if trained := [entry for entry in plan.applying if entry.lrs]:
            trials = spec.trials(trained, plan.rows, plan.left)
            observer.message(f"trials: scored on {plan.held_out:,} training examples that no trial trains on")
            keep = Kept(snapshots=False, refusals=True)
            tried = sweep(trials, folder.trials, observer, bank_size=bank_size, keep=keep)
            table = folder.trials.table(folder.trials.spec().runs())
            choices = {entry.trains: choose(entry, table) for entry in trained}
            if tried.stopped:
                return Compared(None, choices, tried, None)
            for said in filter(None, (choices[entry.trains].in_words(entry) for entry in trained)):
                observer.message(said)
            names = _refused(folder.trials)
        left = [entry for entry in plan.applying if entry.trains not in names or choices[entry.trains].lr is not None]
        if not left:
            raise UserError(f"got no method that can be trained here: {next(iter(names.values()))}")
        rates = {trains: choice.lr for trains, choice in choices.items() if choice.lr is not None}
        finals = spec.finals(left, rates, plan.same_lr)
        keep = Kept(snapshots, predictions=True, refusals=True)
        reported = sweep(finals, folder.finals, observer, bank_size=bank_size, keep=keep)
        if reported.stopped:
            return Compared(None, choices, tried, reported)
        names |= _refused(folder.finals)
        observer.stage("compare", units(plan))
        own = folder.finals.table(folder.finals.spec().runs())
        found = result_of(spec, plan, choices, own, folder, names, observer.advance)
        write_comparison(found, folder.path, {"version": VERSION, "comparison": spec.to_dict()})
        return Compared(found, choices, tried, reported)


def _refused(folder: SweepFolder) -> dict[str, str]:
    """Find why methods could not be trained in a sweep, by their names there."""
    refused = folder.refusals().look()
    named = {identity(config): trains(config) for config in folder.spec().runs()} if refused else {}
    return {named[run]: reason for run, reason in refused.items() if run in named}
