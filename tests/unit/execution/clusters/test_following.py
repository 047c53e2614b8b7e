"""Following a sweep: each step once, and what workers do is told once."""

from __future__ import annotations

from pathlib import Path

from beft_core.execution.clusters.following import Following
from beft_core.sweeps.rows import plan_columns
from beft_core.sweeps.sharing.workers import Heart
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

SPEC = SweepSpec.from_dict({"terms": ["v"], "seeds": 3, "n_train": 8, "batch_size": 4, "epochs": 1})


class Hears(Observer):
    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0
        self.told: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.total = total

    def advance(self, n: int = 1) -> None:
        self.done += n

    def message(self, text: str) -> None:
        self.told.append(text)


def test_rows_and_workers_together_are_the_progress(tmp_path: Path) -> None:
    folder, hears, runs = SweepFolder(tmp_path / "sweep"), Hears(), SPEC.runs()
    folder.begin(SPEC)
    folder.save({**plan_columns(runs[0]), "state": "done"}, None)
    follow = Following(folder, runs, hears)
    assert hears.total == 4 and follow.missing() == 2  # two steps of each that is missing
    with Heart.of_this_process(folder.workers, job="7") as heart:
        heart.tell(doing="one pass", done=1)
        heart.beat()
        for _ in range(2):
            found = follow.look(lambda worker: f"job {worker.job}")
        assert list(found) == [heart.worker.identity.id]
        assert hears.done == 1 and hears.told == ["job 7: one pass"]
        assert follow.look(lambda worker: None) == {} and hears.done == 0  # one of somebody else
        folder.save({**plan_columns(runs[1]), "state": "done"}, None)
        heart.tell(done=0)
        heart.beat()
        follow.look(lambda worker: "it")
        assert hears.done == 2 and follow.missing() == 1
        assert identity(runs[2]) not in folder.rows_there()
