"""Command ``beft export-results``: a sweep's fine-tunes as runs of an experiment tracker."""

from __future__ import annotations

from typing import Annotated

import typer

from beft_core.cli import output
from beft_core.cli.parser.command import OUTPUT, add
from beft_core.cli.progress import progress
from beft_core.counted import counted
from beft_core.files.paths import user_path

Results = Annotated[
    str,
    typer.Argument(metavar="RESULTS", help="Folder of a sweep, or its results.parquet or .csv.", show_default=False),
]
Project = Annotated[
    str, typer.Option("--project", metavar="NAME", help="Project of the tracker.", rich_help_panel=OUTPUT)
]
Space = Annotated[
    str | None,
    typer.Option(
        "--space",
        metavar="ORG/NAME",
        help="A Space on the Hub instead of this machine; a new one is private.",
        rich_help_panel=OUTPUT,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "export-results", export_results)


def export_results(results: Results, project: Project = "beft", space: Space = None, json: output.Json = False) -> int:
    """Send the finished fine-tunes of a sweep to trackio, a run for each, with its curve and its scores."""
    # Tables need pandas, which no other command should wait for.
    from beft_core.sweeps.table import read_table
    from beft_core.sweeps.tracking import send

    table = read_table(user_path(results, "the results"))
    with progress() as observer:
        sent = send(table, project, observer, space)
        stopped = observer.should_stop()
    done = int((table["state"] == "done").sum())
    if json:
        output.print_json({"project": project, "sent": sent, "finished": done, "stopped": stopped})
    else:
        already = "" if stopped or sent == done else f"; {done - sent:,} were there already"
        output.say(f"{counted(sent, 'fine-tune')} sent to the project {project}{already}")
        if space is None:
            output.say(f"look at them: trackio show --project {project}")
    return output.INTERRUPTED if stopped else 0
