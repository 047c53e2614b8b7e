"""The result of a sweep: one row per fine-tune, as a pandas table, Parquet and CSV.

The columns are a public contract: pages, reports and analyses read nothing else of a sweep. Metrics are fractions
(accuracy 0.79, correlations from -1 to 1), not percent. A cell is empty (NaN or None) where a run has no such value:
a run that failed has no metric, a fine-tune of single terms has no Fisher scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beft_core.errors import UserError
from beft_core.paths import user_path
from beft_core.scores import APPROACHES
from beft_core.terms import TERM_KEYS

if TYPE_CHECKING:
    import pandas as pd

NAME = "results"
"""``results.parquet`` and ``results.csv`` in the sweep's folder."""

RUN_COLUMNS: dict[str, str] = {
    "run": "identity of the fine-tune: 16 hexadecimal digits over its configuration",
    "model": "bundled, a Hub id or a folder",
    "task": "name in the registry",
    "regime": "low, medium, high or all; empty where the number of examples was given",
    "n_train": "training examples",
    "trains": "what it trains: v, q, k, ... (q+v for several), all (the probe), head, random or full",
    "lr": "peak learning rate",
    "epochs": "passes over the training examples",
    "schedule": "constant or linear",
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
    "device": "in words",
    "null_terms": "bias terms that are certified to change nothing, joined by +",
    "snapshot": "file name in the sweep's folder snapshots, where it was kept",
}
"""Column -> what it says."""

SCORE_COLUMNS: tuple[str, ...] = tuple(
    f"{what}{approach}.{term}" for what in ("", "rank.") for approach in APPROACHES for term in TERM_KEYS
)
"""``projection_ratio.v`` (score of a term: mean over layers), ``rank.projection_ratio.v`` (1 is the highest of all)."""
CHOICE_COLUMNS: tuple[str, ...] = tuple(
    f"{what}.{approach}" for what in ("selected", "settled") for approach in APPROACHES
)
"""``selected.fisher``: the term among q, k and v that an approach selects. ``settled.projection_ratio``: the share of
the probe's steps after which its selection never changed again (0: it was right from the first checkpoint on)."""
NORM_COLUMNS: tuple[str, ...] = tuple(f"pre_norm.{term}" for term in TERM_KEYS)
"""``pre_norm.v``: mean over layers of the L2 norm of the term before the fine-tune, known without one. Empty in tables
that were written before there was such a column."""
COLUMNS: tuple[str, ...] = (*RUN_COLUMNS, *SCORE_COLUMNS, *CHOICE_COLUMNS, *NORM_COLUMNS)

KEY: tuple[str, ...] = ("model", "task", "n_train", "lr", "seed")
"""What a probe and the fine-tunes of single terms that it predicts have in common."""


def read_table(path: Path) -> pd.DataFrame:
    """A result table: a ``.parquet`` or ``.csv`` file, or the folder of a sweep. All of :data:`COLUMNS`, in order.

    Only :data:`NORM_COLUMNS` may be missing in the file; they are then empty.

    Raises:
        UserError: no such file, not a table, or columns missing.
    """
    import pandas as pd

    path = user_path(path, "the table")
    if path.is_dir():
        path = path / f"{NAME}.parquet"
    if not path.is_file():
        raise UserError(f"got {path}, where no result table is", f"a sweep's folder, {NAME}.parquet or {NAME}.csv")
    try:
        if path.suffix == ".csv":
            table = pd.read_csv(path, dtype={"run": str}, float_precision="round_trip")
        else:
            table = pd.read_parquet(path)
    except Exception as error:  # readers of tables raise dozens of types
        raise UserError(f"got {path.name}, which cannot be read ({error})", "a table that beft sweep wrote") from None
    missing = [name for name in COLUMNS if name not in table.columns and name not in NORM_COLUMNS]
    if missing:
        raise UserError(
            f"got {path.name} without the column{'s' * (len(missing) > 1)} {', '.join(missing[:3])}",
            "a table that beft sweep wrote",
        )
    return table.reindex(columns=list(COLUMNS))


def write_table(table: pd.DataFrame, folder: Path) -> None:
    """Write ``results.parquet`` and ``results.csv``, each replaced atomically."""
    import io

    from beft_core.safe_io import atomic_write

    ordered = table.reindex(columns=list(COLUMNS))
    parquet = io.BytesIO()
    ordered.to_parquet(parquet, index=False)
    atomic_write(folder / f"{NAME}.parquet", [parquet.getvalue()])
    atomic_write(folder / f"{NAME}.csv", [ordered.to_csv(index=False, lineterminator="\n").encode()])
