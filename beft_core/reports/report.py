"""Report of a sweep: a verdict on each claim of the paper, its tables with our numbers, and its figures.

One HTML page that needs nothing else, and a CSV file for each table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from beft_core.errors import UserError
from beft_core.files.safe_io import atomic_write
from beft_core.reports import html_page, tables
from beft_core.reports.cells import Table
from beft_core.reports.claims.table import judge
from beft_core.reports.contents import Contents
from beft_core.reports.merges import Merge, read_merges
from beft_core.reports.methods.table import NAME as METHODS_NAME
from beft_core.reports.methods.table import SETTINGS, Comparison, joined, read_comparison
from beft_core.reports.methods.table5 import BESIDE, models_of, table5, verdicts
from beft_core.reports.seed_means import LrChoice, Runs
from beft_core.reports.selection import prediction
from beft_core.reports.selection.pretrained import with_norms
from beft_core.sweeps.table import read_table

PAGE = "report.html"
NORMS = "Pre-trained norms"
"""Name of the fact that says where the norms of the pre-trained biases are from."""


def contents(
    results: pd.DataFrame,
    merges: Sequence[Merge] | None = None,
    lr: LrChoice = "best",
    compared: Comparison | None = None,
) -> Contents:
    """Make all tables and series of a result table. ``merges``: of ``read_merges``; None where there is no such file.
    ``compared``: comparisons of methods, for Table 5 in two halves; None where there are none.

    Raises:
        UserError: a table without rows, or with something else than numbers where numbers belong.
    """
    results, norms = with_norms(results)
    runs = Runs(results)
    return Contents(
        facts=_facts(runs) | {NORMS: norms},
        tables={
            "table1": [tables.table1(runs, model, lr) for model in runs.models],
            "table2": [
                tables.table2(runs, task, regime, model, lr)
                for model in runs.models
                for task, regime in tables.table2_cases(runs, model)
            ],
            "table3": [
                tables.table3(merges, *case, model=", ".join(runs.models)) for case in tables.table3_cases(merges)
            ],
            "table4": [tables.table4(runs, lr)],
            "table5": [tables.table5(runs, lr)],
            "reference": [tables.reference(runs, model, lr) for model in runs.models],
        }
        | _halves(compared),
        series={
            "figure4": tables.figure4(runs, lr),
            "score_vs_lr": tables.score_vs_lr(runs),
            "metric_vs_epoch": tables.metric_vs_epoch(runs),
            "prediction": prediction.summary(runs.rows),
            "settling": prediction.settling(runs.rows),
        }
        | ({} if compared is None else {"methods": compared.rows, "methods-pairs": compared.pairs}),
        verdict=prediction.verdict(runs.rows),
        claims=judge(results, merges),
        collapse=_collapse(compared),
    )


def contents_of_methods(paths: Sequence[Path]) -> Contents:
    """Make the contents of comparisons of methods alone: both halves of Table 5, and their tables.

    Raises:
        UserError: no comparison there.
    """
    compared = joined([read_comparison(path) for path in paths])
    return Contents(
        facts={},
        tables=_halves(compared),
        series={"methods": compared.rows, "methods-pairs": compared.pairs},
        verdict="",
        collapse=_collapse(compared),
    )


def _collapse(compared: Comparison | None) -> tuple[str, ...]:
    return () if compared is None else tuple(one for name in SETTINGS for one in verdicts(compared, name))


def _halves(compared: Comparison | None) -> dict[str, list[Table]]:
    """Make both halves of Table 5 for every model of ours, beside each of the paper's."""
    if compared is None:
        return {}
    known = set(zip(compared.rows["model"], compared.rows["setting"], strict=True))
    halves = {
        f"table5-{setting}": [
            table5(compared, model, setting, one)
            for model in models_of(compared)
            if (model, setting) in known
            for one in BESIDE
        ]
        for setting in SETTINGS
    }
    return {name: tables for name, tables in halves.items() if tables}


def read_contents(results_path: Path, lr: LrChoice = "best", methods: Sequence[Path] = ()) -> Contents:
    """Make the `contents` of a sweep's folder, or of a ``.parquet`` or ``.csv`` file with ``merges.json`` beside it.

    The folder of a comparison of methods is read as the sweep that it reports, and as a comparison. ``methods``:
    further comparisons, see :func:`beft_core.reports.methods.table.read_comparison`.

    Raises:
        UserError: no result table or no comparison there, or merges.json is damaged.
    """
    path = Path(results_path)
    compared = [read_comparison(one) for one in methods]
    if (path / f"{METHODS_NAME}.parquet").is_file():
        compared.insert(0, read_comparison(path))
        path = path / "finals"
    results = read_table(path)
    merges = read_merges(path if path.is_dir() else path.parent)
    return contents(results, merges, lr, joined(compared) if compared else None)


def write_report(results_path: Path, out_folder: Path, lr: LrChoice = "best") -> list[Path]:
    """Write ``report.html`` and a CSV file for each table into a folder (made where it does not exist).

    Returns the files, the page first. Each is replaced atomically.

    Raises:
        UserError: no result table there, or the folder cannot be made or written.
    """
    return write_contents(read_contents(results_path, lr), out_folder)


def write_contents(found: Contents, out_folder: Path) -> list[Path]:
    """Write contents that were read before, as `write_report` does."""
    folder = Path(out_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"got {folder}, which cannot be made ({error.strerror})", "a folder to write to") from None
    documents = {PAGE: html_page.html(found)} | {
        f"{name}.csv": frame.to_csv(index=False, lineterminator="\n") for name, frame in found.frames().items()
    }
    for name, document in documents.items():
        atomic_write(folder / name, [document.encode()])
    return [folder / name for name in documents]


def _facts(runs: Runs) -> dict[str, str]:
    rows = runs.rows
    failed = int(rows["is_failed"].sum())

    def words(name: str) -> str:
        return ", ".join(str(value) for value in rows[name].dropna().unique()) or "not said"

    def numbers(name: str) -> str:
        return ", ".join(f"{value:g}" for value in sorted(rows[name].dropna().unique())) or "not said"

    return {
        "Fine-tunes": f"{len(rows):,}, of which {failed:,} failed",
        "Models": ", ".join(runs.models),
        "Tasks": words("task"),
        "Regimes": ", ".join(dict.fromkeys(regime for model in runs.models for regime in runs.regimes(model))),
        "Trained": words("trains"),
        "Seeds": numbers("seed"),
        "Learning rates": f"{numbers('lr')} ({words('schedule')})",
        "Epochs": numbers("epochs"),
        "Batch size": numbers("batch_size"),
        "Precision": words("precision"),
        "Device": words("device"),
    }
