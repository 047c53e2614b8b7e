"""Snapshots from and to other programs: ``beft extract``, ``beft export`` and ``beft peft``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beft_core.cli import output
from beft_core.cli.parser.command import DATA, MODEL, OUTPUT, Group, add
from beft_core.cli.progress import progress
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.disk import size
from beft_core.files.paths import free_folder, user_path
from beft_core.methods import method_of
from beft_core.models.source import BUNDLED
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.training.preconditions import head_of, refuse_before_text, with_adapter

RequiredOut = Annotated[
    str, typer.Option("--out", metavar="FILE", help="Snapshot to write.", show_default=False, rich_help_panel=OUTPUT)
]
Base = Annotated[str, typer.Argument(metavar="BASE", help="Folder, file, index, bundled or Hub id.")]
Tuned = Annotated[str, typer.Argument(metavar="TUNED", help="The fine-tuned model, in the same ways.")]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--model-config",
        metavar="FILE",
        help="config.json, where none stands beside the models.",
        rich_help_panel=MODEL,
    ),
]
Task = Annotated[
    str, typer.Option("--task", metavar="NAME", help="Task that the snapshot names.", rich_help_panel=DATA)
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Seed that the snapshot records.", rich_help_panel=DATA)
]
Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="Folder of the adapter.", show_default=False)]
Model = Annotated[
    str, typer.Option("--base", metavar="MODEL", help="Base model: folder, bundled or Hub id.", rich_help_panel=MODEL)
]
OptionalModel = Annotated[
    str | None,
    typer.Option(
        "--base", metavar="MODEL", help="Base model. Default: what the snapshot names.", rich_help_panel=MODEL
    ),
]
Merged = Annotated[
    str,
    typer.Option(
        "--merged", metavar="FOLDER", help="New folder for the model.", show_default=False, rich_help_panel=OUTPUT
    ),
]
HeadTask = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="NAME", help="Head to export. Default: the snapshot's own task.", rich_help_panel=DATA
    ),
]


DTYPES = ("base", "float32")
"""Types of the weights that are written: each tensor's own in the base, or float32."""
DType = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="TYPE", help="base: each tensor as in the base; or float32.", rich_help_panel=OUTPUT
    ),
]
SEEN = 0.001
"""Share of a change from which on its loss is said."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(app, "extract", extract)
    add(app, "export", export)
    peft = typer.Typer(cls=Group, help="Adapters of the peft library: import and export.", rich_markup_mode=None)
    add(peft, "import", import_adapter)
    add(peft, "export", export_adapter)
    app.add_typer(peft, name="peft")


def extract(
    base: Base,
    tuned: Tuned,
    out: RequiredOut,
    model_config: ConfigFile = None,
    task: Task = "imported",
    seed: Seed = None,
    json: output.Json = False,
) -> None:
    """Make a snapshot of a model that was fine-tuned elsewhere; only its biases are read."""
    from beft_core.exchange.checkpoints import extract as extract_biases

    path = output.out_path(out)
    snapshot = extract_biases(base, tuned, config=model_config, task=task, seed=seed)
    output.save(path, snapshot)
    _print_written(snapshot, path, json)


def import_adapter(
    folder: Folder, base: Model, out: RequiredOut, task: Task = "imported", json: output.Json = False
) -> None:
    """Make a snapshot of a BEFT adapter."""
    from beft_core.exchange.peft_adapter import BUNDLED_ID, NAMED_BASE, import_peft

    path = output.out_path(out)
    snapshot = import_peft(folder, base, task=task)
    output.save(path, snapshot)
    named, got = snapshot.meta.provenance.get(NAMED_BASE), snapshot.meta.model.id
    if named is not None and Path(named).name != Path(BUNDLED_ID if got == BUNDLED else got).name:
        # Shapes fit, and the adapter does not say more of its base: whoever imports it must know.
        output.note(f"the adapter names {named} as its base, and was put on {got}: right only if the two are the same")
    _print_written(snapshot, path, json)


def export_adapter(
    file: output.File, folder: Folder, base: OptionalModel = None, task: HeadTask = None, json: output.Json = False
) -> None:
    """Write a snapshot as a BEFT adapter that PeftModel.from_pretrained loads."""
    from beft_core.exchange.peft_adapter import export_peft

    target = free_folder(folder)
    export_peft(_exported(file, task), target, base=base, task=task)
    names = sorted(entry.name for entry in target.iterdir())
    if json:
        output.print_json({"folder": target, "files": names})
        return
    output.say(f"wrote {', '.join(names)} to {target}")


def export(
    file: output.File,
    merged: Merged,
    base: OptionalModel = None,
    task: HeadTask = None,
    dtype: DType = "base",
    json: output.Json = False,
) -> None:
    """Write a fine-tune as a plain model folder, its biases in place, for whatever reads models of transformers."""
    free_folder(merged)
    if dtype not in DTYPES:
        raise UserError(f"got --dtype {dtype}", f"one of {', '.join(DTYPES)}")
    snapshot = _mergeable(file, task)
    require_training()
    with progress() as observer:
        observer.stage("start PyTorch")
        from beft_core.inference.merged_folder import write_merged

        made = write_merged(snapshot, merged, base=base, task=task, dtype=dtype, observer=observer)
    names = sorted(entry.name for entry in made.folder.iterdir())
    if made.rounding > SEEN:
        output.note(
            f"biases are rounded to {made.dtype}, the base's own type: up to {made.rounding:.1%} of a bias's change is "
            "lost; --dtype float32 keeps all of it"
        )
    if json:
        document = {"folder": made.folder, "files": names, "dtype": made.dtype, "rounding": made.rounding}
        output.print_json(document | {"bytes": made.bytes})
        return
    output.say(f"wrote {', '.join(names)} to {made.folder} ({made.dtype}, {size(made.bytes)} of weights)")


def _mergeable(file: str, task: str | None) -> Snapshot:
    """Read a snapshot that is to become a plain model, with its adapter where it has one. Raises UserError as
    :func:`_exported`, or where what was trained has no place in a plain model.
    """
    path = user_path(file, "the file")
    snapshot = read_snapshot(path)
    if method_of(snapshot.meta.mode).adapter is None:
        return _exported(file, task)
    refuse_before_text(snapshot.meta.mode)
    if task is not None:
        head_of(snapshot, task)
    return with_adapter(snapshot, path)


def _exported(file: str, task: str | None) -> Snapshot:
    """Read a snapshot that is to be exported. Raises UserError where it is not the whole result, or has no head for a
    task that is named.
    """
    snapshot = read_snapshot(user_path(file, "the file"))
    refuse_changed_weights(snapshot)
    if task is not None:
        head_of(snapshot, task)
    return snapshot


def _print_written(snapshot: Snapshot, path: Path, json: bool) -> None:
    meta = snapshot.meta
    document: dict[str, Any] = {
        "file": path,
        "model": meta.model.id,
        "architecture": meta.model.architecture,
        "layers": meta.model.layers,
        "terms": [f"{stack}.{term}" for stack, term in snapshot.keys()],  # noqa: SIM118 - a method of Snapshot
        "changed_terms": meta.trained_terms,
    }
    if json:
        output.print_json(document)
        return
    output.print_table("snapshot", ["field", "value"], [(key, _words(value)) for key, value in document.items()])


def _words(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, list | tuple) else str(value)
