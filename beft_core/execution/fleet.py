"""Sweep on this machine by as many workers as it has GPUs, or as were asked for, each a process of its own.

They share the sweep's folder as workers of any machines do (:mod:`beft_core.sweeps.sharing.share`): this module only
starts them, watches how far they are, and passes the wish to stop on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from beft_core.config import RunConfig
from beft_core.devices import gpu_bytes, gpus, queue_name
from beft_core.environment import beat_seconds
from beft_core.errors import UserError
from beft_core.execution.clusters.following import Following
from beft_core.execution.leaving import UNFINISHED
from beft_core.files.disk import with_room
from beft_core.files.plain_file import open_plain
from beft_core.models.source import BUNDLED, locate
from beft_core.presets import layout_here
from beft_core.runs.reading import last_lines
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import renew
from beft_core.sweeps.sharing.result import SweepResult
from beft_core.sweeps.sharing.share import Sharing
from beft_core.sweeps.sharing.workers import Worker
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import Finished, SweepFolder
from beft_core.training.observer import Observer

MAX_WORKERS = 256
"""Most workers of one machine; more are a slip of the hand."""
TIMES_THE_WEIGHTS = 1.25
"""Factor between a model's weights and the memory that it needs at least, as in ``models/placement.py``."""
WATCH_SECONDS = 0.5
"""Seconds between two looks at the workers."""
CHILD_BEAT_SECONDS = 1.0
"""Most seconds between two signs of life of a worker, so that the bar moves."""
GPU_THREADS = 2
"""Most threads of a worker that computes on a GPU: there is little to do beside it. Threads that wait for their turn
keep cores busy, and launching is what a small model waits for. Beside another worker, each on its own of two H200s with
32 cores, a bank took 18 s instead of the 13 alone with 32 threads each, 35 instead of 28 with 16, 15.6 instead of 14.9
with two."""
KILL_AFTER = 60.0
"""Seconds that workers have to end after they were asked to."""
PREDICTIONS, REFUSALS = "--predictions", "--refusals"
"""Options of the command ``worker`` that nobody types: what :class:`Kept` has of these names."""
ROUNDS = 3
"""Most times that workers are started: again where all have ended and some were killed before all was done."""


@dataclass(frozen=True)
class Place:
    """Place of one worker: a GPU, several that hold a model together, or a part of the cores."""

    name: str
    """Words for the device, such as ``cuda:1``."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that bind a process to it; empty: this process is there already."""


def places(spec: SweepSpec, devices: Sequence[str] = (), workers: int | None = None) -> list[Place]:
    """Choose the places of a sweep's workers on this machine.

    Args:
        spec: the sweep, whose settings name the device and the model.
        devices: the GPUs to use, ``cuda:0`` and so on; none: all.
        workers: number of workers; None: one for each GPU, or one on the CPU.

    Raises:
        UserError: devices that are not there, or a number that makes no sense.
    """
    return _places(RunConfig.from_dict(dict(spec.settings)), devices, workers)


def at_once(settings: RunConfig, devices: Sequence[str] = (), workers: int | None = None) -> int:
    """Count the devices on which workers of :func:`places` compute at once, without fetching a model.

    Parts of the cores are together as fast as all of them, and so are workers of one GPU. ``settings``: of the sweep;
    the others, and errors, as of :func:`places`.
    """
    if layout_here(settings.model) is None:
        chosen = len(_chosen(settings, devices))
        return max(1, min(chosen, workers or chosen))
    return len({place.environment.get("CUDA_VISIBLE_DEVICES") for place in _places(settings, devices, workers)})


