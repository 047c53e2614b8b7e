"""Sweeps, grids of fine-tunes, from a notebook, and its table as notebooks show it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.library import plots
from beft_core.library.arguments import ALIASES
from beft_core.library.progress import watching
from beft_core.library.result import Result, Shown, cell
from beft_core.library.snapshot import Snapshot, snapshot_of
from beft_core.library.words import in_python
from beft_core.sweeps.seed_means import over_seeds
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import renewal_of
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer
from beft_core.training.preconditions import require_data, require_models

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Sweep(Result):
    """Fine-tunes of a grid: one row of `table` each."""

    folder: Path
    """Folder of the sweep; a further call with this folder goes on from there."""
    table: pd.DataFrame
    """Result table, with the columns of `beft_core.sweeps.table`."""

    def snapshot(self, run: str) -> Snapshot:
        """Open the snapshot of a run, by its name in the table's first column. Raises UserError."""
        return snapshot_of(SweepFolder(self.folder).snapshot(str(run)))

    def shown(self) -> Shown:
        rows = [
            [
                str(row["task"]),
                "all" if row["n_train"] != row["n_train"] else f"{row['n_train']:.0f}",
                str(row["trains"]),
                f"{row['lr']:g}",
                str(row["seeds"]),
                str(row["metric"] or ""),
                cell(row["mean"]),
                cell(row["std"]),
                str(row["selects"] or ""),
            ]
            for row in over_seeds(self.table).to_dict("records")
        ]
        head = ["task", "examples", "trains", "lr", "seeds", "metric", "mean", "spread", "selects"]
        failed = int((self.table["state"] == "failed").sum())
        count = counted(len(self.table), "fine-tune") + (f", {failed} failed" if failed else "")
        return Shown(f"{count}: validation metric over seeds", head, rows, [f"folder: {self.folder}"])

    def to_pandas(self) -> pd.DataFrame:
        """Give one row per fine-tune."""
        return self.table.copy()

    def plot(self, kind: str = "rates", *, dark: bool = False) -> go.Figure:
        """Draw the dashboard's figure of a sweep: the metric of every fine-tune over terms and learning rates.

        Raises:
            UserError: another kind.
        """
        return plots.drawn(kind, {"rates": lambda: plots.rates(self.table, dark)})


@in_python
def sweep(
    spec: SweepSpec | None = None,
    *,
    out: str | os.PathLike[str],
    tasks: str | Sequence[str] | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    terms: str | Sequence[str] | None = None,
    n_train: int | Sequence[int] | None = None,
    regimes: str | Sequence[str] | None = None,
    lrs: float | Sequence[float] | None = None,
    probe_lrs: float | Sequence[float] | None = None,
    seeds: int | Sequence[int] | None = None,
    merges: str | Sequence[str] | None = None,
    bank_size: int | None = None,
    snapshots: bool = True,
    progress: bool | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Sweep:
    """Fine-tune every task x size x term x learning rate x seed, many in one pass.

    ``out``: the folder of the sweep; what is finished there is not done again. ``tasks``: names in the registry, or of
    ``tables``: name -> the files and columns of a table of your own (``train_file``, ``text``, ``label``, ...).
    ``terms``: each alone; ``q+v`` for both together. ``seeds``: how many (3: 0, 1 and 2), or a list of them. ``spec``:
    a grid that was made before, instead of these. ``settings``: what all fine-tunes share, as in `train`.
    ``bank_size``: most fine-tunes in one pass. ``snapshots``: whether they are kept; finished fine-tunes that lack
    theirs are then trained again.

    Raises:
        UserError: everything that a user can put right, told in one line.
    """
    grid = {
        "tasks": tasks,
        "tables": tables,
        "terms": terms,
        "n_train": n_train,
        "regimes": regimes,
        "lrs": lrs,
        "probe_lrs": probe_lrs,
        "seeds": seeds,
        "merges": merges,
    }
    fields = {name: _plain(value) for name, value in grid.items() if value is not None}
    fields |= {ALIASES.get(name, name): _plain(value) for name, value in settings.items()}
    if spec is not None and not isinstance(spec, SweepSpec):
        raise UserError(f"got a {type(spec).__name__} as the first argument", "a SweepSpec, or keywords alone")
    if spec is not None and fields:
        raise UserError(f"got a SweepSpec and {next(iter(fields))}", "one of them")
    if bank_size is not None and (type(bank_size) is not int or bank_size < 1):
        raise UserError(f"got bank_size = {str(bank_size)[:80]!r}", "a whole number from 1")
    if not isinstance(out, str | os.PathLike):
        raise UserError(f"got out = {str(out)[:80]!r}", "the path of a folder")
    made = spec if spec is not None else SweepSpec.from_dict(fields)
    runs = made.runs()  # what no run can have is told before anything begins
    require_training()
    folder = SweepFolder(user_path(out, "out"))
    keep = Kept(snapshots)
    stays = renewal_of(folder, runs, keep).stays
    require_data(one for one in runs if identity(one) not in stays)
    with watching(progress, observer) as watched:
        require_models(runs, watched)
        folder.prepare()
        watched.stage("start PyTorch")
        from beft_core.sweeps.runner import run_sweep

        run_sweep(made, folder, watched, bank_size=bank_size, keep=keep)
    return Sweep(folder.path, folder.table(folder.spec().runs()))


def _plain(value: Any) -> Any:
    """Arrays and ranges as lists, numpy's scalars as numbers, paths as text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, range | set | frozenset):
        return list(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
