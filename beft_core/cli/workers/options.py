"""Options of ``beft sweep`` that say where and by how many workers it is done."""

from __future__ import annotations

from typing import Annotated

import typer

from beft_core.cli.parser.command import OUTPUT, TRAINING

BankSize = Annotated[
    int | None,
    typer.Option(
        "--bank-size", metavar="N", help="Most fine-tunes in one pass. Default: from memory.", rich_help_panel=TRAINING
    ),
]
NoSnapshots = Annotated[bool, typer.Option("--no-snapshots", help="Keep the table only.", rich_help_panel=OUTPUT)]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--devices",
        metavar="NAME...",
        help="GPUs to use, such as cuda:0 cuda:1. Default: all.",
        rich_help_panel=TRAINING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that share the sweep. Default: one for each GPU, or one on the CPU.",
        rich_help_panel=TRAINING,
    ),
]
