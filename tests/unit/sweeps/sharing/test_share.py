"""A worker's share: which bank it takes, when it waits, when it leaves, and what it takes over."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from beft_core.process_id import ProcessId
from beft_core.sweeps.rows import plan_columns
from beft_core.sweeps.sharing import share as module
from beft_core.sweeps.sharing.claims import Claim
from beft_core.sweeps.sharing.plan import Bank, bank_id
from beft_core.sweeps.sharing.share import Share
from beft_core.sweeps.sharing.workers import Heart, Identity, Worker
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder

SPEC = SweepSpec.from_dict({"terms": ["v", "q"], "seeds": 3, "n_train": 8})
RUNS = {identity(config): config for config in SPEC.runs()}
NAMES = list(RUNS)


def pairs(names: Sequence[str]) -> list[Bank]:
    return [tuple(names[start : start + 2]) for start in range(0, len(names), 2)]


BANKS = pairs(NAMES)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    made = SweepFolder(tmp_path / "sweep")
    made.begin(SPEC)
    return made


@pytest.fixture
def two(folder: SweepFolder) -> Iterator[tuple[Share, Share]]:
    """Two workers of this machine, with a common plan."""
    with Heart.of_this_process(folder.workers) as first, Heart.of_this_process(folder.workers) as second:
        shares = Share(folder, first, NAMES), Share(folder, second, NAMES)
        for one in shares:
            one.make_plan(pairs)
        yield shares


def finish(folder: SweepFolder, bank: Sequence[str]) -> None:
    for name in bank:
        folder.save({**plan_columns(RUNS[name]), "state": "done"}, None)


def test_workers_take_different_banks_until_none_is_left(folder: SweepFolder, two: tuple[Share, Share]) -> None:
    one, other = two
    assert one.undone() == other.undone() == BANKS
    assert [one.take(one.undone()), other.take(other.undone())] == BANKS[:2]
    finish(folder, BANKS[0])
    one.release(done=True)
    assert one.take(one.undone()) == BANKS[2]
    assert other.undone() == BANKS[1:]
    finish(folder, BANKS[1])
    other.release(done=True)
    assert other.take(other.undone()) is None and other.leaves()  # the other one is alive
    one.release()
    assert other.take(other.undone()) == BANKS[2]
    finish(folder, BANKS[2])
    other.release(done=True)
    assert one.undone() == [] and one.done() == set(NAMES)


def test_a_bank_that_was_finished_between_two_looks_is_not_trained_again(
    folder: SweepFolder, two: tuple[Share, Share]
) -> None:
    one, other = two
    seen = other.undone()
    assert one.take(one.undone()) == BANKS[0]
    finish(folder, BANKS[0])
    one.release(done=True)
    assert other.take(seen[:1]) is None and other.take(seen) == BANKS[1]


def test_a_row_that_was_deleted_or_damaged_is_trained_again(folder: SweepFolder, two: tuple[Share, Share]) -> None:
    one, _ = two
    assert one.take(one.undone()) == BANKS[0]
    finish(folder, BANKS[0])
    one.release(done=True)
    (folder.rows / f"{BANKS[0][1]}.json").write_text("{")
    with Heart.of_this_process(folder.workers) as heart:
        again = Share(folder, heart, NAMES)
        assert again.undone() == BANKS and again.take(again.undone()) == BANKS[0]


def test_a_fine_tune_that_is_to_be_trained_again_is_trained_by_one_worker_once(
    folder: SweepFolder, two: tuple[Share, Share]
) -> None:
    one, _ = two
    for bank in BANKS:
        assert one.take(one.undone()) == bank
        finish(folder, bank)
        one.release(done=True)
    folder.mark_again([BANKS[1][0]])
    saved = folder.checkpoint(BANKS[1])
    saved.touch()
    assert one.undone() == [], "who began before leaves it to others"
    one.remove_saved()
    assert saved.exists(), "what another worker goes on from"
    with Heart.of_this_process(folder.workers) as third, Heart.of_this_process(folder.workers) as fourth:
        new, other = (Share(folder, heart, NAMES) for heart in (third, fourth))
        assert new.undone() == other.undone() == [BANKS[1]], "with whom it shares its pass, for equal numbers"
        assert new.take(new.undone()) == BANKS[1] and other.take(other.undone()) is None
        finish(folder, BANKS[1])
        new.release(done=True)
        assert new.undone() == other.undone() == [] and not folder.marked_again()
        new.remove_saved()
    assert not saved.exists()


def test_rows_of_a_bank_that_is_said_to_be_done_are_not_read_by_everybody(
    folder: SweepFolder, two: tuple[Share, Share], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = SweepFolder.row

    def row(self: SweepFolder, name: str) -> dict[str, object] | None:
        read.append(name)
        return real(self, name)

    one, other = two
    assert one.take(one.undone()) == BANKS[0]
    finish(folder, BANKS[0])
    one.release(done=True)
    finish(folder, BANKS[1])  # nobody says so yet
    (folder.rows / f"{BANKS[1][0]}.json").write_text("{")
    monkeypatch.setattr(SweepFolder, "row", row)
    assert other.undone() == BANKS[1:] and sorted(read) == sorted(BANKS[1])
    read.clear()
    with Heart.of_this_process(folder.workers) as heart:
        third = Share(folder, heart, NAMES)
        (folder.rows / f"{BANKS[0][1]}.json").write_text("{")
        assert third.undone() == BANKS and set(read) == {*BANKS[0], *BANKS[1]}, "whoever comes reads what is there"


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_what_a_dead_worker_held_is_taken_over_and_it_would_learn_of_it(
    place: str, folder: SweepFolder, two: tuple[Share, Share], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_CLAIM_SECONDS", "1")
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.05")
    here = Identity.of_this_process()
    dead = replace(here, id="dead", process=replace(here.process, started=1.0, ticks=1))
    if place == "elsewhere":
        dead = replace(here, id="dead", host="far", process=ProcessId(psutil.Process().pid, 1.0, "another boot", 1))
    heart = Heart(folder.workers, Worker(dead, 1.0))
    heart.beat()
    lost = Share(folder, heart, NAMES)
    assert lost.take(BANKS) == BANKS[0]
    one, _ = two
    began = time.monotonic()
    while (taken := one.take(BANKS[:1])) is None:
        assert place == "elsewhere" and time.monotonic() - began < 60
        assert not one.leaves(), "nobody has seen it alive"
        time.sleep(0.05)
    assert taken == BANKS[0] and (place == "here" or time.monotonic() - began > 0.9)
    assert not lost.lost
    for look in heart.on_beat:
        look()
    assert lost.lost
    lost.release()
    assert two[1].take(BANKS[:1]) is None


def test_a_bank_that_was_given_back_during_a_look_is_not_lost(
    two: tuple[Share, Share], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = two
    assert one.take(BANKS) == BANKS[0]
    look = one._claims.is_lost

    def slowly(claim: Claim) -> bool:
        one.release()
        assert one.take(BANKS) == BANKS[0]
        return look(claim)

    monkeypatch.setattr(one._claims, "is_lost", slowly)
    one._look_after()
    assert not one.lost, "the record after the claim is this worker's own"


def test_a_claim_that_cannot_be_read_is_waited_for_and_then_taken(
    folder: SweepFolder, two: tuple[Share, Share], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_CLAIM_SECONDS", "1")
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.05")
    (folder.claims / f"{bank_id(BANKS[0])}.1").write_bytes(b"")
    one, _ = two
    assert one.take(BANKS[:1]) is None and not one.leaves()
    deadline = time.monotonic() + 60
    while one.take(BANKS[:1]) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert two[1].take(BANKS[:1]) is None


def test_a_larger_grid_plans_only_what_is_new(folder: SweepFolder, two: tuple[Share, Share]) -> None:
    larger = SweepSpec.from_dict({"terms": ["v", "q", "k"], "seeds": 3, "n_train": 8})
    names = [identity(config) for config in larger.runs()]
    asked: list[list[str]] = []

    def group(some: Sequence[str]) -> list[Bank]:
        asked.append(list(some))
        return [tuple(some)]

    with Heart.of_this_process(folder.workers) as heart:
        share = Share(folder, heart, names)
        share.make_plan(group)
        new = [name for name in names if name not in NAMES]
        assert asked == [new] and share.undone() == [*BANKS, tuple(new)]
    assert two[0].undone() == BANKS  # a worker of the smaller grid leaves the others alone


def test_smaller_banks_split_those_that_nobody_has(folder: SweepFolder, two: tuple[Share, Share]) -> None:
    one, other = two
    assert one.take(one.undone()) == BANKS[0]
    assert other.make_plan(pairs, most=1) == [BANKS[0]]
    assert other.undone() == [BANKS[0], *((name,) for bank in BANKS[1:] for name in bank)]


def test_smaller_banks_leave_those_whose_saved_state_is_there(folder: SweepFolder, two: tuple[Share, Share]) -> None:
    one, other = two
    one.take(one.undone())
    folder.checkpoint(BANKS[0]).write_bytes(b"of its first hour")
    one.release()
    assert other.make_plan(pairs, most=1) == [BANKS[0]]
    assert other.take(other.undone()) == BANKS[0]
    other.release()
    folder.checkpoint(BANKS[0]).unlink()
    assert other.make_plan(pairs, most=1) == [] and BANKS[0] not in other.undone()


def test_saved_states_go_once_nobody_will_go_on_from_them(folder: SweepFolder, two: tuple[Share, Share]) -> None:
    one, _ = two
    of_another_grid, halved = ("x", "y"), BANKS[2]
    one.plan.add([of_another_grid])
    for bank in (*BANKS, of_another_grid):
        folder.checkpoint(bank).touch()
    finish(folder, BANKS[0])
    one.plan.split(halved)
    one.remove_saved()
    assert set(folder.path.glob("bank-*")) == {folder.checkpoint(bank) for bank in (BANKS[1], of_another_grid)}


def test_waiting_is_counted(two: tuple[Share, Share], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.02)
    one, _ = two
    one.wait()
    assert one._heart.worker.waited >= 0.02 and one._heart.worker.state == "working"


def test_work_that_is_no_bank_is_done_by_one_at_a_time(two: tuple[Share, Share]) -> None:
    one, other = two
    assert one.take_unit("merges1") and not other.take_unit("merges1")
    one.release(done=True)
    assert other.take_unit("merges1"), "whoever misses its result may do it again"
