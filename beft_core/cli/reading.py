"""Commands that only read: ``score``, ``inspect``, ``models`` and ``tasks``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import typer

from beft_core.architectures.certified import certified
from beft_core.cli import output
from beft_core.cli.fine_tune import (
    heading,
    legend,
    metric_cell,
    metric_columns,
    no_selection,
    null_elements,
    print_scores,
    print_selection,
)
from beft_core.cli.parser.command import OUTPUT, add
from beft_core.files.paths import user_path
from beft_core.models.source import known_models
from beft_core.scores.table import ScoreTable, aggregate_seeds, score_snapshot
from beft_core.snapshots.null_elements import count_of
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.presence import presence

PerLayer = Annotated[
    bool,
    typer.Option("--per-layer", help="Also every layer, with the geometry beside the score.", rich_help_panel=OUTPUT),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(app, "score", score)
    add(app, "inspect", inspect)
    add(app, "models", models)
    add(app, "tasks", tasks)


def score(files: output.Files, per_layer: PerLayer = False, json: output.Json = False) -> None:
    """Score and rank the bias terms of snapshots; several seeds of one experiment also together."""
    snapshots = output.read_all(files)
    tables = [score_snapshot(snapshot) for snapshot in snapshots]
    groups = [group for group in _experiments(snapshots).values() if len(group) > 1]
    aggregates = [(group, aggregate_seeds([tables[n] for n in group])) for group in groups]
    if json:
        output.print_json(
            {
                "files": [
                    _scored(file, snapshot, table, per_layer)
                    for file, snapshot, table in zip(files, snapshots, tables, strict=True)
                ],
                "aggregates": [
                    {
                        "files": [files[n] for n in group],
                        **_experiment(snapshots[group[0]]),
                        "terms": frame.to_dict("records"),
                    }
                    for group, frame in aggregates
                ],
            }
        )
        return
    for file, snapshot, table in zip(files, snapshots, tables, strict=True):
        print_scores(f"{file}: {snapshot.meta.task} on {snapshot.meta.model.id}", table)
        print_selection(table)
        if per_layer:
            _print_per_layer(table)
        output.say("")
    for group, frame in aggregates:
        about = ", ".join(f"{key} {value}" for key, value in _experiment(snapshots[group[0]]).items())
        stacks = frame["stack"].nunique() > 1
        output.print_table(
            f"{len(group)} snapshots together: {about}",
            [*["stack"] * stacks, "term", "approach", "mean", "std", "first", "selected"],
            [
                [
                    *[r.stack] * stacks,
                    r.term,
                    r.approach,
                    float(r.mean),
                    float(r.std),
                    f"{r.first} of {r.seeds}",
                    f"{r.first_of_candidates} of {r.seeds}",
                ]
                for r in frame.itertuples(index=False)
            ],
            keys=2 + stacks,
        )
        output.say("first: ranked first of all terms; selected: first of those of q, k, v that took part")


def _experiment(snapshot: Snapshot) -> dict[str, Any]:
    """Get what snapshots have in common that differ only in their seed."""
    meta = snapshot.meta
    return {"model": meta.model.id, "task": meta.task, "mode": meta.mode, "n_train": meta.n_train}


def _experiments(snapshots: list[Snapshot]) -> dict[tuple[Any, ...], list[int]]:
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, snapshot in enumerate(snapshots):
        meta = snapshot.meta
        key = (meta.model.fingerprint, meta.trained_terms, *_experiment(snapshot).values())
        groups.setdefault(key, []).append(number)
    return groups


def _scored(file: str, snapshot: Snapshot, table: ScoreTable, per_layer: bool) -> dict[str, Any]:
    known = certified(snapshot.meta)
    document: dict[str, Any] = {
        "file": file,
        **_experiment(snapshot),
        "seed": snapshot.meta.seed,
        "null_terms": known.terms,
        "null_elements": null_elements(table),
        "null_unknown": known.unknown,
        "notes": table.notes,
        "selected": {stack: table.selected(stack) for stack in table.stacks},
        "no_selection": {stack: no_selection(table, stack) for stack in table.stacks},
        "means": table.means.to_dict("records"),
    }
    if per_layer:
        document["per_layer"] = table.per_layer.to_dict("records")
    return document


def _print_per_layer(table: ScoreTable) -> None:
    approaches = table.approaches
    stacks = len(table.stacks) > 1
    rows = []
    for row in table.terms:
        shape = row.movement.geometry()
        for layer in range(len(shape["cosine"])):
            rows.append(
                [
                    *[row.stack] * stacks,
                    row.term,
                    str(layer),
                    *(float(row.scores[key][layer]) if key in row.scores else "–" for key in approaches),
                    f"{shape['angle_degrees'][layer]:.1f}",
                    float(shape["length_ratio"][layer]),
                ]
            )
    head = ["term", "layer", *map(heading, approaches), "angle", "length"]
    output.print_table("per layer", [*["stack"] * stacks, *head], rows, keys=2 + stacks)
    geometry = "angle: in degrees, above 90 reversed; length: length ratio, |after| / |before|"
    output.say("; ".join(filter(None, (legend(approaches), geometry))))


def inspect(file: output.File, json: output.Json = False) -> None:
    """Show the metadata and the tensors of a snapshot."""
    snapshot = read_snapshot(user_path(file, "the file"))
    tensors: list[dict[str, Any]] = [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "norm": float(np.linalg.norm(array)),
            "least": float(array.min()),
            "largest": float(array.max()),
        }
        for name, array in snapshot.tensors().items()
    ]
    meta = asdict(snapshot.meta)
    if json:
        output.print_json({"file": file, "metadata": meta, "tensors": tensors})
        return
    model = meta.pop("model")
    epochs = meta.pop("metrics")
    meta["null_elements"] = {t: f"{count_of(r)} of each layer" for t, r in (meta["null_elements"] or {}).items()}
    facts = {f"model {key}": value for key, value in model.items()} | meta
    output.print_table(file, ["field", "value"], [(key, _words(value)) for key, value in facts.items()])
    if epochs:
        columns = metric_columns(epochs)
        rows = [[metric_cell(row.get(name), name) for name in columns] for row in epochs]
        output.print_table("metrics", columns, rows)
    output.print_table(
        "tensors",
        ["tensor", "shape", "dtype", "norm", "least", "largest"],
        [(t["name"], "x".join(map(str, t["shape"])), t["dtype"], t["norm"], t["least"], t["largest"]) for t in tensors],
    )


def _words(value: Any) -> str:
    if value is None or value in ({}, ()):
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return str(value)


def models(json: output.Json = False) -> None:
    """List what --model takes."""
    known = known_models()
    if json:
        output.print_json([{"name": name, "about": about} for name, about in known.items()])
        return
    output.print_table("models", ["--model", "what it is"], list(known.items()))


def tasks(json: output.Json = False) -> None:
    """List the tasks with their metrics and regimes, and where their data is on this machine."""
    places = {name: presence(spec) for name, spec in TASKS.items()}
    if json:
        output.print_json([asdict(spec) | {"data": asdict(places[spec.name])} for spec in TASKS.values()])
        return
    output.print_table(
        "tasks",
        ["--task", "what it is", "metrics", "low", "medium", "high", "data"],
        [
            (
                spec.name,
                spec.title,
                ", ".join(spec.metrics),
                *(str(spec.regimes.get(regime) or "–") for regime in ("low", "medium", "high")),
                places[spec.name].where or "not here",
            )
            for spec in TASKS.values()
        ],
    )
    output.say(*(f"{spec.name}, {spec.note}" for spec in TASKS.values() if spec.note))
    ways: dict[str, list[str]] = {}
    for name, place in places.items():
        if not place.here:
            ways.setdefault(place.advice, []).append(name)
    output.say(*(f"not here ({', '.join(names)}): {way}" for way, names in ways.items()))
    output.say("GLUE and SuperGLUE are read from --data-dir, BEFT_GLUE_DIR, BEFT_SUPERGLUE_DIR, or the Hub.")
