"""Folder of a sweep. Whatever is finished is a file there, so a sweep that was killed goes on where it was.

``sweep.json``: the grid; ``grids/``: earlier ones that had more. ``plan/``: which runs share a bank, so that all
workers, and a resumed sweep, train the same banks. ``claims/``: which worker has which bank; ``workers/``: their
signs of life. ``rows/<run>.json``: one finished run each. ``rows/<run>.again``: beside a row that stays until a new one
takes its place, whose run counts as not finished until then (:mod:`beft_core.sweeps.sharing.renewal`). ``snapshots/``,
``predictions/<run>.parquet``: what a run predicts for the validation examples, and ``refused/``: why a run cannot be
trained, where those were asked for.
``bank-*.safetensors``: the state of a bank in progress.
``results.parquet`` and ``.csv``: the table, ``merges.json``: the merges. ``sources.json``: what the base model and the
data hold.

Any number of workers on any machines that share the folder may work in it at once: see
:mod:`beft_core.sweeps.sharing.share`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.files.safe_io import atomic_write, parse_json, read_bounded, read_json_file
from beft_core.presets import BUILT_IN, RECORD_VERSION, completed_sweep
from beft_core.runs.predictions import write_predictions
from beft_core.snapshots.snapshot import SUFFIX, Snapshot, write_snapshot
from beft_core.sweeps.rows import lacked_memory, plan_columns
from beft_core.sweeps.sharing.plan import bank_id
from beft_core.sweeps.sharing.refusals import Refusals
from beft_core.sweeps.sources import sources_of
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.table import COLUMNS, write_table
from beft_core.tasks.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd

MERGES, SOURCES = "merges.json", "sources.json"
MAX_GRID_BYTES = 16 * 2**20
"""Most bytes of a grid's file."""
ROW, AGAIN = ".json", ".again"
"""Endings of a row and of the mark beside it that says that its run is trained again."""
LAST_TABLES = 3
"""Most tables that a worker writes when it leaves."""


