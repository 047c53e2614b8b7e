"""Workers of one machine: where they are put; and played ones, how they are watched, stopped and started again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_runner import beft

from beft_core.cli.workers import command as worker_command
from beft_core.errors import UserError
from beft_core.execution import fleet, sweep_worker
from beft_core.execution.fleet import Place, at_once, options_of, places, sweep_here
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import read_table
from beft_core.training.observer import Observer

SPEC = SweepSpec.from_dict({"terms": ["v", "q"], "seeds": 2, "n_train": 8, "epochs": 1, "device": "cpu"})
ROWS = Kept(snapshots=False)
"""What played workers keep."""
ON_GPU = SweepSpec.from_dict({"terms": ["v"]})


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A machine of so many GPUs of 80 GiB."""

    def have(count: int) -> None:
        monkeypatch.setattr(fleet, "gpus", lambda: tuple(f"GPU-{number}" for number in range(count)))
        monkeypatch.setattr(fleet, "gpu_bytes", lambda: 80 * 2**30 if count else None)

    have(0)
    return have


def bound(found: list[Place]) -> list[tuple[str, str]]:
    return [(place.name, place.environment.get("CUDA_VISIBLE_DEVICES", "")) for place in found]


def test_a_cpu_has_one_worker_or_as_many_as_are_asked_for(
    cards: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert places(SPEC) == places(SPEC, workers=1) == [Place("cpu")]
    three = places(SPEC, workers=3)
    assert [place.environment for place in three] == [{"OMP_NUM_THREADS": "2"}] * 3
    assert [place.name for place in three] == ["cpu, part 1 of 3", "cpu, part 2 of 3", "cpu, part 3 of 3"]
    cards(2)
    assert places(SPEC) == [Place("cpu")]  # it asks for the CPU


def test_every_gpu_has_a_worker_without_being_told(cards: Callable[[int], None]) -> None:
    cards(1)
    assert places(ON_GPU) == [Place("cuda")]  # as before, in the process itself
    assert bound(places(ON_GPU, workers=2)) == [("cuda:0", "GPU-0"), ("cuda:0", "GPU-0")]
    cards(3)
    assert bound(places(ON_GPU)) == [(f"cuda:{number}", f"GPU-{number}") for number in range(3)]
    assert bound(places(ON_GPU, ["cuda:2", "cuda:0"])) == [("cuda:2", "GPU-2"), ("cuda:0", "GPU-0")]
    assert bound(places(ON_GPU, ["cuda:1"])) == [("cuda:1", "GPU-1")]
    assert len(places(ON_GPU, workers=4)) == 4


@pytest.mark.parametrize(("wanted", "threads"), [(None, "2"), ("", "2"), ("1", "1"), ("64", "2"), ("0", "2")])
def test_workers_of_gpus_have_few_threads_each(
    wanted: str | None, threads: str, cards: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_cores", lambda: 32)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if wanted is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    cards(2)
    assert [place.environment["OMP_NUM_THREADS"] for place in places(ON_GPU)] == [threads] * 2
    assert {place.environment["OMP_NUM_THREADS"] for place in places(ON_GPU, workers=64)} == {"1"}


def test_a_model_that_one_gpu_cannot_hold_gets_several(
    cards: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(60 * 2**30)  # 30 billion parameters in half precision, without a byte on the disk
    found = SimpleNamespace(folder=tmp_path, config={"torch_dtype": "float16"})
    monkeypatch.setattr(fleet, "locate", lambda name: found)
    cards(5)
    assert bound(places(ON_GPU)) == [("cuda:0 cuda:1", "GPU-0,GPU-1"), ("cuda:2 cuda:3", "GPU-2,GPU-3")]
    half = SweepSpec.from_dict({"terms": ["v"], "precision": "bfloat16"})
    assert len(places(half)) == 5
    cards(2)
    assert places(ON_GPU) == [Place("cuda")]


@pytest.mark.parametrize(
    ("devices", "workers", "words"),
    [
        (["cuda:7"], None, "got --devices cuda:7; expected some of cuda:0, cuda:1"),
        (["cuda:0", "cuda:0"], None, "each once"),
        (["cpu"], None, "got --devices cpu"),
        ([], 0, "got --workers 0; expected from 1 to 256"),
        ([], 257, "got --workers 257"),
    ],
)
def test_what_is_not_there_is_refused(
    devices: list[str], workers: int | None, words: str, cards: Callable[[int], None]
) -> None:
    cards(2)
    with pytest.raises(UserError, match=words):
        places(ON_GPU, devices, workers)
    cards(0)
    if devices:
        with pytest.raises(UserError, match="no GPU to compute on"):
            places(ON_GPU, devices)


@pytest.mark.parametrize("keep", [Kept(), Kept(snapshots=False), Kept(True, True, True), Kept(False, False, True)])
def test_what_is_kept_reaches_the_workers(keep: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SweepFolder(tmp_path).begin(SPEC)
    asked: list[sweep_worker.Assignment] = []
    monkeypatch.setattr(worker_command, "work", lambda _, __, given, **___: asked.append(given) or 0)
    assert beft("worker", tmp_path, *options_of(3, keep)).status == 0
    assert [(one.bank_size, one.keep) for one in asked] == [(3, keep)]


# --- with played workers -------------------------------------------------------------------------------------------

PLAYED = """
import os, signal, sys, time
from pathlib import Path
from beft_core.execution.leaving import UNFINISHED, Leaving
from beft_core.sweeps.rows import MEMORY_RAN_OUT, plan_columns
from beft_core.sweeps.sharing.share import Share
from beft_core.sweeps.sharing.workers import Heart
from beft_core.sweeps.spec import identity
from beft_core.sweeps.store import SweepFolder

folder, act = SweepFolder(Path(sys.argv[1])), sys.argv[2]
refusals = folder.refusals()
runs = {identity(one): one for one in folder.spec().runs()}
with Leaving() as leaving, Heart.of_this_process(folder.workers) as heart:
    share = Share(folder, heart, list(runs))
    share.make_plan(lambda names: [(name,) for name in names])
    if act == "leaves":
        sys.exit(0)
    if act == "fails":
        sys.exit("beft: got 3 layers; expected 6")
    while undone := [bank for bank in share.undone() if bank[0] not in refusals.look()]:
        if leaving.signal is not None:
            sys.exit(UNFINISHED)
        bank = share.take(undone)
        if bank is None:
            share.wait()
            continue
        heart.tell(doing="trains " + bank[0])
        heart.beat()
        if act == "dies" and not (folder.path / "died").exists():
            (folder.path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while act == "waits" and leaving.signal is None:
            time.sleep(0.01)
        if act == "refuses" and runs[bank[0]].seed == 1:
            refusals.add(bank[0], "got a seed of 1")
            share.release()
            continue
        row = {**plan_columns(runs[bank[0]]), "state": "done"}
        if act == "lacks" and runs[bank[0]].seed == 1:
            row |= {"state": "failed", "failure": MEMORY_RAN_OUT}
        folder.save(row, None)
        share.release(done=True)
        heart.tell(trained=heart.worker.trained + 1, banks=heart.worker.banks + 1)
"""


class Hears(Observer):
    """What a fleet says, and a wish to stop after so many words."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.told: list[str] = []
        self.total: int | None = None
        self.done = 0
        self.stop_after = stop_after

    def stage(self, name: str, total: int | None = None) -> None:
        self.total = total

    def advance(self, n: int = 1) -> None:
        self.done += n

    def message(self, text: str) -> None:
        self.told.append(text)

    def should_stop(self) -> bool:
        return len(self.told) >= self.stop_after


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let workers be played by an act."""
    monkeypatch.setattr(fleet, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(fleet, "CHILD_BEAT_SECONDS", 0.05)

    def act(name: str) -> None:
        monkeypatch.setattr(
            fleet, "command_of", lambda folder, *_: [sys.executable, "-c", PLAYED, str(folder.path), name]
        )

    return act


def test_they_share_the_sweep_and_their_numbers_are_added(played: Callable[[str], None], tmp_path: Path) -> None:
    played("works")
    folder, hears = SweepFolder(tmp_path / "sweep"), Hears()
    result = sweep_here(SPEC, folder, hears, workers=2, keep=ROWS)
    assert (result.runs, result.trained, result.banks, result.failed, result.stopped) == (4, 4, 4, 0, False)
    assert hears.total == hears.done == 4  # a step each
    assert list(read_table(folder.path)["run"]) == [identity(run) for run in SPEC.runs()]
    again = sweep_here(SPEC, folder, Hears(), workers=2, keep=ROWS)
    assert (again.runs, again.trained, again.stopped) == (4, 0, False)
    next(folder.rows.glob("[!.]*.json")).write_text("{")
    assert sweep_here(SPEC, folder, Hears(), workers=2, keep=ROWS).trained == 1, (
        "a damaged row is no finished fine-tune"
    )
    assert len(read_table(folder.path)) == 4


def test_what_lacks_memory_is_tried_once_by_each_start_and_snapshots_are_wanted_or_not(
    played: Callable[[str], None], tmp_path: Path
) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    for start in range(3):
        played("lacks")
        hears = Hears()
        result = sweep_here(SPEC, folder, hears, workers=2, keep=ROWS)
        assert (result.trained, result.failed) == (4 if start == 0 else 2, 2)
        said = [text for text in hears.told if "again" in text]
        assert said == (["2 finished fine-tunes will be trained again: memory had run out (2)"] if start else [])
        assert len(read_table(folder.path)) == 4
    played("works")
    assert sweep_here(SPEC, folder, Hears(), workers=2, keep=ROWS).failed == 0
    assert sweep_here(SPEC, folder, Hears(), workers=2, keep=ROWS).trained == 0
    assert sweep_here(SPEC, folder, Hears(), workers=2).trained == 4, "none has a snapshot"


def test_one_that_is_killed_is_told_and_the_other_does_its_part(played: Callable[[str], None], tmp_path: Path) -> None:
    played("dies")
    hears = Hears()
    result = sweep_here(SPEC, SweepFolder(tmp_path / "sweep"), hears, workers=2)
    assert (result.trained, result.stopped) == (4, False)
    assert any("ended: killed by signal 9" in text for text in hears.told)


def test_what_cannot_be_trained_is_not_missing(played: Callable[[str], None], tmp_path: Path) -> None:
    played("refuses")
    folder = SweepFolder(tmp_path / "sweep")
    result = sweep_here(SPEC, folder, Hears(), workers=2, keep=Kept(snapshots=False, refusals=True))
    refused = [identity(run) for run in SPEC.runs() if run.seed == 1]
    assert 0 < len(refused) < 4 and (result.trained, result.stopped) == (4 - len(refused), False)
    assert folder.refusals().look() == dict.fromkeys(refused, "got a seed of 1")
    assert set(read_table(folder.path)["seed"]) == {0}
    played("works")
    assert sweep_here(SPEC, folder, Hears(), workers=2, keep=Kept(snapshots=False, refusals=True)).trained == len(
        refused
    )
    assert folder.refusals().look() == {}, "a later call tries them again"


def test_where_all_were_killed_they_are_started_again(played: Callable[[str], None], tmp_path: Path) -> None:
    played("dies")
    place = [Place("cpu, part 1 of 1", {"OMP_NUM_THREADS": "1"})]
    folder = SweepFolder(tmp_path / "sweep")
    folder.begin(SPEC)
    result = fleet.Fleet(folder, SPEC.runs(), Hears(), ["--wait"]).run(place, merges=False)
    assert result.trained == 4 and len(list(folder.workers.glob("*.json"))) == 2


def test_what_ends_them_is_the_error_in_one_line(played: Callable[[str], None], tmp_path: Path) -> None:
    played("fails")
    began = time.monotonic()
    with pytest.raises(UserError, match=r"ended before all was done: got 3 layers; expected 6.*whole log is in"):
        sweep_here(SPEC, SweepFolder(tmp_path / "sweep"), Hears(), workers=2)
    assert time.monotonic() - began < 60


def test_what_others_have_in_hand_is_left_to_them(played: Callable[[str], None], tmp_path: Path) -> None:
    folder, where = SweepFolder(tmp_path / "sweep"), [Place("cuda:0", {"CUDA_VISIBLE_DEVICES": "0"})] * 2
    folder.begin(SPEC)
    played("leaves")
    result = fleet.Fleet(folder, SPEC.runs(), Hears(), []).run(where, merges=False)
    assert (result.trained, result.stopped) == (0, False)
    with pytest.raises(UserError, match="ended before all was done"):
        fleet.Fleet(folder, SPEC.runs(), Hears(), ["--wait"]).run(where, merges=False)
    played("fails")
    with pytest.raises(UserError, match="got 3 layers"):
        fleet.Fleet(folder, SPEC.runs(), Hears(), []).run(where, merges=False)


def test_workers_that_share_a_device_are_as_fast_as_one(
    cards: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (on_cpu, *_), (on_gpu,) = SPEC.runs(), ON_GPU.runs()
    assert at_once(on_cpu, workers=4) == at_once(on_cpu) == 1
    cards(3)
    assert (at_once(on_gpu), at_once(on_gpu, workers=6), at_once(on_gpu, ["cuda:2"])) == (3, 3, 1)
    monkeypatch.setattr(fleet, "locate", lambda name: pytest.fail("a forecast fetches no model"))
    monkeypatch.setattr(fleet, "layout_here", lambda name: None)
    assert (at_once(on_gpu), at_once(on_gpu, workers=2), at_once(on_gpu, workers=6)) == (3, 2, 3)


def test_the_wish_to_stop_is_passed_on(played: Callable[[str], None], tmp_path: Path) -> None:
    played("waits")
    folder = SweepFolder(tmp_path / "sweep")
    result = sweep_here(SPEC, folder, Hears(stop_after=1), workers=2)
    assert result.stopped and result.trained <= 2
    played("works")
    assert sweep_here(SPEC, folder, Hears(), workers=2).stopped is False
    assert len(read_table(folder.path)) == 4
