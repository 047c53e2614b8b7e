"""Command ``beft lesson``: pages of the dashboard that need no model, as files that open from a disk."""

from __future__ import annotations

from typing import Annotated

import typer

from beft_core.cli import output
from beft_core.cli.parser.command import DATA, OUTPUT, add
from beft_core.cli.progress import progress
from beft_core.errors import UserError
from beft_core.files.disk import size
from beft_core.files.paths import user_path

Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FOLDER", help="New or empty folder to write.", rich_help_panel=OUTPUT),
]
Snapshots = Annotated[
    list[str] | None,
    typer.Option(
        "--snapshots",
        metavar="FILE...",
        help="Snapshots of yours for the pages Which bias matters, Geometry and The dial, in place of the samples.",
        rich_help_panel=DATA,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "lesson", lesson)


def lesson(out: Out = None, snapshots: Snapshots = None, json: output.Json = False) -> None:
    """Write a lesson for a room: pages to open in any browser, without Python, server or network."""
    if out is None:
        raise UserError("got no --out", "a folder to write", "--out lesson")
    folder = user_path(out, "--out")
    files = [user_path(name, "--snapshots") for name in snapshots or ()]
    # The dashboard's figures need Plotly and pandas, which no other command should wait for.
    from dashboard.lesson.write import PAGES, require_new, write_lesson

    require_new(folder)
    with progress() as observer:
        observer.stage("pages", PAGES)
        written = write_lesson(folder, files, observer.advance)
    if json:
        output.print_json({"folder": folder, "open": written.first, "bytes": written.bytes, "files": written.files})
        return
    pages = sum(name.endswith(".html") for name in written.files)
    output.say(
        f"wrote {folder}: {pages} pages in {len(written.files)} files, {size(written.bytes)}",
        f"open {written.first} in a browser, or put the folder on any web server",
    )
