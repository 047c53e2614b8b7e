"""Command ``beft report``: the paper's tables from a sweep, and whether the score predicts performance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from beft_core.cli import output
from beft_core.cli.parser.command import DATA, OUTPUT, add
from beft_core.errors import UserError
from beft_core.files.paths import user_path

if TYPE_CHECKING:
    from beft_core.reports.contents import Contents
    from beft_core.reports.seed_means import LrChoice
    from beft_core.reports.tables import Cell, Column, Row, Table

METHODS = "methods"
"""Name of the table of a comparison, as in :mod:`beft_core.reports.methods.table`, which needs pandas."""
ResultsFile = Annotated[
    str,
    typer.Argument(
        metavar="RESULTS",
        help="Folder of a sweep, or its results.parquet or .csv; or a comparison of methods, or its methods.parquet.",
        show_default=False,
    ),
]
OutFolder = Annotated[
    str | None,
    typer.Option(
        "--out", metavar="FOLDER", help="Write report.html and a CSV file for each table there.", rich_help_panel=OUTPUT
    ),
]
AtLr = Annotated[
    str,
    typer.Option(
        "--lr",
        metavar="[best|same|RATE]",
        help="Numbers at each term's best learning rate, at that of b_v for all, or at one of yours.",
        rich_help_panel=DATA,
    ),
]
Compared = Annotated[
    list[str] | None,
    typer.Option(
        "--compared",
        metavar="FOLDER",
        help="A comparison of methods (beft compare-methods), for Table 5; may be repeated.",
        rich_help_panel=DATA,
    ),
]
LR_WORDS: dict[str, Literal["best", "same"]] = {"best": "best", "same": "same"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "report", report)


def report(
    results: ResultsFile,
    out: OutFolder = None,
    lr: AtLr = "best",
    compared: Compared = None,
    json: output.Json = False,
) -> None:
    """Put the results of a sweep beside the paper's tables, and judge whether the score predicts performance."""
    choice = _choice(lr)
    # Tables need pandas, which no other command should wait for.
    from beft_core.reports.report import read_contents, write_contents

    methods = [user_path(one, "--compared") for one in compared or ()]
    path = user_path(results, "the results")
    if path.is_file() and path.name == f"{METHODS}.parquet":
        _report_methods([path, *methods], out, json)
        return
    found = read_contents(path, choice, methods)
    files = write_contents(found, user_path(out, "--out")) if out is not None else []
    if json:
        tables = {name: frame.to_dict("records") for name, frame in found.frames().items()}
        output.print_json({"facts": found.facts, "verdict": found.verdict, "tables": tables, "files": files})
        return
    _print_claims(found)
    for table in found.tables["table1"]:
        _print_table1(table)
    _print_prediction(found)
    _print_halves(found)
    if files:
        output.note(f"wrote {files[0]} and {len(files) - 1} CSV files beside it")


def _report_methods(paths: list[Path], out: str | None, json: bool) -> None:
    """Report on tables of comparisons alone, without the sweeps that they were made of."""
    from beft_core.reports.report import contents_of_methods

    if out is not None:
        raise UserError(
            "got --out for a table of methods without its sweep", "the folder of the comparison", "--compared FILE"
        )
    found = contents_of_methods(paths)
    if json:
        output.print_json({name: frame.to_dict("records") for name, frame in found.frames().items()})
    else:
        _print_halves(found)


def _choice(lr: str) -> LrChoice:
    """Read ``best``, ``same`` or a learning rate. Raises UserError."""
    if lr in LR_WORDS:
        return LR_WORDS[lr]
    try:
        rate = float(lr)
    except ValueError:
        rate = float("nan")
    if not 0 < rate < float("inf"):
        raise UserError(f"got --lr {lr}", "best, same or a learning rate above 0", "--lr best")
    return rate


def _print_claims(found: Contents) -> None:
    """Print the verdicts, a line each, and the numbers of what is tested as sentences below: they are too long for a
    column of a terminal.
    """
    from beft_core.reports.claims.table import headline
    from beft_core.reports.claims.verdicts import Verdict

    rows = [(one.claim.says, one.claim.paper, str(one.finding.verdict)) for one in found.claims]
    output.print_table(headline(found.claims), ["claim of the paper", "where", "ours"], rows)
    for one in found.claims:
        if one.finding.verdict is not Verdict.UNTESTED:
            also = f" ({one.finding.trivial})" if one.finding.trivial else ""
            output.say(f"{one.claim.says}: {one.finding.numbers}{also}")
    output.say("")


