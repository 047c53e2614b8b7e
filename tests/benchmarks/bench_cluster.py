"""A sweep of 10,000 fine-tunes replayed over 1 to 256 workers on a shared file system, with workers that die, hang and
are slow: how well they are used, what is done twice, and how many operations on files that takes.

Run: ``python tests/benchmarks/bench_cluster.py [--workers 1 16 64 256] [--fine-tunes 10000] [--folder SHARED]``. The
plan, the claims, the rows and the takeovers are the lab's own, on a real file system (``--folder`` puts them on a
shared one); training is replaced by its duration, which follows from the work of each bank (``planning/work.py``) and
the mean of a fine-tune, ``--seconds``; time is virtual. Signs of life are not written, only dated, and counted at three
operations each; a row that one worker has read is counted for the others, and not read again.

- A worker dies on average after ``--hours-to-death`` (SIGKILL, a node that fails); a new one fills its place after a
  minute. What it trained since its last checkpoint (every 10 seconds) is lost.
- Every fiftieth worker hangs once, for longer than a claim lasts, and then goes on: somebody has taken its bank over,
  and what it does until it sees that is done twice.
- Every twentieth machine is three times as slow.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT)]

from beft_core.config import RunConfig  # noqa: E402 - after its path
from beft_core.environment import beat_seconds  # noqa: E402
from beft_core.process_id import ProcessId  # noqa: E402
from beft_core.sweeps import grouping  # noqa: E402
from beft_core.sweeps.planning import work  # noqa: E402
from beft_core.sweeps.rows import plan_columns  # noqa: E402
from beft_core.sweeps.sharing import claims, share, workers  # noqa: E402
from beft_core.sweeps.sharing.plan import Bank  # noqa: E402
from beft_core.sweeps.sharing.share import Share  # noqa: E402
from beft_core.sweeps.sharing.workers import Heart, Identity, Worker  # noqa: E402
from beft_core.sweeps.spec import SweepSpec, identity  # noqa: E402
from beft_core.sweeps.store import SweepFolder  # noqa: E402

BANK = 16
CHECKPOINT_SECONDS = 10.0
REPLACED_AFTER = 60.0
HANG_SECONDS = 300.0
SLOW = 3.0
POKE_SECONDS = 30.0
"""Seconds after which somebody who waits looks whether a worker has fallen silent, where nothing else happens."""
OF_A_BEAT = 3
"""Operations on files of a sign of life: one is opened, renamed, and its date asked for."""
OF_A_LOOK = 3
"""Operations of a look of a worker that waits: rows, claims and plan are listed."""


class Clock:
    """Time that passes only when the simulation says so, in the place of the module ``time``."""

    def __init__(self) -> None:
        self.now = 1e6

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps in virtual time")


@dataclass
class Operations:
    """Operations on files below a folder, by what they are, as Python's audit events tell; and when they were."""

    folder: str
    clock: Clock
    counts: Counter[str] = field(default_factory=Counter)
    by_minute: Counter[int] = field(default_factory=Counter)
    on: bool = True

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in ("open", "os.listdir", "os.scandir", "os.rename", "os.link", "os.remove"):
            return
        if arguments and str(arguments[0]).startswith(self.folder):
            self.add(event.removeprefix("os."), 1)

    def add(self, what: str, count: int) -> None:
        self.counts[what] += count
        self.by_minute[int(self.clock.now // 60)] += count


@dataclass(eq=False)
class One:
    """Simulated worker."""

    share: Share
    place: int
    """Number of the machine; one that is slow stays so, whoever works there."""
    speed: float
    dies: float
    hangs: float
    """Time at which it hangs; infinity: never."""
    silent_since: float | None = None
    """Time of its last sign of life, once it gives none."""
    bank: Bank | None = None
    began: float = 0.0
    """Time at which it began its bank, or went on with it."""


class Simulation:
    """Replay of one sweep, event after event."""

    def __init__(self, folder: Path, banks: dict[Bank, float], count: int, hours_to_death: float) -> None:
        self.folder, self.seconds, self.count, self.hours = SweepFolder(folder), banks, count, hours_to_death
        self.names = [name for bank in banks for name in bank]
        self.clock = Clock()
        self.random = random.Random(count)
        self.operations = Operations(str(folder), self.clock)
        self.alive: dict[Path, One] = {}
        self.kept: Counter[Bank] = Counter()
        """Seconds of each bank that its last checkpoint holds, of a worker of usual speed."""
        self.events: list[tuple[float, int, str, One | None]] = []
        self.waiting: dict[One, float] = {}
        """Workers that found nothing to take, and since when, the first first."""
        self.found: Counter[str] = Counter()
        self.born = 0

    def run(self) -> dict[str, float]:
        """Play it to its end; return what came out."""
        self._replace_clock_and_dates()
        sys.addaudithook(self.operations.hook)
        began = ended = self.clock.now
        for place in range(self.count):
            self._later(self.random.uniform(0, 30), "look", self._worker(place))
        while self.events:
            self.clock.now, _, what, one = heapq.heappop(self.events)
            if what == "poke":
                self._wake_next()
                if self.waiting:
                    self._later(POKE_SECONDS, "poke", None)
                continue
            assert one is not None
            getattr(self, f"_{what}")(one)
            if what != "look":
                ended = self.clock.now if what == "end" else ended
                self._wake_next()
        self.operations.on = False
        assert len(self.folder.rows_there()) == len(self.names), "every fine-tune has its row"
        return self._result(ended - began)

    # -- what happens ----------------------------------------------------------------------------------------------

    def _look(self, one: One) -> None:
        undone = one.share.undone()
        bank = one.share.take(undone) if undone else None
        if bank is None and undone:
            if not self.waiting:
                self._later(POKE_SECONDS, "poke", None)
            if one not in self.waiting:
                self.waiting[one] = self.clock.now
            return
        if one in self.waiting:
            self._ends_waiting(one)
            self._wake_next()
        if bank is None:
            return
        self.found["takeovers"] += bank in self.kept
        one.bank, one.began = bank, self.clock.now
        self._go_on(one)

    def _go_on(self, one: One) -> None:
        """Plan what ends this stretch of work: the bank's end, the worker's, or a hang."""
        assert one.bank is not None
        left = (self.seconds[one.bank] - self.kept[one.bank]) / one.speed
        at, what = min((self.clock.now + left, "end"), (one.dies, "die"), (one.hangs, "hang"))
        self._later(max(0.0, at - self.clock.now), what, one)

    def _end(self, one: One) -> None:
        bank = one.bank
        assert bank is not None
        self.found["trained"] += self.clock.now - one.began
        for name in bank:
            self.folder.save({**ROWS[name], "seconds": self.seconds[bank] / len(bank)}, None)
        one.share.release(done=True)
        one.bank = None
        self._later(0.0, "look", one)

    def _die(self, one: One) -> None:
        self.found["deaths"] += 1
        self._stop(one)
        self._later(REPLACED_AFTER, "replace", one)

    def _replace(self, one: One) -> None:
        self._later(0.0, "look", self._worker(one.place))

    def _hang(self, one: One) -> None:
        self.found["hangs"] += 1
        one.hangs = float("inf")
        self._stop(one)
        self._later(HANG_SECONDS, "wake", one)

    def _wake(self, one: One) -> None:
        one.silent_since = None
        one.share._look_after()  # what the heart asks before its first beat
        if one.share.lost:
            self.found["lost_banks"] += 1
            self.found["twice"] += beat_seconds() * one.speed  # until it has looked
            one.share.release()
            one.bank = None
            self._later(beat_seconds(), "look", one)
        elif one.bank is not None:
            one.began = self.clock.now
            self._go_on(one)

    def _stop(self, one: One) -> None:
        """A worker gives no more signs of life; its bank keeps what its last checkpoint holds."""
        beat = beat_seconds()
        one.silent_since = self.clock.now - (self.clock.now % beat)
        if one.bank is not None:
            did = (self.clock.now - one.began) * one.speed
            saved = did - did % (CHECKPOINT_SECONDS * one.speed)
            self.kept[one.bank] += saved
            self.found["trained"] += self.clock.now - one.began
            self.found["lost"] += did - saved

    def _wake_next(self) -> None:
        """Have the first look who waits. Where it finds nothing, nobody else would; where it does, the next looks."""
        if self.waiting:
            self._later(0.0, "look", next(iter(self.waiting)))

    def _ends_waiting(self, one: One) -> None:
        """Count how long a worker waited. It looked every two seconds, which are counted and not played."""
        waited = self.clock.now - self.waiting.pop(one)
        self.operations.add("look", OF_A_LOOK * int(waited / share.WAIT_SECONDS))
        self.found["waited"] += waited

    # -- what stands in for the machines ---------------------------------------------------------------------------

    def _later(self, seconds: float, what: str, one: One | None) -> None:
        self.born += 1
        heapq.heappush(self.events, (self.clock.now + seconds, self.born, what, one))

    def _worker(self, place: int) -> One:
        number = len(self.alive)
        process = ProcessId(pid=number + 1, started=self.clock.now, boot=f"boot-{number}")
        me = Identity(f"host-{number}-{number + 1}-0", f"host-{number}", process, None)
        heart = Heart(self.folder.workers, Worker(me, self.clock.now))
        heart.beat()
        lifetime = self.random.expovariate(1 / (self.hours * 3600)) if self.hours else float("inf")
        hangs = self.clock.now + self.random.uniform(60, 3600) if number % 50 == 49 else float("inf")
        one = One(
            Share(self.folder, heart, self.names),
            place,
            _speed(place),
            self.clock.now + lifetime,
            hangs,
        )
        self.alive[heart.path] = one
        return one

    def _date(self, path: Path) -> int | None:
        """Date of a worker's last sign of life."""
        self.operations.add("open", 1)
        one = self.alive.get(path)
        if one is None:
            return None
        beat = beat_seconds()
        at = self.clock.now - self.clock.now % beat if one.silent_since is None else one.silent_since
        return int(at * 1e9)

    def _replace_clock_and_dates(self) -> None:
        for module in (share, workers, claims):
            module.time = self.clock  # type: ignore[attr-defined]
        workers._date = self._date  # type: ignore[assignment]
        known: dict[str, Any] = {}

        def row(folder: SweepFolder, name: str) -> dict[str, Any] | None:
            if name not in known:
                known[name] = whole(folder, name)
                return known[name]
            self.operations.add("open", 1)
            return known[name]

        whole = READ_ROW
        known = {}

        def first(folder: SweepFolder, name: str) -> dict[str, Any] | None:
            found = row(folder, name)
            if found is None:
                known.pop(name, None)
            return found

        SweepFolder.row = first  # type: ignore[method-assign]

    def _result(self, makespan: float) -> dict[str, float]:
        whole = sum(self.seconds.values())
        # A worker that is slow counts as what it is worth; the last bank bounds any number of workers.
        worth = sum(map(_speed, range(self.count)))
        beats = self.count * makespan / beat_seconds()
        operations = sum(self.operations.counts.values()) + OF_A_BEAT * beats
        by_minute = max(self.operations.by_minute.values(), default=0) / 60
        return {
            "workers": self.count,
            "banks": len(self.seconds),
            "hours": makespan / 3600,
            "efficiency": whole / (worth * makespan),
            "bound": max(whole / worth, max(self.seconds.values())) / makespan,
            "lost_percent": 100 * self.found["lost"] / whole,
            "twice_percent": 100 * self.found["twice"] / whole,
            "waited_percent": 100 * self.found["waited"] / (self.count * makespan),
            "deaths": self.found["deaths"],
            "takeovers": self.found["takeovers"],
            "operations_per_second": operations / makespan,
            "most_in_a_minute": by_minute + OF_A_BEAT * self.count / beat_seconds(),
        }


def _speed(place: int) -> float:
    """Speed of a machine: every twentieth is slow."""
    return 1 / SLOW if place % 20 == 19 else 1.0


READ_ROW = SweepFolder.row
ROWS: dict[str, dict[str, Any]] = {}
"""Rows by the identity of the fine-tune, without what training adds."""


def planned(fine_tunes: int, seconds: float, count: int) -> dict[Bank, float]:
    """Banks of a grid of about so many fine-tunes for a number of workers, the longest first, and what each takes.

    ``seconds``: mean of a fine-tune; each takes its share by its work.
    """
    tasks, regimes = ("sst2", "rte", "cola", "mrpc", "stsb", "qqp", "qnli", "mnli"), ("low", "medium", "high")
    rates = (1e-4, 4e-4, 1e-3, 4e-3, 1e-2)
    seeds = max(1, fine_tunes // (len(tasks) * len(regimes) * 4 * len(rates)))
    spec = SweepSpec(tasks, regimes, terms=("v", "q", "k", "all"), lrs=rates, seeds=tuple(range(seeds)))
    runs = spec.runs()
    banks: list[list[RunConfig]] = grouping.group(runs, BANK, count)
    of_unit = seconds * len(runs) / sum(map(work.order, runs))
    ROWS.update({identity(run): plan_columns(run) | {"state": "done"} for bank in banks for run in bank})
    return {tuple(map(identity, bank)): of_unit * sum(map(work.order, bank)) for bank in banks}


COLUMNS = {
    "workers": "workers",
    "banks": "banks",
    "hours": "hours",
    "efficiency": "used",
    "bound": "of what is possible",
    "lost_percent": "lost %",
    "twice_percent": "twice %",
    "waited_percent": "waited %",
    "deaths": "deaths",
    "takeovers": "takeovers",
    "operations_per_second": "file operations/s",
    "most_in_a_minute": "most in a minute, /s",
}


def main() -> None:
    """Replay the sweep with each number of workers, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 4, 16, 64, 256])
    parser.add_argument("--fine-tunes", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="mean of a fine-tune")
    parser.add_argument("--hours-to-death", type=float, default=4.0, help="0: nobody dies")
    parser.add_argument("--folder", type=Path, help="where the sweeps lie for the moment")
    given = parser.parse_args()
    print(*(f"{name:>10}" for name in COLUMNS.values()), sep=" | ", flush=True)
    for count in given.workers:
        child = os.fork()
        if not child:
            replay(given, count)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(1)


def replay(given: argparse.Namespace, count: int) -> None:
    """Replay the sweep with a number of workers, and print a line."""
    began = time.perf_counter()
    banks = planned(given.fine_tunes, given.seconds, count)
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        folder = Path(scratch) / "sweep"
        SweepFolder(folder).begin(SweepSpec())
        simulation = Simulation(folder, banks, count, given.hours_to_death)
        first = Share(SweepFolder(folder), Heart.of_this_process(folder / "workers"), simulation.names)
        first.make_plan(lambda names: [list(bank) for bank in banks])
        found = simulation.run()
    cells = (f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in found.values())
    lines = zip(cells, COLUMNS.values(), strict=True)
    took = f"({time.perf_counter() - began:.0f} s)"
    print(*(f"{cell:>{max(10, len(name))}}" for cell, name in lines), took, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
