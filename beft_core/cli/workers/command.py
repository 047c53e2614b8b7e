"""Command ``beft worker``: takes a share of a sweep that began in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beft_core.cli.output import note
from beft_core.cli.parser.command import OUTPUT, TRAINING, add
from beft_core.cli.progress import progress
from beft_core.cli.workers.options import BankSize, NoSnapshots
from beft_core.errors import UserError
from beft_core.execution.fleet import PREDICTIONS, REFUSALS
from beft_core.execution.leaving import UNFINISHED
from beft_core.execution.sweep_worker import Assignment, work
from beft_core.files.paths import user_path
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.store import SweepFolder

Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="Folder of a sweep.", show_default=False)]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Stay until all is done, to take over what others leave; else leave when others train all that is left.",
        rich_help_panel=TRAINING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="How many workers to plan for. Default: 1.", rich_help_panel=TRAINING),
]
Requeue = Annotated[
    bool,
    typer.Option(
        "--requeue", help="In a Slurm job: queue it again when its time is up (SIGUSR1).", rich_help_panel=TRAINING
    ),
]
DeviceName = Annotated[str | None, typer.Option("--device-name", hidden=True, rich_help_panel=OUTPUT)]
Unless = Annotated[str | None, typer.Option("--unless", hidden=True, rich_help_panel=OUTPUT)]
Predictions = Annotated[bool, typer.Option(PREDICTIONS, hidden=True, rich_help_panel=OUTPUT)]
Refusals = Annotated[bool, typer.Option(REFUSALS, hidden=True, rich_help_panel=OUTPUT)]
Parent = Annotated[int | None, typer.Option("--parent", hidden=True, rich_help_panel=OUTPUT)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "worker", worker)


def worker(
    folder: Folder,
    wait: Wait = False,
    workers: Workers = None,
    bank_size: BankSize = None,
    no_snapshots: NoSnapshots = False,
    requeue: Requeue = False,
    device_name: DeviceName = None,
    parent: Parent = None,
    unless: Unless = None,
    predictions: Predictions = False,
    refusals: Refusals = False,
) -> int:
    """Take passes of a sweep that began in a folder, beside any number of other workers, until none is left."""
    for flag, value in (("--workers", workers), ("--bank-size", bank_size)):
        if value is not None and value < 1:
            raise UserError(f"got {flag} {value}", "at least 1")
    with progress() as observer:
        status = work(
            SweepFolder(user_path(folder, "the folder")),
            observer,
            Assignment(
                bank_size,
                Kept(not no_snapshots, predictions, refusals),
                workers or 1,
                wait,
                device_name,
                parent,
                Path(unless) if unless else None,
            ),
            requeue=requeue,
        )
    if status == UNFINISHED:
        note("left before the end; the same command goes on from here")
    return status