def _print_table1(table: Table) -> None:
    """Print a line per task and regime, the terms side by side: unlike the paper's form, it does not widen with the
    tasks.
    """
    from beft_core.reports.cells import ours_text, paper_text

    blocks: dict[str, list[Row]] = {}
    for row in table.rows:
        blocks.setdefault(row.labels[0], []).append(row)
    terms = list(dict.fromkeys(row.labels[1] for row in table.rows))
    lines: list[tuple[str, ...]] = []
    without: dict[str, list[str]] = {}
    for at, column in enumerate(table.columns):
        for regime, rows in blocks.items():
            cells = [row.cells[at] for row in rows]
            if all(cell.ours is None for cell in cells):
                if cells[0].paper is not None:
                    without.setdefault(column.label, []).append(regime)
                continue
            ours = [f"{ours_text(c, column) or '–'}{'*' * c.bold}{'†' * c.dagger}" for c in cells]
            lrs = ["–" if c.lr is None else f"{c.lr:g}" for c in cells]
            lrs = lrs[:1] if len(set(lrs)) == 1 else lrs
            paper = [paper_text(c, column) or "–" for c in cells]
            lines.append((column.label, regime, *ours, " ".join(lrs), *paper))
    head = ["task", "regime", *terms, "at lr", *(f"paper {term}" for term in terms)]
    output.print_table(f"{table.title}, in %. Ours: {table.ours}. Paper: {table.paper}", head, lines, keys=2)
    output.say("* best of the three", *table.notes)
    if without:
        missing = (
            name if len(found) == len(blocks) else f"{name} {'/'.join(found)}" for name, found in without.items()
        )
        output.say(f"not in the table: {', '.join(missing)} (why: --json)")
    output.say("")


def _print_halves(found: Contents) -> None:
    """Print both halves of Table 5, a line per task and method, ours beside both models of the paper."""
    from beft_core.reports.cells import paper_text

    for setting in ("same", "best"):
        several = found.tables.get(f"table5-{setting}", [])
        by_model: dict[str, list[Table]] = {}
        for table in several:
            by_model.setdefault(table.ours, []).append(table)
        for ours, tables in by_model.items():
            lines = [
                (
                    column.label,
                    row.labels[0],
                    *_ours(row.cells[at], column),
                    *(paper_text(table.rows[number].cells[at], column) or "–" for table in tables),
                )
                for at, column in enumerate(tables[0].columns)
                for number, row in enumerate(tables[0].rows)
                if row.cells[at].ours is not None
            ]
            head = ["task", "method", "ours", "at lr", *(table.paper.split(",")[0] for table in tables)]
            output.print_table(f"{tables[0].title}, in %. Ours: {ours}", head, lines, keys=2)
            output.say(*tables[0].notes, "")
    output.say(*found.collapse)


def _ours(cell: Cell, column: Column) -> tuple[str, str]:
    """Write our number with the mark of the best, and its learning rate."""
    from beft_core.reports.cells import ours_text

    return f"{ours_text(cell, column)}{'*' * cell.bold}", "–" if cell.lr is None else f"{cell.lr:g}"


def _print_prediction(found: Contents) -> None:
    from beft_core.reports.report import NORMS
    from beft_core.reports.selection import in_words
    from beft_core.reports.selection.prediction import POOLED

    summary = found.series["prediction"]
    pooled = (summary["task"] == POOLED) & (summary["regime"] == POOLED)
    title = "Does the score predict performance?"
    if pooled.any():
        output.print_table(f"{title} (95 % intervals)", list(in_words.HEAD), in_words.rows(summary[pooled]))
        output.say(*in_words.shared_rows(summary), in_words.DRAWS[summary["draws"].iloc[-1]])
        output.say(*in_words.BASELINE_NOTES)
        output.say(f"Pre-trained norms: {found.facts[NORMS]}.")
    else:
        output.say(title)
    output.say(found.verdict)