@dataclass(frozen=True)
class SweepFolder:
    """Folder that holds one sweep, or will."""

    path: Path

    @property
    def began(self) -> bool:
        """Whether a sweep began in the folder."""
        return (self.path / "sweep.json").is_file()

    def prepare(self) -> None:
        """Make the folder.

        Raises UserError: the folder cannot be made or written, or holds files of something else.
        """
        with _telling(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            strange = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
        if strange and not self.began:
            raise UserError(f"got {self.path}, which holds {strange[0]}", "an empty folder, or that of a sweep")

    def begin(self, spec: SweepSpec, tell: Callable[[str], object] = lambda _: None) -> None:
        """Note the grid; a larger grid over an older one keeps the runs that both have, and all files of the others.

        ``tell``: hears what the grid leaves out of the one that was here, which then lies in ``grids/``.

        Raises UserError: the folder cannot be made or written, or holds files of something else; a model or data that
        cannot be read.
        """
        self.prepare()
        if left_out := self._keep_grid(spec):
            tell(left_out)
        self._write("sweep.json", {"version": RECORD_VERSION, **spec.to_dict()})
        if found := sources_of(spec):
            self._write(SOURCES, {**self._sources(), **found})
        # After the file that says whose folder this is: a crash in between leaves nothing that looks strange.
        self.join()

    def join(self) -> None:
        """Make the folders of a sweep that began here, which an earlier version did not have. Raises UserError."""
        with _telling(self.path):
            for folder in (self.rows, self.path / "snapshots", self.claims, self.workers, self.path / "plan"):
                folder.mkdir(exist_ok=True)

    def _keep_grid(self, spec: SweepSpec) -> str | None:
        """Keep the grid that is here where it has fine-tunes that another lacks; returns in words what these are."""
        try:
            before = self.spec()
            missing = set() if before == spec else set(map(identity, before.runs())) - set(map(identity, spec.runs()))
            text = read_bounded(self.path / "sweep.json", MAX_GRID_BYTES)
        except UserError:
            return None  # there is none that can be read
        if not missing:
            return None
        kept = self.path / "grids" / f"{hashlib.sha256(text).hexdigest()[:16]}.json"
        with _telling(self.path):
            kept.parent.mkdir(exist_ok=True)
        atomic_write(kept, [text])
        return (
            f"the grid that was in {self.path} has {len(missing):,} fine-tunes that this one lacks, "
            f"{len(missing & self.rows_there()):,} of them finished: the table leaves them out. Their files stay, and "
            f"that grid is now grids/{kept.name}"
        )

    @property
    def rows(self) -> Path:
        """Folder of the rows of finished fine-tunes."""
        return self.path / "rows"

    @property
    def claims(self) -> Path:
        """Folder of the claims on banks, see :mod:`beft_core.sweeps.sharing.claims`."""
        return self.path / "claims"

    @property
    def workers(self) -> Path:
        """Folder of the workers' signs of life, see :mod:`beft_core.sweeps.sharing.workers`."""
        return self.path / "workers"

    def refusals(self) -> Refusals:
        """Open the reasons why runs cannot be trained, where those are kept."""
        return Refusals(self.path / "refused")

    def continued(self, spec: SweepSpec) -> SweepSpec:
        """Complete a grid as the sweep that began here means it: a preset that has changed since is what it was then.

        Only where the settings are those that the sweep began with; others are a sweep of their own in this folder.

        Raises UserError where a table of the user's own, the data of a task, or the base model has changed since.
        """
        try:
            began = self.spec()
        except UserError:
            return spec
        recorded = self._sources()
        for what, digest in (sources_of(spec) if recorded else {}).items():
            if recorded.get(what, digest) != digest:
                raise UserError(
                    f"got {what}, which is not what it was when the sweep in {self.path} began",
                    "the same files",
                    "another --out for these",
                )
        for name, table in spec.tables.items():
            before = began.tables.get(name, table)
            if before.sha256 is not None and before.sha256 != table.pinned().sha256:
                files = " or ".join(file for file in (table.train_file, table.eval_file) if file is not None)
                raise UserError(
                    f"got {files}, which has changed since the sweep in {self.path} began",
                    f"the table {name} as it was then",
                    "another --name for the new one, or another --out",
                )
        built_in = BUILT_IN if began.settings.get("preset") == "paper" else {}
        same = began.settings in (spec.settings, {**built_in, **spec.settings})
        return dataclasses.replace(spec, settings=began.settings, task_epochs=began.task_epochs) if same else spec

    def _sources(self) -> dict[str, Any]:
        """Read what the sweep is trained on, as :func:`sources_of` says it; nothing of an earlier version's folder."""
        try:
            return read_json_file(self.path / SOURCES)
        except UserError:
            return {}

    def spec(self) -> SweepSpec:
        """Read the grid. Raises UserError where there is none."""
        path = self.path / "sweep.json"
        return _spec_of(read_bounded(path, MAX_GRID_BYTES, "a readable JSON file"), str(path))

    # -- runs ------------------------------------------------------------------------------------------------------

    def finished(self, runs: Iterable[RunConfig]) -> dict[str, dict[str, Any]]:
        """Read the rows of finished runs by identity. A damaged row counts as not finished, and so does one that waits
        for the one that takes its place.
        """
        return self._sound(runs, self.rows_there())

    def all_rows(self, runs: Iterable[RunConfig]) -> dict[str, dict[str, Any]]:
        """Read the rows of runs by identity, also those that are to be replaced; without damaged ones."""
        return self._sound(runs, self._listed()[0])

    def _sound(self, runs: Iterable[RunConfig], names: Collection[str]) -> dict[str, dict[str, Any]]:
        found = ((name, self.row(name)) for name in map(identity, runs) if name in names)
        return {name: row for name, row in found if row is not None}

    def rows_there(self) -> set[str]:
        """List the identities of the runs that have a row, sound or not, which nothing is to replace: one look at a
        folder.
        """
        rows, again = self._listed()
        return rows - again

    def marked_again(self) -> set[str]:
        """List the identities of the runs whose row is to be replaced."""
        rows, again = self._listed()
        return rows & again

    def _listed(self) -> tuple[set[str], set[str]]:
        """List the identities of the runs that have a row, and of those that have a mark beside it."""
        try:
            names = os.listdir(self.rows)  # noqa: PTH208 - one call to the server, not one for each file
        except OSError:
            return set(), set()
        rows, again = ({n.removesuffix(end) for n in names if n.endswith(end)} for end in (ROW, AGAIN))
        return rows, again

    def mark_again(self, names: Collection[str]) -> None:
        """Have these runs trained again, and none of those that an earlier call named. Their rows stay until then.

        Raises UserError: the folder cannot be written.
        """
        rows, again = self._listed()
        with _telling(self.path):
            for name in again.difference(names):
                self._mark(name).unlink(missing_ok=True)
            for name in rows.intersection(names) - again:
                self._mark(name).touch()

    def _mark(self, name: str) -> Path:
        return self.rows / f"{name}{AGAIN}"

    def row(self, name: str) -> dict[str, Any] | None:
        """Read the row of a run by its identity; None where there is no sound one."""
        try:
            row = read_json_file(self.rows / f"{name}{ROW}")
        except UserError:
            return None
        return row if row.get("run") == name and set(row) <= set(COLUMNS) else None

    def save(self, row: Mapping[str, Any], snapshot: Snapshot | None, predictions: Predictions | None = None) -> None:
        """Keep a finished run, unless it is there: first its snapshot and its predictions, then the row that says that
        it is there.

        The row of a run that was to be trained again is replaced. Where it failed this time, and had not before, the
        row from before stays. One that nobody wants replaced any more still is where this one is done and that lacked
        memory, or has no snapshot: whoever started the sweep meanwhile may have taken the mark away.
        """
        name = str(row["run"])
        before = self.row(name)
        replaces = self._mark(name).exists()
        if before is not None and not replaces:
            lacks_snapshot = before.get("state") == "done" and not self.snapshot(name).is_file()
            has_more = lacked_memory(before) or (snapshot is not None and lacks_snapshot)
            if row.get("state") != "done" or not has_more:
                return
        if before is None or row.get("state") != "failed" or before.get("state") == "failed":
            if snapshot is not None:
                write_snapshot(self.snapshot(name), snapshot)
            if predictions is not None:
                path = self.predictions(name)
                with _telling(self.path):
                    path.parent.mkdir(exist_ok=True)
                write_predictions(path, [predictions])
            self._write(f"rows/{name}{ROW}", row)
        if replaces:  # last: whoever is killed before that leaves a run that is trained once more
            self.unmark(name)

    def unmark(self, name: str) -> None:
        """Leave the row of a run as it is, whether or not it was to be replaced. Raises UserError: nothing can be
        written.
        """
        with _telling(self.path):
            self._mark(name).unlink(missing_ok=True)

    def snapshot(self, run: str) -> Path:
        """Path of a run's snapshot."""
        return self.path / "snapshots" / f"{run}{SUFFIX}"

    def predictions(self, run: str) -> Path:
        """Path of a run's predictions for the validation examples."""
        return self.path / "predictions" / f"{run}.parquet"

    def table(self, runs: Sequence[RunConfig]) -> pd.DataFrame:
        """Make the table of the finished runs in the order of the grid, all of ``COLUMNS``.

        Rows that are to be replaced stand in it until they are. One that was written before a column existed is
        completed from its configuration; what it trains is called as it is today.
        """
        import pandas as pd

        rows = self.all_rows(runs)
        planned = [(identity(config), plan_columns(config)) for config in runs]
        whole = [{**plan, **rows[name], "trains": plan["trains"]} for name, plan in planned if name in rows]
        return pd.DataFrame(whole, columns=list(COLUMNS))

    def write_table(self, runs: Sequence[RunConfig]) -> pd.DataFrame:
        """Write the table of what is finished, and return it.

        Where another command has begun another grid here meanwhile, what is written is the table of that grid: a reader
        would take these runs for its.
        """
        table = self.table(runs)
        write_table(self.table(self.spec().runs()) if self.is_of_another(runs) else table, self.path)
        return table

    def is_of_another(self, runs: Sequence[RunConfig]) -> bool:
        """Say whether the grid of the folder is not the one that has these runs."""
        try:
            names = _names_of(read_bounded(self.path / "sweep.json", MAX_GRID_BYTES))
        except UserError:
            return False  # there is none that can be read, or its tables are gone
        return names != frozenset(map(identity, runs))

    def write_last_table(self, runs: Sequence[RunConfig]) -> pd.DataFrame:
        """Write the table as a worker does that leaves: again, where others have finished runs while it read the rows.

        Else the slower of two workers would leave its table, which lacks them, over that of the faster one.
        """
        for _ in range(LAST_TABLES):
            there = self.rows_there()
            table = self.write_table(runs)
            if self.rows_there() == there:
                break  # where others still work at this pace, they write it after this worker
        return table

    # -- banks -----------------------------------------------------------------------------------------------------

    def checkpoint(self, bank: Sequence[str]) -> Path:
        """Path of the file for the state of a bank in progress, by the identities of its runs."""
        return self.path / f"bank-{bank_id(bank)}.safetensors"

    # -- merges ----------------------------------------------------------------------------------------------------

    @property
    def merges(self) -> Path:
        """Path of the file with the merges."""
        return self.path / MERGES

    def keep_merges(self, merges: Sequence[Mapping[str, Any]]) -> None:
        """Write ``merges.json``, a list."""
        atomic_write(self.merges, [json.dumps(list(merges), indent=1).encode()])

    def _write(self, name: str, table: Mapping[str, Any]) -> None:
        atomic_write(self.path / name, [json.dumps(table, indent=1).encode()])


def _spec_of(text: bytes, file: str) -> SweepSpec:
    """Read the grid of a file, of this name in messages. Raises UserError."""
    table = parse_json(text, file)
    return SweepSpec.from_dict(table if table.pop("version", None) is not None else completed_sweep(table))


@lru_cache(maxsize=1)
def _names_of(text: bytes) -> frozenset[str]:
    """List the identities of the fine-tunes of a grid, whose file is read each time that a table is written."""
    return frozenset(map(identity, _spec_of(text, "sweep.json").runs()))


class Finished:
    """Watch over the fine-tunes of a grid that are finished. Each sound row is read once: it changes only where a sweep
    is started anew (:mod:`beft_core.sweeps.sharing.renewal`), which whoever began before leaves to others.
    """

    def __init__(self, folder: SweepFolder, names: Iterable[str]) -> None:
        """``names``: identities of the grid's fine-tunes."""
        self._folder, self._names = folder, frozenset(names)
        self._sound: set[str] = set()
        self._damaged: set[str] = set()

    def look(self, vouched: Collection[str] = ()) -> set[str]:
        """List the identities of those that are finished by now; one whose row is damaged or to be replaced is not.

        ``vouched``: those whose rows somebody has written who says so; they are not read, unless one was damaged at an
        earlier look.
        """
        there = self._folder.rows_there().intersection(self._names).difference(self._sound)
        trusted = there.intersection(vouched) - self._damaged
        sound = {name for name in there - trusted if self._folder.row(name) is not None}
        self._damaged = there - trusted - sound
        self._sound |= trusted | sound
        return self._sound

    def missing(self) -> int:
        """Count those that are not finished."""
        return len(self._names) - len(self.look())


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}", "a folder to write to", "--out") from None
