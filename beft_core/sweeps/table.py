"""Result table of a sweep: one row per fine-tune, as a pandas table, Parquet and CSV.

The columns are a public contract: pages, reports and analyses read nothing else of a sweep. Metrics are fractions
(accuracy 0.79, correlations from -1 to 1), not percent. A cell is empty (NaN or None) where a run has no such value:
a run that failed has no metric, a fine-tune of single terms has no Fisher scores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beft_core.errors import UserError
from beft_core.files import parquet
from beft_core.files.paths import user_path
from beft_core.files.plain_file import open_plain
from beft_core.presets import BUILT_IN
from beft_core.scores.approaches import PAPER, of_probes
from beft_core.tasks.sources.records import csv_records
from beft_core.terms import TERM_KEYS

if TYPE_CHECKING:
    import pandas as pd

NAME = "results"
"""Name, without its ending, of ``results.parquet`` and ``results.csv`` in the sweep's folder."""

RUN_COLUMNS: dict[str, str] = {
    "run": "identity of the fine-tune: 16 hexadecimal digits over its configuration",
    "model": "bundled, a Hub id or a folder",
    "task": "name in the registry, or of a table of the user's own",
    "regime": "low, medium, high or all; empty where the number of examples was given",
    "n_train": "training examples",
    "trains": "what it trains: v, q, k, ... (q+v for several), all (the probe), head, random or full",
    "lr": "peak learning rate",
    "epochs": "passes over the training examples",
    "schedule": "constant or linear",
    "adam_epsilon": "AdamW's epsilon; empty where it is not known",
    "adam_epsilon_at": "before or after: where it is added, as seen from the bias correction",
    "batch_size": "examples per step",
    "seed": "of examples, order, head and dropout",
    "precision": "float32 or bfloat16",
    "state": "done or failed",
    "failure": "why it failed, in words",
    "metric": "name of the metric that counts for the task",
    "value": "that metric on the validation set after the last epoch",
    "best_value": "its highest value over all epochs",
    "best_epoch": "the epoch of that",
    "curve": "the metric after each epoch: a JSON list",
    "train_loss": "mean loss of the last epoch",
    "steps": "optimizer steps",
    "trained_parameters": "as the paper counts: without the head",
    "total_parameters": "of the model without the head",
    "seconds": "wall seconds of the bank, divided by its runs",
    "bank_runs": "fine-tunes that were trained in the same pass",
    "peak_bytes": "most memory while that pass was trained: of the GPU, or of the process",
    "device": "in words",
    "null_terms": "bias terms that are certified to change nothing, joined by +",
    "snapshot": "file name in the sweep's folder snapshots, where it was kept",
}
"""Columns that describe a run, each with its description."""

SCORE_COLUMNS: tuple[str, ...] = tuple(
    f"{what}{approach}.{term}" for what in ("", "rank.") for approach in of_probes() for term in TERM_KEYS
)
"""Names of the columns of scores: ``projection_ratio.v`` (score of a term: mean over layers),
``rank.projection_ratio.v`` (1 is the highest of all).
"""
CHOICE_COLUMNS: tuple[str, ...] = tuple(
    f"{what}.{approach}" for what in ("selected", "settled") for approach in of_probes()
)
"""Names of the columns of selections. ``selected.fisher``: the term among q, k and v that an approach selects.
``settled.projection_ratio``: the share of the probe's steps after which its selection never changed again (0: it was
right from the first checkpoint on).
"""
NORM_COLUMNS: tuple[str, ...] = tuple(f"pre_norm.{term}" for term in TERM_KEYS)
"""Names of the columns of norms. ``pre_norm.v``: mean over layers of the L2 norm of the term before the fine-tune,
known without one. Empty in tables that were written before there was such a column.
"""
OPTIMIZER_COLUMNS: tuple[str, ...] = ("adam_epsilon", "adam_epsilon_at")
"""Names of the columns of a fine-tune's optimizer, which means over seeds never mix. In tables that were written before
there were such columns: what was built in, ``presets.BUILT_IN``, where the table is older than the choice, and so has
none of :data:`NORM_COLUMNS`, which are older than it too; otherwise empty, because the release between the two could
choose.
"""
COLUMNS: tuple[str, ...] = (*RUN_COLUMNS, *SCORE_COLUMNS, *CHOICE_COLUMNS, *NORM_COLUMNS)
_LATER: tuple[str, ...] = (*NORM_COLUMNS, *OPTIMIZER_COLUMNS)
_OPTIONAL: tuple[str, ...] = (
    *_LATER,
    "peak_bytes",
    *(name for name in (*SCORE_COLUMNS, *CHOICE_COLUMNS) if PAPER not in name.split(".")),
)
"""Columns that a table may lack because it is older than they are; of the approaches only the paper's has always been
there.
"""
NEEDED: tuple[str, ...] = tuple(name for name in COLUMNS if name not in _OPTIONAL)
"""Columns that every table has."""