def _places(settings: RunConfig, devices: Sequence[str], workers: int | None) -> list[Place]:
    if workers is not None and not 1 <= workers <= MAX_WORKERS:
        raise UserError(f"got --workers {workers}", f"from 1 to {MAX_WORKERS}")
    chosen = _chosen(settings, devices)
    if not chosen:
        count = workers or 1
        if count == 1:
            return [Place(queue_name(settings.device))]
        threads = _threads(_cores() // count)
        return [Place(f"cpu, part {part} of {count}", threads) for part in range(1, count + 1)]
    together = _together(settings, len(chosen))
    groups = [chosen[start : start + together] for start in range(0, len(chosen) - together + 1, together)]
    if workers is None and len(groups) == 1 and not devices:
        return [Place("cuda")]
    count = workers or len(groups)
    used = [groups[number % len(groups)] for number in range(count)]
    threads = _threads(min(_cores() // count, GPU_THREADS))
    return [
        Place(
            " ".join(name for name, _ in group),
            {"CUDA_VISIBLE_DEVICES": ",".join(number for _, number in group), **threads},
        )
        for group in used
    ]


def _threads(most: int) -> dict[str, str]:
    """Give a process so many threads and at least one, or the fewer that the user wants."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    least = min(most, int(wanted)) if wanted.isdecimal() and int(wanted) else most
    return {"OMP_NUM_THREADS": str(max(1, least))}


def _chosen(settings: RunConfig, devices: Sequence[str]) -> list[tuple[str, str]]:
    """Choose GPUs: (name, what ``CUDA_VISIBLE_DEVICES`` takes); none where the sweep does not compute on any."""
    there = (
        {f"cuda:{number}": word for number, word in enumerate(gpus())} if settings.device in ("auto", "cuda") else {}
    )
    if not devices:
        return list(there.items())
    if strange := [name for name in devices if name not in there]:
        raise UserError(
            f"got --devices {strange[0][:40]}",
            f"some of {', '.join(there)}" if there else "no such flag where a sweep has no GPU to compute on",
            "" if there else "--workers N",
        )
    if len(set(devices)) < len(devices):
        raise UserError(f"got --devices {' '.join(devices)[:80]}", "each once", "--workers N for several on one GPU")
    return [(name, there[name]) for name in devices]


def _together(settings: RunConfig, count: int) -> int:
    """Count the GPUs that hold the model together: one, unless its weights are larger than one has memory."""
    memory = gpu_bytes()
    if memory is None:
        return 1
    model = locate(settings.model)
    stored = sum(file.stat().st_size for file in model.folder.glob("*.safetensors"))
    kind = str(model.config.get("dtype", model.config.get("torch_dtype", "float32")))
    per_parameter = 2 if kind in ("float16", "bfloat16") else 4
    computed = 2 if settings.precision == "bfloat16" else 4
    needed = TIMES_THE_WEIGHTS * stored / per_parameter * computed
    return min(count, max(1, -(-int(needed) // memory)))


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def sweep_here(
    spec: SweepSpec,
    folder: SweepFolder,
    observer: Observer,
    *,
    bank_size: int | None = None,
    keep: Kept = Kept(),
    devices: Sequence[str] = (),
    workers: int | None = None,
    others: int = 0,
) -> SweepResult:
    """Do a sweep on this machine: in this process, or by one worker for each place of :func:`places`.

    Args: as :func:`beft_core.sweeps.runner.run_sweep` and :func:`places`; ``others`` as of :class:`Fleet`.

    Raises:
        UserError: everything that a user can put right, also that workers ended before all was done.
    """
    where = places(spec, devices, workers)
    if len(where) == 1 and not where[0].environment:
        observer.stage("start PyTorch")
        from beft_core.sweeps.runner import run_sweep

        sharing = Sharing(1 + others)
        return run_sweep(spec, folder, observer, bank_size=bank_size, keep=keep, sharing=sharing)
    observer.stage("start workers")
    spec = folder.continued(spec.pinned())
    locate(str(spec.settings.get("model", BUNDLED)))
    runs = spec.runs()
    folder.begin(spec, observer.message)
    folder.refusals().forget()
    renew(folder, runs, keep, observer.message)
    options = ["--wait", *options_of(bank_size, keep)]
    return Fleet(folder, runs, observer, options, others=others).run(where, merges=bool(spec.merges))


def options_of(bank_size: int | None, keep: Kept = Kept()) -> list[str]:
    """Write what :func:`sweep_here` takes as options of the command ``worker``."""
    chosen = {"--no-snapshots": not keep.snapshots, PREDICTIONS: keep.predictions, REFUSALS: keep.refusals}
    return [
        *(["--bank-size", str(bank_size)] if bank_size else []),
        *(flag for flag, is_set in chosen.items() if is_set),
    ]


def command_of(folder: SweepFolder, place: Place, count: int, options: Sequence[str]) -> list[str]:
    """Make the command line of one of ``count`` workers."""
    command = [sys.executable, "-m", "beft_core", "worker", str(folder.path), "--workers", str(count)]
    return [*command, "--device-name", place.name, "--parent", str(os.getpid()), *options]


@dataclass
class _Child:
    """Process of a worker, and what was last seen of it."""

    place: Place
    process: subprocess.Popen[bytes]
    log: Path
    started: float
    seen: Worker | None = None


class Fleet:
    """Workers of one sweep on this machine, which began in its folder."""

    def __init__(
        self,
        folder: SweepFolder,
        runs: Sequence[RunConfig],
        observer: Observer,
        options: Sequence[str],
        *,
        others: int = 0,
    ) -> None:
        """Watch over workers that are still to be started.

        Args:
            folder: the folder of the sweep.
            runs: the grid's fine-tunes.
            observer: hears about progress, and may ask for the end.
            options: of the command ``worker``; without ``--wait`` they leave what others have in hand to them.
            others: number of workers elsewhere that passes are planned for, too.
        """
        self.folder, self.runs, self.observer, self.options = folder, runs, observer, options
        self.others = others
        self.waits = "--wait" in options
        self.names = frozenset(map(identity, runs))
        self.finished = Finished(folder, self.names)
        self.refusals = folder.refusals() if REFUSALS in options else None
        self.follow: Following | None = None
        """Progress; its steps are counted while the first workers start, which takes them longer."""
        self.children: list[_Child] = []
        self.asked: float | None = None
        """When the workers were asked to stop, by the clock that nobody sets."""

    def run(self, where: Sequence[Place], merges: bool) -> SweepResult:
        """Start the workers and wait for their end. ``merges``: whether the grid has merges.

        Raises:
            UserError: they ended before all was done that they should do.
        """
        began = time.monotonic()
        round_ = 0
        try:
            while (self.missing() or (round_ == 0 and merges)) and self.asked is None and round_ < ROUNDS:
                ended = len(self.children)
                for place in where:
                    self.children.append(self._start(place, len(where) + self.others))
                self.follow = self.follow or Following(self.folder, self.runs, self.observer)
                self._watch(self.follow)
                round_ += 1
                if all(child.process.returncode >= 0 for child in self.children[ended:]):
                    break  # none was killed: a further round would end as this one did
        finally:
            self._end_all()
        left = any(child.process.returncode == UNFINISHED for child in self.children)
        stopped = self.asked is not None or (not self.waits and left and self.missing())
        if self.missing() and not stopped and (self.waits or self._some_failed()):
            raise self._why()
        table = with_room(partial(self.folder.write_table, self.runs), self.observer.message)
        seen = [child.seen for child in self.children if child.seen is not None]
        return SweepResult(
            len(self.runs),
            sum(one.trained for one in seen),
            int((table["state"] == "failed").sum()),
            sum(one.banks for one in seen),
            time.monotonic() - began,
            stopped,
        )

    def missing(self) -> bool:
        """Say whether a fine-tune is missing that can be trained, as far as anybody knows."""
        refused = self.refusals.look().keys() if self.refusals is not None else set()
        return not self.names - self.finished.look() <= refused

    def _start(self, place: Place, count: int) -> _Child:
        command = command_of(self.folder, place, count, self.options)
        log = self.folder.workers / f"log-{len(self.children) + 1}-{os.getpid()}.txt"
        started = time.time()
        beat = str(min(beat_seconds(), CHILD_BEAT_SECONDS))
        with open_plain(log, "ab", follow=False) as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **place.environment, "BEFT_BEAT_SECONDS": beat, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is heard by this process, which asks them politely
            )
        return _Child(place, process, log, started)

    def _watch(self, follow: Following) -> None:
        while any(child.process.poll() is None for child in self.children):
            self._look(follow)
            if self.asked is None and self.observer.should_stop():
                self.asked = time.monotonic()
                for child in self.children:
                    child.process.terminate()
            if self.asked is not None and time.monotonic() - self.asked > KILL_AFTER:
                self._end_all()
            time.sleep(WATCH_SECONDS)
        self._look(follow)
        for child in self.children:
            if child.process.returncode not in (0, UNFINISHED):
                self.observer.message(f"the worker on {child.place.name} ended: {_last_word(child)}")

    def _look(self, follow: Following) -> None:
        """Report what the workers say of themselves."""
        children = {child.process.pid: child for child in self.children}

        def name(worker: Worker) -> str | None:
            child = children.get(worker.identity.process.pid)
            ours = child is not None and worker.began >= child.started and worker.identity.is_gone() is not None
            return child.place.name if child is not None and ours else None

        for worker in follow.look(name).values():
            children[worker.identity.process.pid].seen = worker

    def _end_all(self) -> None:
        for child in self.children:
            if child.process.poll() is None:
                child.process.kill()
        for child in self.children:
            child.process.wait()

    def _some_failed(self) -> bool:
        return any(child.process.returncode not in (0, UNFINISHED) for child in self.children)

    def _why(self) -> UserError:
        """Make the error that says why workers ended before all was done."""
        worst = max(self.children, key=lambda child: child.process.returncode not in (0, UNFINISHED))
        return UserError(
            f"the workers ended before all was done: {_last_word(worst)}",
            "a worker that goes on",
            f"the same again; the whole log is in {worst.log}",
        )


def _last_word(child: _Child) -> str:
    code = child.process.returncode
    if code < 0:
        return f"killed by signal {-code}"
    return (last_lines(child.log, 1) or [f"exit status {code}"])[0].removeprefix("beft: ")
