"""Runner of a sweep: bank after bank, each run written as soon as its bank is done, and nothing done twice.

A sweep is done by one worker or by many at once: each calls :func:`run_sweep` in the same folder.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import torch

from beft_core.config import RunConfig
from beft_core.errors import UserError, out_of_memory
from beft_core.files.disk import with_room
from beft_core.models.placement import ROOM
from beft_core.models.source import BUNDLED, locate
from beft_core.snapshots.snapshot import Snapshot
from beft_core.sweeps import grouping
from beft_core.sweeps.merges import are_merged, merge_pairs
from beft_core.sweeps.progress_line import Interim
from beft_core.sweeps.rows import MEMORY_RAN_OUT, lacked_memory, plan_columns, row_of, without_trajectory
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.plan import Bank, bank_id
from beft_core.sweeps.sharing.renewal import renew
from beft_core.sweeps.sharing.result import SweepResult
from beft_core.sweeps.sharing.share import ALONE, Share, Sharing
from beft_core.sweeps.sharing.workers import Heart
from beft_core.sweeps.spec import SweepSpec, identity, trains
from beft_core.sweeps.store import SweepFolder
from beft_core.tasks.predictions import Predictions
from beft_core.training import workflow
from beft_core.training.estimate.count import count_examples, count_steps, count_weights
from beft_core.training.estimate.longest_examples import LongestExamples
from beft_core.training.estimate.peak_memory import PeakMemory
from beft_core.training.observer import Observer
from beft_core.training.precision import pick_device
from beft_core.training.progress.checkpoint import CheckpointError

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")

CHECKPOINTS = 50
"""Number of points at which a probe's selection is looked at, to see when it settled."""

TABLE_SHARE = 20
"""Least time between two tables of what is finished so far, in times of what writing one took."""


def run_sweep(
    spec: SweepSpec,
    folder: SweepFolder,
    observer: Observer | None = None,
    *,
    bank_size: int | None = None,
    keep: Kept = Kept(),
    sharing: Sharing = ALONE,
) -> SweepResult:
    """Train what the grid lacks, in as few passes as memory allows, and write the table. What lacked memory before, and
    what lacks a snapshot that is wanted, is trained again, once (:mod:`beft_core.sweeps.sharing.renewal`).

    Others may do so in the same folder at once, here and on other machines: each bank is trained by one of them.

    Args:
        spec: the grid.
        folder: the folder of the sweep.
        observer: hears about progress, and may ask for the end.
        bank_size: most runs of a bank; None: from free memory.
        keep: what is kept of each run besides its row.
        sharing: how this worker goes together with others.

    Where the disk is full, what is trained waits for room.

    Raises:
        UserError: everything that a user can put right.
    """
    observer = observer or Observer()
    spec = folder.continued(spec.pinned())
    locate(str(spec.settings.get("model", BUNDLED)))  # what the paper preset makes of its size names the runs
    runs = spec.runs()
    if sharing.joins:
        folder.join()
    else:
        folder.begin(spec, observer.message)
        folder.refusals().forget()
        renew(folder, runs, keep, observer.message)
    with sharing.heart or Heart.of_this_process(folder.workers) as heart:
        named = {identity(config): config for config in runs}
        work = _Work(spec, folder, observer, keep, sharing, heart, named)
        return work.whole(bank_size)


