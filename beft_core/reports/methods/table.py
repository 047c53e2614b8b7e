"""Result table of a comparison of methods: one row per method and setting, and one per pair of methods.

The columns are a public contract: pages and reports read nothing else of a comparison. Metrics are fractions (accuracy
0.79, correlations from -1 to 1). A cell is empty (NaN or None) where a method has no such value. Tables of several
comparisons, one below the other, are a table again: task, model and n_train say which is which, and of two rows that
agree in them one is left out (:mod:`beft_core.reports.methods.repeats`).
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from beft_core.errors import UserError
from beft_core.files import parquet
from beft_core.files.paths import user_path
from beft_core.files.safe_io import atomic_write
from beft_core.reports.methods.repeats import KEY, key_of, without_repeats

NAME = "methods"
"""Name, without its ending, of ``methods.parquet``, ``.csv`` and ``.json`` in the folder of a comparison."""
PAIRS = "pairs"
"""Ending of the name of the table of pairs beside it, ``methods-pairs.parquet`` and ``.csv``."""

SETTINGS: dict[str, str] = {
    "same": "one learning rate for all: the one that single bias terms get by the preset",
    "best": "each method at its best: the rate of its own range that did best on examples held out of training",
}
"""Settings in which methods are compared, each with its description."""

COLUMNS: dict[str, str] = {
    "task": "name in the registry, or of a table of the user's own",
    "model": "bundled, a Hub id or a folder",
    "n_train": "training examples of a fine-tune that is reported",
    "n_eval": "validation examples that the metric is of; empty where they are not known",
    "hold_out": "training examples, never trained on in the trials, by which the rates were chosen",
    "budget": "trials of each method, one for each rate of its range",
    "preset": "quick or paper: where epochs, schedule and optimizer are from",
    "setting": "same (one learning rate for all) or best (each at its best)",
    "method": "name as it was asked for: v, q+v, all, lora, full, icl, zero-shot ...",
    "label": "the same to be read: b_v, LoRA, in-context learning ...",
    "trains": "what a sweep calls it, with the settings that are not usual; one row per task, model, n_train, setting "
    "and this",
    "state": "done, failed (every fine-tune was lost), or refused (it does not apply here)",
    "reason": "why there is no number, in words; of a number, why it is not paired; else empty",
    "lr": "peak learning rate; empty where nothing is trained",
    "lr_low": "smallest rate of the range",
    "lr_high": "largest rate of the range",
    "lr_source": "where the range is from, in words",
    "edge": "smallest or largest, where the best rate is that end of the range, which may be too narrow; else empty",
    "trials": "a JSON list of [rate, metric on the held-out examples, or null]",
    "metric": "name of the metric that counts for the task",
    "value": "that metric on the validation set, mean over seeds",
    "spread": "its standard deviation over seeds (n - 1); empty for one",
    "low": "lower end of the 95 % interval",
    "high": "upper end",
    "interval": "bootstrap (over seeds and examples), or normal (where no predictions were kept, wider); else empty",
    "seeds": "fine-tunes that the mean is over",
    "failed": "fine-tunes that failed and enter no mean",
    "values": "a JSON list of the metric of each seed",
    "constant": "the metric of the best constant answer on the same examples",
    "at_chance": "whether the interval of the distance to the constant answer reaches 0; empty where it is not known",
    "seeds_at_chance": "fine-tunes for which it does, examples alone drawn",
    "trained_parameters": "as the paper counts: without the head",
    "total_parameters": "of the model without the head",
    "trained_bytes": "bytes of the trained values in float32, without the head",
    "seconds": "wall seconds of a fine-tune, mean over seeds; its share where several were trained in one pass",
    "bank_runs": "fine-tunes that were trained in the same pass",
    "peak_bytes": "most memory while that pass was trained: of the GPU, or of the process",
    "device": "in words",
}
"""Columns of the table of methods, each with its description."""

PAIR_COLUMNS: dict[str, str] = {
    "task": COLUMNS["task"],
    "model": COLUMNS["model"],
    "n_train": COLUMNS["n_train"],
    "setting": COLUMNS["setting"],
    "first": "method, as in the table of methods (trains)",
    "second": "method that it is compared with",
    "metric": COLUMNS["metric"],
    "difference": "metric of the first minus that of the second, mean over seeds",
    "low": "lower end of its 95 % interval, of a paired bootstrap: the same seeds and examples are drawn for both",
    "high": "upper end",
    "first_better": "examples on which the first is right in more seeds (of numbers: nearer on average)",
    "second_better": "examples on which the second is",
    "alike": "examples on which they are alike",
    "p": "two-sided probability of as large a difference, were both as good: McNemar's exact test of one fine-tune "
    "each, else Student's t by the variances between examples and between seeds",
    "p_holm": "the same, corrected by Holm for all pairs of a task, model and setting",
    "seeds": "seeds that both have, 1 where one trains nothing and stands beside every seed of the other; fine-tunes "
    "of one seed share examples, their order and the head's first values",
    "examples": "validation examples that both predicted",
}
"""Columns of the table of pairs, each with its description."""

_TEXTS = frozenset(
    {"task", "model", "preset", "setting", "method", "label", "trains", "state", "reason", "lr_source", "edge"}
    | {"trials", "metric", "values", "interval", "device", "first", "second", "at_chance"}
)
MAX_BYTES = 32 * 2**20
LIMITS = parquet.Limits(rows=100_000, bytes=128 * 2**20)
"""Bounds of a file when it is read; no comparison comes near."""


@dataclass(frozen=True)
class Comparison:
    """Tables of one comparison of methods, or of several."""

    rows: pd.DataFrame
    """Table of methods: all of :data:`COLUMNS`, in order."""
    pairs: pd.DataFrame
    """Table of pairs: all of :data:`PAIR_COLUMNS`, in order; empty where nothing could be compared."""
    left_out: tuple[str, ...] = ()
    """Sentences on rows that stood in the place of another and were left out."""

    @property
    def done(self) -> pd.DataFrame:
        """Rows that have a number."""
        return self.rows[(self.rows["state"] == "done") & self.rows["value"].notna()]


def joined(several: Sequence[Comparison]) -> Comparison:
    """Put comparisons one below the other. Of several rows of one method, setting, task, model and number of training
    examples one stays, with the pairs that its own comparison has of it; ``left_out`` says which others there were.

    A method that stands twice in one comparison, a table that was put together before, has no pairs: nothing says of
    which row they are.
    """
    rows = [(at, row) for at, one in enumerate(several) for row in one.rows.to_dict("records")]
    kept, left_out = without_repeats([row for _, row in rows])
    source = {key_of(rows[number][1]): rows[number][0] for number in kept}
    times = Counter((at, key_of(row)) for at, row in rows)
    pairs: dict[tuple[Any, ...], dict[str, Any]] = {}
    for at, one in enumerate(several):
        for pair in one.pairs.to_dict("records"):
            sides = key_of(pair, "first"), key_of(pair, "second")
            if all(source.get(side, at) == at and times[at, side] < 2 for side in sides):
                pairs.setdefault(sides, pair)
    said = (*(word for one in several for word in one.left_out), *left_out)
    return Comparison(
        _framed([rows[number][1] for number in kept], COLUMNS), _framed(list(pairs.values()), PAIR_COLUMNS), said
    )


def comparison_of(rows: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]]) -> Comparison:
    """Make the tables of rows; a column that a row lacks is empty there."""
    return Comparison(_framed(rows, COLUMNS), _framed(pairs, PAIR_COLUMNS))


def write_comparison(found: Comparison, folder: Path, about: dict[str, Any]) -> None:
    """Write both tables as Parquet and CSV, and all of it as JSON with what it is ``about``; each file atomically."""
    for name, table in ((NAME, found.rows), (f"{NAME}-{PAIRS}", found.pairs)):
        held = io.BytesIO()
        table.to_parquet(held, index=False)
        atomic_write(folder / f"{name}.parquet", [held.getvalue()])
        atomic_write(folder / f"{name}.csv", [table.to_csv(index=False, lineterminator="\n").encode()])
    document = about | {"rows": _records(found.rows), "pairs": _records(found.pairs)}
    atomic_write(folder / f"{NAME}.json", [json.dumps(document, indent=1, allow_nan=False).encode()])


def read_comparison(path: Path) -> Comparison:
    """Read a comparison: its folder, or its ``methods.parquet``, beside which ``methods-pairs.parquet`` may lie.

    Raises:
        UserError: no such file, not the table of a comparison, or larger than any.
    """
    path = user_path(path, "the comparison")
    if path.is_dir():
        path = path / f"{NAME}.parquet"
    rows = _read(path, COLUMNS)
    for name, known in (("setting", set(SETTINGS)), ("state", {"done", "failed", "refused"})):
        if strange := sorted(set(rows[name]) - known, key=str):
            raise UserError(
                f"got {path.name} with the {name} {str(strange[0])[:40]}", f"one of {', '.join(sorted(known))}"
            )
    for name in ("task", "model", "method", "trains"):
        if rows[name].isna().any():
            raise UserError(f"got {path.name} with a row without its {name}", "one in every row")
    beside = path.with_name(f"{path.stem}-{PAIRS}.parquet")
    pairs = _read(beside, PAIR_COLUMNS) if beside.is_file() else _framed([], PAIR_COLUMNS)
    found = Comparison(rows, pairs)
    return joined([found]) if rows.duplicated(list(KEY)).any() else found


def numbers_of(cell: object) -> list[Any]:
    """Read a cell that holds a JSON list, such as ``trials`` or ``values``; anything else is an empty list."""
    try:
        found = json.loads(cell) if isinstance(cell, str) else []
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _read(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    import pyarrow

    if not path.is_file():
        raise UserError(f"got {path}, where no comparison is", f"a folder of beft compare-methods, or {NAME}.parquet")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UserError(f"got {path.name} of {size / 2**20:,.1f} MB", f"at most {MAX_BYTES >> 20} MB")
    try:
        with parquet.opened(path, list(columns), LIMITS) as (schema, batches):
            table = pyarrow.Table.from_batches(list(batches), schema.remove_metadata()).to_pandas()
    except parquet.MissingColumn as missing:
        lost = [name for name in columns if name not in missing.columns]
        raise UserError(
            f"got {path.name} without the column {lost[0] if lost else 'once'}", "a table of beft compare-methods"
        ) from None
    return _typed(table, columns, path.name)


def _typed(table: pd.DataFrame, columns: dict[str, str], name: str) -> pd.DataFrame:
    """Give every column its type: texts, None where there is none, or float64. Raises UserError."""
    typed = {}
    for column in columns:
        if column in _TEXTS:
            cells = table[column].astype(object)  # of a stranger's file it may hold numbers
            typed[column] = cells.map(str).astype(object).where(cells.notna(), None)
            continue
        try:
            typed[column] = pd.to_numeric(table[column]).astype(float)
        except (ValueError, TypeError) as error:
            raise UserError(f"got {name} whose column {column} holds no number ({error})", "numbers") from None
    return pd.DataFrame(typed, columns=list(columns))


def _framed(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    return _typed(pd.DataFrame(list(rows), columns=list(columns)), columns, NAME)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """List rows without their empty cells."""
    return [
        {key: value for key, value in row.items() if value is not None and not _is_nan(value)}
        for row in table.to_dict("records")
    ]


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
