"""Share of one worker in a sweep: which bank it takes next, when it waits, and when nothing is left for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from beft_core.environment import beat_seconds
from beft_core.sweeps.sharing.claims import DONE, HELD, Claim, Claims
from beft_core.sweeps.sharing.plan import Bank, Plan, bank_id
from beft_core.sweeps.sharing.workers import Heart, Watch
from beft_core.sweeps.store import Finished, SweepFolder

WAIT_SECONDS = 2.0
"""Most seconds between two looks for a bank that has become free."""


@dataclass(frozen=True)
class Sharing:
    """How a worker shares a sweep with others."""

    workers: int = 1
    """Number of workers that banks are planned for, where this one is the first to plan."""
    wait: bool = True
    """Whether to wait until all is done, to take over what others leave; else a worker leaves when whatever is left is
    in the hands of workers that it has seen alive.
    """
    joins: bool = False
    """Whether the grid is the one that the folder has: it is then not written again, for it may have grown since."""
    heart: Heart | None = None
    """Heart of this worker, where whoever starts it has made one; None: it gets one."""


ALONE = Sharing()
"""A worker that nobody was started with; others may still come."""


class Share:
    """Claims, plan and signs of life of a sweep, as one worker takes part in them."""

    def __init__(self, folder: SweepFolder, heart: Heart, names: Sequence[str]) -> None:
        """``names``: identities of the grid's fine-tunes; ``heart``: of this worker, which beats."""
        self._folder, self._heart = folder, heart
        self._names, self._grid = names, frozenset(names)
        self._claims = Claims(folder.claims, heart.worker.identity)
        self._watch = Watch(heart)
        self._finished = Finished(folder, names)
        self._has_looked = False
        self._held: Claim | None = None
        self._others: list[Claim | None] = []
        """Claims that were in the way at the last look; None: of somebody who was faster."""
        self.lost = False
        """Whether somebody has taken the bank that this worker holds."""
        self.plan = Plan(folder.path)
        heart.on_beat.append(self._look_after)

    def done(self) -> set[str]:
        """List the identities of finished fine-tunes of the grid.

        Rows that are there when this worker comes are read, which finds damaged ones; of those that come later, only
        rows of banks that nobody has said to be done: else each of 256 workers would read each of 10,000 rows.
        """
        vouched = self._in_banks_that_are_done() if self._has_looked else set()
        self._has_looked = True
        return self._finished.look(vouched)

    def _in_banks_that_are_done(self) -> set[str]:
        done = {name for name, claim in self._claims.latest().items() if claim.state == DONE}
        return {name for bank in self.plan.banks() if bank_id(bank) in done for name in bank}

    def make_plan(
        self, more: Callable[[Sequence[str]], Sequence[Sequence[str]]], most: int | None = None
    ) -> list[Bank]:
        """Plan the fine-tunes of this grid that nobody has planned yet.

        Args:
            more: function that groups the identities of fine-tunes into banks, in the order in which they are to be
                trained. Of several workers that plan at once, the banks of one count.
            most: most fine-tunes of a bank: larger ones that nobody has begun are split.

        Returns the larger ones that stay as they are because they have been begun: a bank goes on from its saved state
        only with those that it began with.

        Raises:
            UserError: the folder cannot be written, or ``more`` says why it cannot be planned.
        """
        while True:
            banks = [bank for bank in self.plan.banks() if self._grid.issuperset(bank)]
            done = self.done()
            large = [bank for bank in banks if len(bank) > (most or len(bank)) and not done.issuperset(bank)]
            begun = self._begun(large)
            if len(begun) < len(large):
                for bank in large:
                    if bank not in begun:
                        self.plan.split(bank)
                continue
            covered = {name for bank in banks for name in bank}
            rest = [name for name in self._names if name not in covered and name not in done]
            if not rest:
                return begun
            self.plan.add(more(rest))

    def _begun(self, banks: Sequence[Bank]) -> list[Bank]:
        """Choose those of some banks that somebody has, or whose saved state is there."""
        if not banks:
            return []
        held = {name for name, claim in self._claims.latest().items() if claim.state == HELD}
        return [bank for bank in banks if bank_id(bank) in held or self._folder.checkpoint(bank).exists()]

    def undone(self) -> list[Bank]:
        """List the planned banks of which a fine-tune is missing, as they are now: others finish and split them."""
        done = self.done()
        return [bank for bank in self.plan.banks() if self._grid.issuperset(bank) and not done.issuperset(bank)]

    def remove_saved(self) -> None:
        """Remove the saved states of banks that are done or split: whoever is killed right after that leaves them."""
        with suppress(OSError):
            saved = list(self._folder.path.glob("bank-*.safetensors"))  # before the plan, to which others may add
            there = self._folder.rows_there()
            waiting = [*self.undone(), *(bank for bank in self.plan.banks() if not there.issuperset(bank))]
            for path in set(saved).difference(map(self._folder.checkpoint, waiting)):
                path.unlink(missing_ok=True)

    def take(self, banks: Sequence[Bank]) -> Bank | None:
        """Become the owner of the first of some banks that nobody has, or whose owner is gone; None: there is none.

        Raises:
            UserError: the folder cannot be read or written.
        """
        latest = self._claims.latest()
        self._others = []
        for bank in banks:
            if self._take(bank_id(bank), latest):
                if not self.done().issuperset(bank):
                    return bank
                self.release(done=True)  # finished between the two looks
        return None

    def take_unit(self, unit: str) -> bool:
        """Become the owner of a piece of work that is no bank, unless somebody has it."""
        self._others = []
        return self._take(unit, self._claims.latest())

    def release(self, *, done: bool = False) -> None:
        """Give back what this worker holds; ``done``: because all of it is there."""
        if self._held is not None:
            self._claims.release(self._held, done=done)
            self._held = None
            self._heart.tell(bank=None, done=0)

    def leaves(self) -> bool:
        """Say whether every bank that could not be taken is in the hands of a worker that was seen alive."""
        return all(claim is not None and self._is_alive(claim) for claim in self._others)

    def wait(self) -> None:
        """Wait a little for what others do."""
        began = time.monotonic()
        self._heart.tell(state="waiting", doing="waits for what others train")
        time.sleep(min(WAIT_SECONDS, beat_seconds()))
        self._heart.tell(waited=self._heart.worker.waited + time.monotonic() - began, state="working", doing="")

    def _take(self, name: str, latest: Mapping[str, Claim]) -> bool:
        claim = latest.get(name)
        if claim is not None and claim.state == HELD and not self._is_gone(claim):
            self._others.append(claim)
            return False
        self._held = self._claims.take(name, claim)
        if self._held is None:
            self._others.append(None)
            return False
        self.lost = False
        self._heart.tell(bank=name)
        return True

    def _is_alive(self, claim: Claim) -> bool:
        return claim.owner is not None and self._watch.is_seen_alive(claim.owner)

    def _is_gone(self, claim: Claim) -> bool:
        if claim.owner is None:  # a record that cannot be read
            return self._watch.is_silent(self._claims.file(claim))
        return self._watch.is_gone(claim.owner)

    def _look_after(self) -> None:
        held = self._held
        # A claim that was given back while its file was looked for has a record after it, too: that is this worker's.
        if held is not None and self._claims.is_lost(held) and self._held is held:
            self.lost = True