class _Work:
    """Work of one worker in the folder of a sweep, from the plan to the table."""

    def __init__(
        self,
        spec: SweepSpec,
        folder: SweepFolder,
        observer: Observer,
        keep: Kept,
        sharing: Sharing,
        heart: Heart,
        runs: Mapping[str, RunConfig],
    ) -> None:
        self.spec, self.folder, self.observer, self.keep = spec, folder, observer, keep
        self.sharing, self.heart, self.runs = sharing, heart, runs
        self.share = Share(folder, heart, list(runs))
        self.refusals = folder.refusals()
        self.steps: dict[str, int] = {}
        """Steps of each run that was missing in the beginning, by identity."""
        self.reported: set[str] = set()
        """Runs whose steps the observer has heard of: those that others finish count, too."""
        self.passes = self.trained = 0
        self.stopped = False
        self.table_due = 0.0

    def whole(self, bank_size: int | None) -> SweepResult:
        """Do all that is left for this worker. ``bank_size``: see :func:`run_sweep`."""
        began = time.monotonic()
        self.observer.stage("plan passes")
        begun = self.share.make_plan(partial(self._grouped, bank_size=bank_size), bank_size)
        if begun:
            self.observer.message(
                f"passes that have begun stay as they are, with up to {max(map(len, begun))} fine-tunes: what is saved "
                "of them is kept; to split them, remove bank-*.safetensors"
            )
        self.steps = {name: _steps(self.runs[name]) or 1 for bank in self._undone() for name in bank}
        self.observer.stage("train", sum(self.steps.values()))
        try:
            self._train_banks()
            if not self.stopped:
                self.share.remove_saved()
            write = self.folder.write_table if self.stopped else self.folder.write_last_table
            table = self._written(partial(write, list(self.runs.values())))
            if self.folder.is_of_another(list(self.runs.values())):
                self.observer.message(
                    f"another grid was begun in {self.folder.path} meanwhile: the table and the merges there are of "
                    "that one; the same command again, or another --out, makes those of this one"
                )
            elif self.spec.merges and not self.stopped and not self._undone():
                self._merge(table)
        finally:
            with suppress(UserError):
                self.share.release()
        failed = int((table["state"] == "failed").sum())
        seconds = time.monotonic() - began
        return SweepResult(len(self.runs), self.trained, failed, self.passes, seconds, self.stopped)

    def _undone(self) -> list[Bank]:
        """List the banks that are not done, without those of runs that cannot be trained."""
        refused = self.refusals.look().keys() if self.keep.refusals else set()
        return [bank for bank in self.share.undone() if not refused >= set(bank)]

    def _grouped(self, names: Sequence[str], bank_size: int | None) -> list[list[str]]:
        """Group runs into banks, in the order in which they are to be trained."""
        configs = [self.runs[name] for name in names]
        banks = grouping.group(configs, bank_size or _most(configs), self.sharing.workers)
        return [[identity(config) for config in bank] for bank in banks]

    def _train_banks(self) -> None:
        told = False
        while undone := self._undone():
            self._report_others(undone)
            if self.observer.should_stop():
                self.stopped = True
                return
            bank = self._written(partial(self.share.take, undone))
            if bank is not None:
                told = False
                self._train_bank(bank, len(undone) - 1)
                if self.stopped:
                    return
                continue
            if not self.sharing.wait and self.share.leaves():
                return
            if not told:
                others = "another worker trains" if len(undone) == 1 else "other workers train"
                self.observer.message(f"{others} what is left; waiting to take over what they leave")
                told = True
            self.share.wait()
        self._report_others([])

    def _train_bank(self, names: Bank, waiting: int) -> None:
        """Train a bank that this worker owns, and give it back."""
        bank = [self.runs[name] for name in names]
        doing = _describe(bank, waiting)
        self.observer.message(doing)
        self.heart.tell(doing=doing)
        self.heart.beat()
        inner = _BankObserver(self, [self.steps.get(name, 1) for name in names], [trains(c) for c in bank])
        started = time.monotonic()
        done = False
        memory = PeakMemory(pick_device(bank[0].device))
        try:
            with memory:
                outcome = _train(bank, inner, self.folder.checkpoint(names))
        except CheckpointError as error:
            self.observer.message(f"{error.got}: this pass starts over")
            inner.rewind()
            self.folder.checkpoint(names).unlink(missing_ok=True)
        except UserError as error:
            if not self.keep.refusals:
                raise
            inner.rewind()
            done = len(bank) > 1
            self._written(partial(self._refuse, bank, error))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            inner.rewind()
            self._written(partial(self._make_smaller, bank))
            done = True
            del error
            _free()
        else:
            if any(one.stopped for one in outcome):
                if self.share.lost:
                    self.observer.message("another worker has taken this bank over: this one gave no sign of life")
                    inner.rewind()
                else:
                    self.stopped = True
                return
            took = time.monotonic() - started
            for run, (row, kept) in enumerate(self._results(bank, outcome, took, memory.peak)):
                predictions = inner.predictions.get(run) if self.keep.predictions else None
                self._written(partial(self.folder.save, row, kept, predictions))
            done = True
            self.passes += 1
            self.trained += len(bank)
            self.reported.update(names)
            self._written(self._table_so_far)
        finally:
            before = self.heart.worker
            busy, peak = before.busy + time.monotonic() - started, max(before.peak_bytes, memory.peak)
            self.heart.tell(busy=busy, trained=self.trained, banks=self.passes, peak_bytes=peak)
            if done:
                self.folder.checkpoint(names).unlink(missing_ok=True)
                self._written(partial(self.share.release, done=True))
            else:
                with suppress(UserError):  # on a full disk; that this worker has left is seen by its silence
                    self.share.release()

    def _make_smaller(self, bank: Sequence[RunConfig]) -> None:
        """Put the halves of a bank for which memory did not suffice in its place; one run alone has failed."""
        if len(bank) > 1:
            self.observer.message(f"memory ran out with {len(bank)} runs in one pass: going on with half as many")
            self.share.plan.split([identity(config) for config in bank])
            return
        name = identity(bank[0])
        before = self.folder.row(name)
        if before is not None and not lacked_memory(before):
            self.observer.message(f"memory ran out for {trains(bank[0])} alone: its row from before stays")
        fewer = ", or fewer workers on one GPU" if self.sharing.workers > 1 else ""
        failure = f"{MEMORY_RAN_OUT} with this run alone; try a smaller batch size{fewer}"
        self.folder.save({**plan_columns(bank[0]), "state": "failed", "failure": failure, "bank_runs": 1}, None)
        self.reported.add(name)

    def _refuse(self, bank: Sequence[RunConfig], error: UserError) -> None:
        """Take a run that cannot be trained out of the sweep; of several in a bank, fewer are tried first."""
        if len(bank) > 1:
            self.share.plan.split([identity(config) for config in bank])
            return
        self.refusals.add(identity(bank[0]), str(error))
        self.folder.unmark(identity(bank[0]))
        self.observer.message(f"left out {trains(bank[0])}: {error}")

    def _results(
        self, bank: Sequence[RunConfig], outcome: Sequence[workflow.Trained], seconds: float, peak_bytes: int
    ) -> Iterator[tuple[dict[str, Any], Snapshot | None]]:
        """Make the row and the snapshot of each run of a bank that took so many seconds and bytes of memory.

        A snapshot that is there is replaced even where none is wanted: it would be of another fine-tune than its row.
        """
        for config, one in zip(bank, outcome, strict=True):
            path = self.folder.snapshot(identity(config))
            wanted = one.failure is None and (self.keep.snapshots or path.is_file())
            kept = without_trajectory(one.snapshot) if wanted else None
            name = path.name if wanted else None
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

    def _report_others(self, undone: Sequence[Bank]) -> None:
        """Count the steps of what others have finished."""
        missing = {name for bank in undone for name in bank}
        theirs = [name for name in self.steps if name not in missing and name not in self.reported]
        if theirs:
            self.reported.update(theirs)
            self.observer.advance(sum(self.steps[name] for name in theirs))

    def _table_so_far(self) -> None:
        """Write the table of what is finished, unless that took a good part of the time."""
        began = time.monotonic()
        if began < self.table_due:
            return
        self.folder.write_table(list(self.runs.values()))
        now = time.monotonic()
        self.table_due = now + TABLE_SHARE * (now - began)

    def _merge(self, table: pd.DataFrame) -> None:
        """Merge and score what the grid says, unless another worker does."""
        unit = f"merges{bank_id([*self.spec.merges, *self.runs])}"
        while not are_merged(self.spec, list(self.runs.values()), self.folder):
            if self.observer.should_stop():
                self.stopped = True
                return
            if self._written(partial(self.share.take_unit, unit)):
                merges = merge_pairs(self.spec, table, self.folder, self.observer)
                self._written(partial(self.folder.keep_merges, merges))
                self.share.release(done=True)
                return
            if not self.sharing.wait and self.share.leaves():
                return
            self.share.wait()

    def _written(self, write: Callable[[], _T]) -> _T:
        return with_room(write, tell=self.observer.message, give_up=self.observer.should_stop)


