"""Command ``beft push``: a snapshot as a folder that others can use, and, when asked for, on the Hub."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from beft_core.cli import output
from beft_core.cli.parser.command import DATA, MODEL, OUTPUT, add
from beft_core.cli.progress import progress
from beft_core.files.disk import size
from beft_core.files.paths import user_path
from beft_core.publishing.card import UNKNOWN
from beft_core.publishing.folder import HubFolder, publication_of, repo_of, write_hub_folder
from beft_core.snapshots.snapshot import read_snapshot

Repo = Annotated[str, typer.Argument(metavar="ORG/NAME", help="Name on the Hub.", show_default=False)]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FOLDER", help="Folder to write. Default: ORG--NAME, here.", rich_help_panel=OUTPUT),
]
Upload = Annotated[
    bool,
    typer.Option("--upload", help="Upload the folder; without it nothing leaves this machine.", rich_help_panel=OUTPUT),
]
Public = Annotated[
    bool, typer.Option("--public", help="Make a public repository; without it a private one.", rich_help_panel=OUTPUT)
]
License = Annotated[
    str | None,
    typer.Option(
        "--license",
        metavar="ID",
        help="Licence of the files, as the Hub writes it. Default: unknown.",
        rich_help_panel=OUTPUT,
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        "--base", metavar="MODEL", help="Base model. Default: what the snapshot names.", rich_help_panel=MODEL
    ),
]
BaseId = Annotated[
    str | None,
    typer.Option(
        "--base-id",
        metavar="ORG/MODEL",
        help="Id of the base on the Hub, where it lay in a folder here.",
        rich_help_panel=MODEL,
    ),
]
HeadTask = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="NAME", help="Head to publish. Default: the snapshot's own task.", rich_help_panel=DATA
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "push", push)


def push(
    file: output.File,
    repo: Repo,
    out: Out = None,
    upload: Upload = False,
    public: Public = False,
    license: License = None,
    base: Base = None,
    base_id: BaseId = None,
    task: HeadTask = None,
    json: output.Json = False,
) -> None:
    """Write a folder for the Hub: adapter, snapshot, model card; --upload sends it."""
    # No name on the Hub has two dashes in a row, so that each repository has a folder of its own.
    folder = user_path(out or repo_of(repo).replace("/", "--"), "--out")
    path = user_path(file, "the file")
    with progress() as observer:
        observer.stage("write the folder")
        made = publication_of(read_snapshot(path), path, repo, task=task, base=base, base_id=base_id, license=license)
        written = write_hub_folder(made, folder)
        address = None
        if upload:
            from beft_core.publishing.upload import upload as send

            observer.stage("upload")
            address = send(written, repo, public=public)
    if made.base.id is None:
        output.note(
            f"the base model {made.base.name} is a folder of yours: others cannot load it, and the card says so; "
            "--base-id ORG/MODEL names it on the Hub"
        )
    if made.adapter is None:
        output.note(f"without a PEFT adapter: {made.no_adapter}")
    if made.license == UNKNOWN:
        output.note("the licence is unknown, and the card says so; --license ID names one")
    words = ["beft", "push", file, repo, *_given(out, public, license, base, base_id, task), "--upload"]
    if json:
        output.print_json(
            {
                "folder": written.path,
                "files": dict(written.files),
                "repository": repo,
                "private": not public,
                "uploaded": address,
                "card_edited": written.edited,
                "adapter": made.adapter is not None,
                "base_model": made.base.id,
            }
        )
        return
    _print_folder(written)
    if address is not None:
        output.say(f"uploaded to {address} ({'public' if public else 'private'})")
        return
    output.say(f"nothing was uploaded; to a {'public' if public else 'private'} repository goes what stands there by")
    output.say(f"  {shlex.join(words)}")


def _print_folder(written: HubFolder) -> None:
    rows = [(name, size(count)) for name, count in written.files]
    did = "took" if written.there else "wrote"
    edited = ", with the card as you edited it" if written.edited else ""
    output.print_table(f"{did} {written.path}{edited}", ["file", "size"], rows)


def _given(
    out: str | None, public: bool, license: str | None, base: str | None, base_id: str | None, task: str | None
) -> list[str]:
    """Repeat the options that were given, for the command that uploads."""
    named = {"--out": out, "--license": license, "--base": base, "--base-id": base_id, "--task": task}
    return [word for flag, value in named.items() if value for word in (flag, value)] + (["--public"] if public else [])
