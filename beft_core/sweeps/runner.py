"""Runner of a sweep: bank after bank, each run written as soon as its bank is done, and nothing done twice."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import torch

from beft_core.config import RunConfig
from beft_core.errors import UserError, out_of_memory
from beft_core.files.disk import with_room
from beft_core.models.source import BUNDLED, locate
from beft_core.snapshots.snapshot import Snapshot
from beft_core.sweeps import grouping
from beft_core.sweeps.merges import merge_pairs
from beft_core.sweeps.progress_line import Interim
from beft_core.sweeps.rows import plan_columns, row_of, without_trajectory
from beft_core.sweeps.spec import SweepSpec, identity, trains
from beft_core.sweeps.store import SweepFolder
from beft_core.tasks.predictions import Predictions
from beft_core.training import workflow
from beft_core.training.estimate.count import count_examples, count_steps
from beft_core.training.estimate.longest_examples import LongestExamples
from beft_core.training.estimate.peak_memory import PeakMemory
from beft_core.training.observer import Observer
from beft_core.training.precision import pick_device

CHECKPOINTS = 50
"""Number of points at which a probe's selection is looked at, to see when it settled."""


@dataclass(frozen=True)
class SweepResult:
    """Result of a call of :func:`run_sweep`, as numbers."""

    runs: int
    """Number of fine-tunes of the grid."""
    trained: int
    """Number of fine-tunes that this call trained."""
    failed: int
    """Number of fine-tunes of the grid that failed, because a value was not finite."""
    banks: int
    """Number of passes over the model that this call took."""
    seconds: float
    stopped: bool
    """Whether the call was asked to stop; what is finished is kept, and the bank in progress goes on from its state."""


@dataclass(frozen=True)
class Kept:
    """Choice of what a sweep keeps of each run besides its row."""

    snapshots: bool = True
    """Snapshots, which merges need of b_v."""
    predictions: bool = False
    """Predictions for the validation examples, by which fine-tunes are compared example by example."""


def run_sweep(
    spec: SweepSpec,
    folder: SweepFolder,
    observer: Observer | None = None,
    *,
    bank_size: int | None = None,
    snapshots: bool = True,
    predictions: bool = False,
    refused: dict[str, str] | None = None,
) -> SweepResult:
    """Train what the grid lacks, in as few passes as memory allows, and write the table.

    ``bank_size``: most runs of a bank; None: from free memory. ``snapshots``, ``predictions``: see :class:`Kept`.
    ``refused``: receives, by the identity of a run, why it cannot be trained, and the sweep goes on without it; such a
    run has no row. None: the first such run ends the sweep. Where the disk is full, what is trained waits for room.

    Raises UserError for everything that a user can put right; another sweep that is at work in the folder is that too.
    """
    with folder.held():
        return _run(spec, folder, observer or Observer(), bank_size, Kept(snapshots, predictions), refused)


def _run(
    spec: SweepSpec,
    folder: SweepFolder,
    observer: Observer,
    bank_size: int | None,
    keep: Kept,
    refused: dict[str, str] | None,
) -> SweepResult:
    written = partial(with_room, tell=observer.message, give_up=observer.should_stop)
    began = time.monotonic()
    spec = folder.continued(spec.pinned())
    locate(str(spec.settings.get("model", BUNDLED)))  # what the paper preset makes of its size names the runs
    runs = spec.runs()
    folder.begin(spec)
    done = folder.finished(runs)
    observer.stage("plan passes")
    pending = _planned(folder, runs, done, bank_size)
    folder.keep_plan(pending)
    steps = {identity(config): _steps(config) or 1 for config in runs}
    observer.stage("train", sum(steps[identity(config)] for bank in pending for config in bank))
    passes = trained = 0
    stopped = False
    while pending and not stopped:
        bank = pending.pop(0)
        observer.message(_describe(bank, len(pending)))
        inner = _BankObserver(observer, [steps[identity(config)] for config in bank], [trains(c) for c in bank])
        started = time.monotonic()
        try:
            with PeakMemory(pick_device(bank[0].device)) as memory:
                outcome = _train(bank, inner, folder)
        except UserError as error:
            if refused is None:
                raise
            inner.rewind()
            pending = _without_refused(bank, error, refused, observer) + pending
            folder.checkpoint(bank).unlink(missing_ok=True)
            written(partial(folder.keep_plan, pending))
            continue
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            inner.rewind()
            if len(bank) > 1:
                observer.message(f"memory ran out with {len(bank)} runs in one pass: going on with half as many")
                pending = [*grouping.halves(bank), *pending]
            else:
                _save_failure(folder, bank[0], "memory ran out with this run alone; try a smaller batch size")
            folder.checkpoint(bank).unlink(missing_ok=True)
            written(partial(folder.keep_plan, pending))
            del error
            _free()
            continue
        if any(one.stopped for one in outcome):
            stopped = True
            break
        passes += 1
        took = time.monotonic() - started
        for run, (row, kept) in enumerate(_results(folder, bank, outcome, took, memory.peak, keep.snapshots)):
            written(partial(folder.save, row, kept, inner.predictions.get(run) if keep.predictions else None))
        trained += len(bank)
        folder.checkpoint(bank).unlink(missing_ok=True)
        written(partial(folder.keep_plan, pending))
        written(partial(folder.write_table, runs))
        stopped = observer.should_stop()
    table = written(partial(folder.write_table, runs))
    if spec.merges and not stopped:
        written(partial(folder.keep_merges, merge_pairs(spec, table, folder, observer)))
    failed = int((table["state"] == "failed").sum())
    return SweepResult(len(runs), trained, failed, passes, time.monotonic() - began, stopped)


