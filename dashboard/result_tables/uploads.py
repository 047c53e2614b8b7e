"""Uploads of result tables: size limited before and after reading, every number and text checked.

The name of a file is only shown, its kind follows from its content, and text in the table is only ever content.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from beft_core.errors import UserError
from beft_core.files.scratch import put, scratch_folder
from beft_core.sweeps.table import COLUMNS, KEY, NAME, RUN_COLUMNS, read_table

if TYPE_CHECKING:
    import pandas as pd

MEGABYTES = 16
"""Largest upload. A sweep of 1,000 fine-tunes takes about half a megabyte as Parquet, three as CSV."""
MAX_ROWS = 100_000
MAX_CHARACTERS = 300
"""Largest number of characters of a name in the table; a failure may have more."""

_TEXT = (
    "run",
    "model",
    "task",
    "regime",
    "trains",
    "schedule",
    "adam_epsilon_at",
    "precision",
    "state",
    "failure",
    "metric",
    "curve",
    "device",
    "null_terms",
    "snapshot",
)
_FREE = ("failure", "curve")
_NEEDED = (*KEY, "trains", "state")


def read_upload(data: bytes) -> tuple[pd.DataFrame, str]:
    """Read a result table from the bytes of a Parquet or CSV file; return it with the hash of the bytes.

    Raises:
        UserError: too large, not a table, or not one of a sweep.
    """
    if len(data) > MEGABYTES * 2**20:
        raise UserError(f"{len(data) / 2**20:.1f} MB", f"at most {MEGABYTES} MB")
    kind = ".parquet" if data[:4] == b"PAR1" else ".csv"
    if kind == ".csv" and b"\0" in data[:4096]:
        raise UserError("a file that is neither Parquet nor text", f"{NAME}.parquet or {NAME}.csv of a sweep")
    # The reader takes paths: here one that exists for a moment, with a name that this program chose.
    with scratch_folder() as folder:
        results = checked(read_table(put(folder / f"{NAME}{kind}", data)))
    return results, hashlib.sha256(data).hexdigest()


def checked(results: pd.DataFrame) -> pd.DataFrame:
    """Convert a result table to numbers and text, so that no picture stumbles over a cell.

    Raises:
        UserError: no rows or too many, text where a number should be, an infinite number, or a gap where none may be.
    """
    import pandas as pd

    if not 0 < len(results) <= MAX_ROWS:
        raise UserError(f"got a table of {len(results):,} rows", f"1 to {MAX_ROWS:,} fine-tunes")
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        text = name in _TEXT or name.startswith("selected.")
        if text:
            most = 10**6 if name in _FREE else MAX_CHARACTERS
            columns[name] = _texts(results[name], most)
            continue
        try:
            columns[name] = results[name].to_numpy()
            if columns[name].dtype.kind not in "if":
                columns[name] = pd.to_numeric(results[name]).to_numpy()
        except (ValueError, TypeError):
            raise UserError(f"got text in the column {name}", "numbers", _meaning(name)) from None
        if columns[name].dtype.kind not in "iuf":
            raise UserError(f"got {columns[name].dtype} in the column {name}", "numbers", _meaning(name))
        if np.isinf(columns[name]).any():
            raise UserError(f"got an infinite number in the column {name}", "finite numbers or empty cells")
    table = pd.DataFrame(columns, copy=False)
    for name in _NEEDED:
        if table[name].isna().any():
            raise UserError(f"got empty cells in the column {name}", "a value in every row", _meaning(name))
    return table


def _texts(column: pd.Series, most: int) -> Any:
    """Cut the texts of a column [rows]; what is none stays none. Of other things each different one is written once."""
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):
        return column.str.slice(0, most)
    codes, values = pd.factorize(column)
    texts = np.empty(len(values) + 1, dtype=object)
    texts[:-1] = [str(value)[:most] for value in values]
    texts[-1] = None
    return texts[codes]  # a gap has the code -1


def _meaning(name: str) -> str:
    return f"a table that beft sweep wrote ({RUN_COLUMNS[name]})" if name in RUN_COLUMNS else ""
