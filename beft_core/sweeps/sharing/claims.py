"""Claims on the banks of a sweep, by which any number of workers on any machines share them without locks.

The state of a bank is a chain of files, ``claims/<bank>.<number>``. Each is complete before it gets its name, is never
changed, and the highest number counts. Whoever has read one may try to add the next; of several, one succeeds. So a
bank has one owner at a time, and one that was taken from a worker which was only slow is known to be lost by a look at
one name.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.json_shape import Number, OneOf, Table, check
from beft_core.files.safe_io import create_once, parse_json, read_bounded
from beft_core.sweeps.sharing.workers import IDENTITY, WORKER_BYTES, Identity

HELD, FREE, DONE = "held", "free", "done"
_NAME = re.compile(r"([0-9a-z]{1,32})\.([0-9]{1,6})")
_RECORD = Table({"state": OneOf((HELD, FREE, DONE)), "owner": IDENTITY, "time": Number(0, 8e9)})


@dataclass(frozen=True)
class Claim:
    """Last record of a bank."""

    bank: str
    number: int
    state: str
    owner: Identity | None
    """Worker that wrote the record; None where it cannot be read."""


class Claims:
    """Claims in a folder, as one worker sees and makes them."""

    def __init__(self, folder: Path, me: Identity) -> None:
        """``folder``: of the claims, which must exist."""
        self._folder, self._me = folder, me
        self._read: dict[tuple[str, int], Claim] = {}
        """Records that were read: they never change."""

    def latest(self) -> dict[str, Claim]:
        """Read the last record of every bank that has one, by one look at the folder.

        Raises:
            UserError: the folder cannot be read.
        """
        last: dict[str, int] = {}
        try:
            for name in os.listdir(self._folder):  # noqa: PTH208 - one call to the server, not one for each file
                if found := _NAME.fullmatch(name):
                    bank, number = found[1], int(found[2])
                    last[bank] = max(number, last.get(bank, 0))
        except OSError as error:
            raise UserError(f"cannot list {self._folder}: {error.strerror}", "a folder to read") from None
        return {bank: self._record(bank, number) for bank, number in last.items()}

    def take(self, bank: str, after: Claim | None) -> Claim | None:
        """Try to become the owner of a bank whose last record is ``after``; None where somebody else was faster.

        Raises:
            UserError: the folder cannot be written.
        """
        return self._add(bank, 1 if after is None else after.number + 1, HELD)

    def release(self, claim: Claim, *, done: bool = False) -> None:
        """Give a bank back that this worker owns; ``done``: because all of it is there. One that was lost stays so.

        Raises:
            UserError: the folder cannot be written.
        """
        self._add(claim.bank, claim.number + 1, DONE if done else FREE)

    def is_lost(self, claim: Claim) -> bool:
        """Say whether somebody has taken a bank from this worker."""
        return os.path.lexists(self._path(claim.bank, claim.number + 1))

    def _add(self, bank: str, number: int, state: str) -> Claim | None:
        record = {"state": state, "owner": asdict(self._me), "time": time.time()}
        if not create_once(self._path(bank, number), json.dumps(record).encode()):
            return None
        return Claim(bank, number, state, self._me)

    def file(self, claim: Claim) -> Path:
        """Path of the file of a record."""
        return self._path(claim.bank, claim.number)

    def _record(self, bank: str, number: int) -> Claim:
        if (known := self._read.get((bank, number))) is not None:
            return known
        with suppress(UserError):
            text = read_bounded(self._path(bank, number), WORKER_BYTES, "a claim", follow=False)
            table = parse_json(text, "a claim")
            check(table, _RECORD, "a claim")
            claim = Claim(bank, number, table["state"], Identity.from_dict(table["owner"]))
            self._read[bank, number] = claim
            return claim
        return Claim(bank, number, HELD, None)

    def _path(self, bank: str, number: int) -> Path:
        return self._folder / f"{bank}.{number}"