def _planned(
    folder: SweepFolder, runs: Sequence[RunConfig], done: Container[str], bank_size: int | None
) -> list[list[RunConfig]]:
    """List the banks to train, those of an earlier call first and as they were: with dropout on, a run's numbers depend
    on who shares its bank.

    So where a bank's rows were being written when the sweep was killed, all of it is trained again.
    """
    by_name = {identity(config): config for config in runs}
    planned = []
    for names in folder.planned():
        known = all(name in by_name for name in names)
        if known and not all(name in done for name in names) and len(names) <= (bank_size or len(names)):
            planned.append([by_name.pop(name) for name in names])
    rest = [config for name, config in by_name.items() if name not in done]
    return planned + (grouping.group(rest, bank_size or _most(rest)) if rest else [])


def _most(pending: Sequence[RunConfig]) -> Callable[[RunConfig], int]:
    """Make a function that says how many runs like one fit into memory, by the lengths of what they train on."""
    device = pick_device(pending[0].device)
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    layout, examples = locate(pending[0].model).layout, LongestExamples()
    return lambda config: grouping.most_runs(layout, config, device.type, free, examples.longest(config))


def _steps(config: RunConfig) -> int | None:
    """Number of optimizer steps of a run; None where only the Hub knows how many examples there are."""
    return count_steps(config, count_examples(config))


def _train(bank: Sequence[RunConfig], observer: Observer, folder: SweepFolder) -> list[workflow.Trained]:
    configs = [grouping.as_trained(config, _steps(config), CHECKPOINTS) for config in bank]
    return workflow.train_bank(configs, observer, folder.checkpoint(bank))


def _without_refused(
    bank: Sequence[RunConfig], error: UserError, refused: dict[str, str], observer: Observer
) -> list[list[RunConfig]]:
    """Take a run that cannot be trained out of a sweep; of several in a bank, each is tried alone first."""
    if len(bank) > 1:
        return [[config] for config in bank]
    refused[identity(bank[0])] = str(error)
    observer.message(f"left out {trains(bank[0])}: {error}")
    return []


def _results(
    folder: SweepFolder,
    bank: Sequence[RunConfig],
    outcome: Sequence[workflow.Trained],
    seconds: float,
    peak_bytes: int,
    keep: bool,
) -> Iterator[tuple[dict[str, Any], Snapshot | None]]:
    """Make the row and the snapshot of each run of a bank that took so many seconds and bytes of memory."""
    for config, one in zip(bank, outcome, strict=True):
        kept = without_trajectory(one.snapshot) if keep and one.failure is None else None
        name = folder.snapshot(identity(config)).name if kept is not None else None
        row = row_of(
            config,
            one.snapshot,
            seconds=seconds / len(bank),
            bank_runs=len(bank),
            peak_bytes=peak_bytes,
            failure=one.failure,
            file=name,
        )
        yield row, kept


def _save_failure(folder: SweepFolder, config: RunConfig, failure: str) -> None:
    folder.save({**plan_columns(config), "state": "failed", "failure": failure, "bank_runs": 1}, None)


def _describe(bank: Sequence[RunConfig], waiting: int) -> str:
    sizes = sorted({config.n_train or 0 for config in bank})
    what = ", ".join(dict.fromkeys(trains(config) for config in bank))
    examples = " and ".join(str(size) if size else "all" for size in sizes)
    then = f"; {waiting} more after it" if waiting else ""
    fine_tunes = f"{len(bank)} fine-tunes in one pass" if len(bank) > 1 else "one fine-tune"
    return f"{bank[0].task}: {fine_tunes} ({what}; {examples} examples){then}"


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _BankObserver(Observer):
    """Observer that reports a bank as part of the sweep: one unit is one step of one run, so that the time left is
    real.
    """

    def __init__(self, outer: Observer, steps: Sequence[int], kinds: Sequence[str]) -> None:
        self._outer, self._steps = outer, steps
        self._interim = Interim(kinds, outer.message)
        self._training = False
        self._step = self._told = 0
        self.predictions: dict[int, Predictions] = {}
        """Predictions of the runs that ended, by their number in the bank."""

    def stage(self, name: str, total: int | None = None) -> None:
        self._training = name == "train"

    def advance(self, n: int = 1) -> None:
        if not self._training:
            return
        self._step += n
        reached = sum(min(self._step, steps) for steps in self._steps)
        self._outer.advance(reached - self._told)
        self._told = reached

    def rewind(self) -> None:
        """Take the bank's progress back, since it starts over."""
        self._outer.advance(-self._told)
        self._step = self._told = 0

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        pass

    def scores(self, step: int, table: Mapping[str, Mapping[str, float]]) -> None:
        pass

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        self._interim.epoch(metrics, run)

    def predicted(self, predictions: Predictions, run: int = 0) -> None:
        self.predictions[run] = predictions

    def validating(self, done: int, total: int) -> None:
        self._outer.validating(done, total)

    def message(self, text: str) -> None:
        self._outer.message(text)

    def should_stop(self) -> bool:
        return self._outer.should_stop()