def _most(pending: Sequence[RunConfig]) -> Callable[[RunConfig], int]:
    """Make a function that says how many runs like one fit into memory beside the model, which is loaded later, by the
    lengths of what they train on.
    """
    first, device = pending[0], pick_device(pending[0].device)
    layout, examples = locate(first.model).layout, LongestExamples()
    about = layout, first, device.type, count_weights(first.model)
    if device.type == "cuda":
        _free()  # what PyTorch keeps of a sweep before this one
        there = torch.cuda.mem_get_info(device)[0]
        free = grouping.beside_model(there, *about)
        if ROOM * (there - free) > there:  # all GPUs of this host hold the model together
            there = sum(torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count()))
            free = grouping.beside_model(there, *about)
    else:
        free = grouping.beside_model(psutil.virtual_memory().available, *about)
    return lambda config: grouping.most_runs(layout, config, device.type, free, examples.longest(config))


def _steps(config: RunConfig) -> int | None:
    """Number of optimizer steps of a run; None where only the Hub knows how many examples there are."""
    return count_steps(config, count_examples(config))


def _train(bank: Sequence[RunConfig], observer: Observer, checkpoint: Path) -> list[workflow.Trained]:
    configs = [grouping.as_trained(config, _steps(config), CHECKPOINTS) for config in bank]
    return workflow.train_bank(configs, observer, checkpoint)


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

    def __init__(self, work: _Work, steps: Sequence[int], kinds: Sequence[str]) -> None:
        self._outer, self._steps = work.observer, steps
        self._heart, self._share = work.heart, work.share
        self._interim = Interim(kinds, self._outer.message)
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
        self._heart.tell(done=reached)

    def rewind(self) -> None:
        """Take the bank's progress back, since it starts over."""
        self._outer.advance(-self._told)
        self._step = self._told = 0
        self._heart.tell(done=0)

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
        return self._share.lost or self._outer.should_stop()
