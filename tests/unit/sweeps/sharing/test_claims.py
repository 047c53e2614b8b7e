"""Claims: of any number of workers one has a bank, and one that was only slow learns that it lost it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.sweeps.sharing.claims import DONE, FREE, HELD, Claims
from beft_core.sweeps.sharing.workers import Identity

BANK = "0123456789abcdef"


def claims(folder: Path) -> Claims:
    return Claims(folder, Identity.of_this_process())


def test_a_bank_goes_from_hand_to_hand(tmp_path: Path) -> None:
    one, two = claims(tmp_path), claims(tmp_path)
    assert one.latest() == {}
    held = one.take(BANK, None)
    assert held is not None and two.take(BANK, None) is None
    seen = two.latest()[BANK]
    assert (seen.state, seen.number, seen.owner) == (HELD, 1, held.owner)
    one.release(held)
    free = two.latest()[BANK]
    assert free.state == FREE
    second = two.take(BANK, free)
    assert second is not None and one.latest()[BANK].owner == second.owner
    two.release(second, done=True)
    assert one.latest()[BANK].state == DONE


def test_a_slow_owner_learns_that_it_lost_its_bank_and_gives_nothing_back(tmp_path: Path) -> None:
    slow, quick = claims(tmp_path), claims(tmp_path)
    held = slow.take(BANK, None)
    assert held is not None and not slow.is_lost(held)
    taken = quick.take(BANK, held)  # after it gave no sign of life
    assert taken is not None and slow.is_lost(held)
    slow.release(held, done=True)
    assert quick.latest()[BANK] == taken and not quick.is_lost(taken)


def test_of_many_that_try_at_once_one_succeeds_every_time(tmp_path: Path) -> None:
    workers = [claims(tmp_path) for _ in range(8)]
    for round_ in range(20):
        barrier, won = threading.Barrier(len(workers)), []

        def race(worker: Claims, barrier: threading.Barrier = barrier, won: list = won) -> None:
            before = worker.latest().get(BANK)
            barrier.wait()
            if (claim := worker.take(BANK, before)) is not None:
                won.append((worker, claim))

        threads = [threading.Thread(target=race, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ((worker, claim),) = won
        assert claim.number == 2 * round_ + 1
        worker.release(claim)


@pytest.mark.parametrize("text", ["", "{", '{"state": "held"}', json.dumps({"state": "mine", "owner": 1, "time": 0})])
def test_a_record_that_cannot_be_read_is_a_claim_of_nobody_known(text: str, tmp_path: Path) -> None:
    (tmp_path / f"{BANK}.3").write_text(text)
    (tmp_path / "notes.txt").write_text("mine")
    claim = claims(tmp_path).latest()[BANK]
    assert (claim.number, claim.state, claim.owner) == (3, HELD, None)
    taken = claims(tmp_path).take(BANK, claim)
    assert taken is not None and taken.number == 4


def test_a_folder_that_is_gone_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot list"):
        claims(tmp_path / "gone").latest()
    with pytest.raises(UserError, match="cannot write"):
        claims(tmp_path / "gone").take(BANK, None)