_NAMES = ("run", "model", "task", "trains")
"""Columns of names, which stay as they are where a CSV file is read: a table of the user's own may be called NA."""
_EMPTY = ["", "NA", "N/A", "n/a", "NaN", "nan", "None", "NULL", "null", "<NA>"]
"""Words for an empty cell of the other columns, as whatever reads and writes tables has them."""

MAX_CSV, MAX_PARQUET = 32 * 2**20, 64 * 2**20
"""Most bytes of a file: as CSV a sweep of 1,000 fine-tunes takes three million."""
MAX_COLUMNS = 1000
LIMITS = parquet.Limits(rows=100_000, bytes=256 * 2**20)
"""Bounds of a table when it is read; no sweep has more rows."""

KEY: tuple[str, ...] = ("model", "task", "n_train", "lr", "seed")
"""Columns in which a probe and the fine-tunes of single terms that it predicts agree."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a result table: a ``.parquet`` or ``.csv`` file, or the folder of a sweep. All of :data:`COLUMNS`, in order.

    Only :data:`NORM_COLUMNS`, ``peak_bytes`` and the columns of an approach that is younger than the file, then empty,
    and :data:`OPTIMIZER_COLUMNS` may be missing in the file.

    Raises:
        UserError: no such file, not a table, larger than any sweep's, or columns missing.
    """
    path = user_path(path, "the table")
    if path.is_dir():
        path = path / f"{NAME}.parquet"
    try:
        with open_plain(path, what=f"{NAME}.parquet or {NAME}.csv") as file:
            size, is_csv = os.fstat(file.fileno()).st_size, path.suffix == ".csv"
    except FileNotFoundError:
        raise UserError(
            f"got {path}, where no result table is", f"a sweep's folder, {NAME}.parquet or {NAME}.csv"
        ) from None
    most = MAX_CSV if is_csv else MAX_PARQUET
    if size > most:
        raise UserError(f"got {path.name} of {size / 2**20:,.1f} MB", f"at most {most >> 20} MB", f"{NAME}.parquet")
    table = _read_csv(path) if is_csv else _read_parquet(path)
    whole = table if list(table) == list(COLUMNS) else table.reindex(columns=list(COLUMNS))
    if not set(table) & set(_LATER):
        whole = whole.assign(**{name: BUILT_IN[name] for name in OPTIMIZER_COLUMNS})
    return whole


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow

    try:
        with parquet.opened(path, NEEDED, LIMITS, optional=_OPTIONAL) as (schema, batches):
            whole = pyarrow.Table.from_batches(list(batches), schema.remove_metadata())
            # In the order of the columns before it is pandas', and let go of column by column: of a large table, each
            # copy is as large as all of it.
            whole = whole.select([name for name in COLUMNS if name in whole.column_names])
            return whole.to_pandas(split_blocks=True, self_destruct=True)
    except parquet.MissingColumn as missing:
        _require_columns(path, missing.columns)
        raise UserError(f"got {path.name} with a column twice", "a table that beft sweep wrote") from None


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file, after every row was counted: pandas makes what it needs to hold it of any number of columns."""
    import pandas as pd

    header: list[str] = []
    for row, (number, cells) in enumerate(csv_records(path)):
        if row == 0:
            header = cells
            if len(header) > MAX_COLUMNS:
                raise UserError(f"got {path.name} with {len(header):,} columns", f"the {len(COLUMNS)} of a sweep")
            _require_columns(path, header)
        elif cells and len(cells) != len(header):
            got = f"{path.name}, row {number}: got {len(cells):,} columns"
            raise UserError(got, f"{len(header)}, as in the header")
        if row > LIMITS.rows:
            raise UserError(f"got {path.name} with more than {LIMITS.rows:,} rows", "fewer")
    try:
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(_NAMES, str),
            na_values={name: _EMPTY for name in COLUMNS if name not in _NAMES},
            keep_default_na=False,
            usecols=lambda name: name in COLUMNS,
            low_memory=False,
            **_exact_floats(),
        )
    except Exception as error:  # readers of tables raise dozens of types
        raise UserError(f"got {path.name}, which cannot be read ({error})", "a table that beft sweep wrote") from None


def _exact_floats() -> dict[str, Any]:
    """Argument with which ``read_csv`` reads each float64 as it was written; from pandas 3.1 on it needs none."""
    import pandas as pd

    major, minor = pd.__version__.split(".")[:2]
    return {} if (int(major), int(minor)) >= (3, 1) else {"float_precision": "round_trip"}


def _require_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise UserError(
            f"got {path.name} without the column{'s' * (len(missing) > 1)} {', '.join(missing[:3])}",
            "a table that beft sweep wrote",
        )


def write_table(table: pd.DataFrame, folder: Path) -> None:
    """Write ``results.parquet`` and ``results.csv``, each replaced atomically."""
    import io

    from beft_core.files.safe_io import atomic_write

    ordered = table.reindex(columns=list(COLUMNS))
    parquet = io.BytesIO()
    ordered.to_parquet(parquet, index=False)
    atomic_write(folder / f"{NAME}.parquet", [parquet.getvalue()])
    atomic_write(folder / f"{NAME}.csv", [ordered.to_csv(index=False, lineterminator="\n").encode()])
