"""Following of a sweep that others do: how far it is, by its rows and by what its workers say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from beft_core.config import RunConfig
from beft_core.sweeps.sharing.workers import Worker, workers_in
from beft_core.sweeps.spec import identity
from beft_core.sweeps.store import Finished, SweepFolder
from beft_core.training.estimate.count import count_examples, count_steps
from beft_core.training.observer import Observer


class Following:
    """Progress of the fine-tunes that a sweep's folder lacks, for an observer."""

    def __init__(self, folder: SweepFolder, runs: Sequence[RunConfig], observer: Observer) -> None:
        """Begin the stage in which the observer hears of all missing steps."""
        self._folder, self._observer = folder, observer
        self._finished = Finished(folder, map(identity, runs))
        done = frozenset(self._finished.look())
        self._steps = {
            name: count_steps(one, count_examples(one)) or 1 for one in runs if (name := identity(one)) not in done
        }
        self._reached = 0
        self._doing: dict[str, str] = {}
        observer.stage("train", sum(self._steps.values()))

    def missing(self) -> int:
        """Count the fine-tunes that are missing."""
        return self._finished.missing()

    def look(self, name_of: Callable[[Worker], str | None]) -> dict[str, Worker]:
        """Report what has changed; returns the workers that count, by name.

        ``name_of``: words for a worker in messages; None: it does not count.
        """
        found = {}
        for worker in workers_in(self._folder.workers):
            if (name := name_of(worker)) is None:
                continue
            found[worker.identity.id] = worker
            if worker.doing and worker.doing != self._doing.get(worker.identity.id):
                self._observer.message(f"{name}: {worker.doing}")
            self._doing[worker.identity.id] = worker.doing
        there = self._finished.look()
        done = sum(steps for name, steps in self._steps.items() if name in there)
        alive = (one for one in found.values() if one.state == "working" and one.identity.is_gone() is not True)
        under_way = sum(one.done for one in alive)
        reached = min(done + under_way, sum(self._steps.values()))
        self._observer.advance(reached - self._reached)
        self._reached = reached
        return found
