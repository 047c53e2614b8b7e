"""Plan of a sweep, common to all its workers: which fine-tunes share a bank.

With dropout on, the numbers of a fine-tune depend on who shares its bank, so banks stay as they were first planned.
``plan/<number>.json`` are lists of banks that are only added to: of several workers that plan at once, one succeeds.
``plan/<bank>.split`` says that a bank is replaced by its two halves, because memory ran out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.safe_io import create_once, read_json_file

Bank = tuple[str, ...]
"""Identities of the fine-tunes that share a pass."""
MAX_ENTRIES = 10_000
"""Most lists of a plan: a grid that grows adds one each time."""


def bank_id(bank: Sequence[str]) -> str:
    """Name a bank by its fine-tunes: 16 hexadecimal digits."""
    return hashlib.sha256("".join(bank).encode()).hexdigest()[:16]


class Plan:
    """Plan in the folder of a sweep."""

    def __init__(self, folder: Path) -> None:
        """``folder``: of the sweep."""
        self._earlier, self._folder = folder / "plan.json", folder / "plan"
        self._lists: list[list[Bank]] = []
        """Lists that were read: they never change."""

    def prepare(self) -> None:
        """Make the folder of the plan. Raises OSError."""
        self._folder.mkdir(exist_ok=True)

    def banks(self) -> list[Bank]:
        """List all banks in the order in which they were planned, those that were split by their parts."""
        split = {path.stem for path in self._folder.glob("*.split")}
        whole = [*_banks(self._earlier), *(bank for part in self._read() for bank in part)]
        return [part for bank in dict.fromkeys(whole) for part in _parts(bank, split)]

    def add(self, banks: Iterable[Sequence[str]]) -> bool:
        """Add banks; say whether that worked: otherwise somebody else has added some since they were last listed.

        Raises:
            UserError: the folder cannot be written, or holds no more.
        """
        number = len(self._lists) + 1
        if number > MAX_ENTRIES:
            raise UserError(
                f"got a sweep that was planned {MAX_ENTRIES:,} times", "a folder of its own", "another --out"
            )
        return create_once(self._path(number), json.dumps({"banks": [list(bank) for bank in banks]}).encode())

    def split(self, bank: Sequence[str]) -> None:
        """Replace a bank by its halves, for all workers. Raises UserError where the folder cannot be written."""
        create_once(self._folder / f"{bank_id(bank)}.split", b"")

    def _read(self) -> list[list[Bank]]:
        while (path := self._path(len(self._lists) + 1)).exists():
            self._lists.append(_banks(path))
        return self._lists

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.json"


def halves(bank: Sequence[Any]) -> list[Sequence[Any]]:
    """Split a bank for which memory did not suffice into two smaller ones."""
    middle = -(-len(bank) // 2)
    return [bank[:middle], bank[middle:]]


def _parts(bank: Bank, split: set[str]) -> Iterator[Bank]:
    if len(bank) < 2 or bank_id(bank) not in split:
        yield bank
        return
    for half in halves(bank):
        yield from _parts(tuple(half), split)


def _banks(path: Path) -> list[Bank]:
    """Read a list of banks; none where the file is missing or damaged, whose fine-tunes are then planned anew."""
    with suppress(UserError):
        banks = read_json_file(path, 64 * 2**20).get("banks")
        if isinstance(banks, list) and all(
            isinstance(bank, list) and bank and all(isinstance(run, str) for run in bank) for bank in banks
        ):
            return [tuple(bank) for bank in banks]
    return []
