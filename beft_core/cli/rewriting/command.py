"""Command ``beft rewrite``: the same model written down differently, and what its scores become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beft_core.cli import output
from beft_core.cli.fine_tune import heading, legend
from beft_core.cli.parser.command import MODEL, OUTPUT, add
from beft_core.cli.progress import progress
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.scores.approaches import PAPER
from beft_core.scores.rewriting import (
    DIRECTIONS,
    Rewriting,
    Rewritten,
    Spread,
    base_outputs,
    outputs_here,
    over_directions,
    rewritten,
)
from beft_core.snapshots.snapshot import SUFFIX, read_snapshot

Shift = Annotated[
    float | None,
    typer.Option(
        "--shift",
        metavar="R",
        help="Move a constant into b_v from the bias of the attention output: R times as long as b_v is in each layer.",
        rich_help_panel=MODEL,
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(
        "--scale",
        metavar="C",
        help="Multiply W_v, b_v, W_k, b_k by C, and divide W_o, W_q, b_q by it.",
        rich_help_panel=MODEL,
    ),
]
Direction = Annotated[
    str,
    typer.Option(
        "--direction",
        metavar=f"[{'|'.join(DIRECTIONS)}]",
        help="Direction of the constant: random by --seed, along b_v, or against it.",
        rich_help_panel=MODEL,
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Draws a random direction.", rich_help_panel=MODEL)]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Base model, whose weights tell what becomes of b_o. Default: the bundled one, if it is that.",
        rich_help_panel=MODEL,
    ),
]

Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help=f"Snapshot of the rewritten model (*{SUFFIX}); with --model also a new folder for the model itself.",
        rich_help_panel=OUTPUT,
    ),
]

SHOWN = (PAPER, "magnitude", "fisher")
"""Approaches that are compared."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "rewrite", rewrite)


def rewrite(
    file: output.File,
    shift: Shift = None,
    scale: Scale = None,
    direction: Direction = "random",
    seed: Seed = 0,
    model: Model = None,
    out: Out = None,
    json: output.Json = False,
) -> None:
    """Write the same model down differently: no output changes, but do its scores?"""
    if shift is None and scale is None:
        raise UserError("got neither --shift nor --scale", "one of them", "--shift 5")
    if shift is None and (direction, seed) != ("random", 0):
        raise UserError("got --direction or --seed without --shift", "the constant that they are of", "--shift 5")
    if shift is not None and direction != "random" and seed != 0:
        raise UserError(f"got --seed with --direction {direction}", "one of them", "--direction random")
    folder = _new_folder(out, model)
    path = output.out_path(out) if out and folder is None else None
    snapshot = read_snapshot(user_path(file, "the file"))
    rewriting = Rewriting(shift or 0.0, direction, seed, 1.0 if scale is None else scale)
    outputs = base_outputs(snapshot, model) if model is not None else outputs_here(snapshot)
    result = Rewritten.of(snapshot, rewriting, outputs)
    random = bool(rewriting.shift) and direction == "random"
    spread = over_directions(snapshot, rewriting.shift) if random else None
    if path is not None:
        output.save(path, rewritten(snapshot, rewriting, outputs))
    if folder is not None:
        assert model is not None
        _write_model(model, rewriting, folder)
    if json:
        output.print_json(_document(file, result, spread) | {"written": path or folder})
        return
    output.say(result.verdict(), "")
    _print_scores(result)
    if spread is not None:
        output.say(_in_words(spread, rewriting.shift))
    if rewriting.shift and outputs is None and "o" in result.before.rows(result.before.stacks[0]):
        output.note("without the base model's weights it is not known what becomes of b_o: it is left out (--model)")


def _new_folder(out: str | None, model: str | None) -> Path | None:
    """Tell whether --out names a folder for the model, and check that it can be made, before any work."""
    if out is None or model is None or out.endswith(SUFFIX):
        return None
    folder = user_path(out, "--out")
    if folder.exists():
        raise UserError(f"got --out {out}, which is there already", "a new folder")
    if not folder.parent.is_dir():
        raise UserError(f"got --out {out}, whose folder does not exist", "a folder that exists")
    require_training()
    return folder


def _write_model(model: str, rewriting: Rewriting, folder: Path) -> None:
    """Load a model, rewrite it, and write it as a folder that --model takes."""
    with progress() as observer:
        observer.stage("start PyTorch")
        from beft_core.models.load import load_model
        from beft_core.training.rewriting import rewrite_model, save_model

        observer.stage("load model")
        loaded = load_model(model)
        observer.stage("rewrite and compare outputs")
        rewrite_model(loaded, rewriting)
        observer.stage("write")
        save_model(loaded, folder)
    output.note(f"wrote {folder}: a probe of it is beft select --model {folder}")


def _print_scores(result: Rewritten) -> None:
    approaches = [key for key in SHOWN if key in result.before.approaches]
    was, now = ({key: table.mean_scores(key) for key in approaches} for table in (result.before, result.after))
    head = ["term", *(name for key in approaches for name in (heading(key), "rewritten"))]
    rows = [
        [term, *(values[key].get(term, "–") for key in approaches for values in (was, now))]
        for term in was[approaches[0]]
    ]
    output.print_table(f"{result.rewriting.in_words()}: mean over layers, as it is and rewritten", head, rows)
    output.say(legend(approaches))


def _in_words(spread: Spread, shift: float) -> str:
    """Say how much hangs on the direction that was drawn."""
    count = len(spread.scores)
    said = f"over {count} random directions: v {min(spread.scores):.3f} to {max(spread.scores):.3f} at r = {shift:g}"
    if not spread.flips:
        return f"{said}; the selection flips in none"
    return f"{said}; flips in {len(spread.flips)} of them, at r = {min(spread.flips):.2f} to {max(spread.flips):.2f}"


def _document(file: str, result: Rewritten, spread: Spread | None) -> dict[str, Any]:
    stack = result.before.stacks[0]
    return {
        "file": file,
        "rewriting": vars(result.rewriting),
        "verdict": result.verdict(),
        "flip": None if result.flip is None else vars(result.flip),
        "directions": None if spread is None else vars(spread),
        "selected": {"before": result.before.selected(stack), "after": result.after.selected(stack)},
        "means": {
            key: {
                term: {"before": score, "after": result.after.mean_scores(key).get(term)}
                for term, score in result.before.mean_scores(key).items()
            }
            for key in result.before.approaches
        },
    }
