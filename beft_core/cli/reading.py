"""Commands that only read: ``score``, ``inspect``, ``models`` and ``tasks``."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from beft_core.architectures.certified import certified
from beft_core.architectures.table import ABSOLUTE
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
from beft_core.cli.flags import config_of, takes
from beft_core.cli.parser.command import MODEL, OUTPUT, add
from beft_core.cli.progress import progress
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.models.source import known_models
from beft_core.runs.tables import recorded_table
from beft_core.scores.approaches import APPROACHES, Approach
from beft_core.scores.no_selection import NoSelection
from beft_core.scores.regimes import chosen_settings, settings_key
from beft_core.scores.table import ScoreTable, aggregate_seeds, score_snapshot
from beft_core.snapshots.null_elements import count_of
from beft_core.snapshots.snapshot import Key, Snapshot, read_snapshot
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.presence import presence
from beft_core.terms import CANDIDATES

if TYPE_CHECKING:
    import pandas as pd

OF_SNAPSHOT = {"model": "bundled, a Hub id with optional @revision, or a folder. Default: what the snapshot names."}
PerLayer = Annotated[
    bool,
    typer.Option("--per-layer", help="Also every layer, with the geometry beside the score.", rich_help_panel=OUTPUT),
]


Verbose = Annotated[
    bool, typer.Option("--verbose", help="Also the scores of every file of several seeds.", rich_help_panel=OUTPUT)
]
Measure = Annotated[
    bool,
    typer.Option(
        "--measure",
        help="Measure the relative output change too, with the base model on validation examples.",
        rich_help_panel=MODEL,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(app, "score", takes(["data_dir", "model", "device"], says=OF_SNAPSHOT)(score))
    add(app, "inspect", inspect)
    add(app, "models", models)
    add(app, "tasks", tasks)


def score(
    files: output.Files,
    given: dict[str, Any],
    per_layer: PerLayer = False,
    verbose: Verbose = False,
    measure: Measure = False,
    out: output.Out = None,
    json: output.Json = False,
) -> None:
    """Score and rank the bias terms of snapshots; several seeds of one experiment also together."""
    if out is not None and (not measure or len(files) > 1):
        raise UserError("got --out without --measure of one file", "both", "--measure")
    if given and not measure:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"got {flags} without --measure", "both", "--measure")
    path = output.out_path(out) if out else None
    snapshots = output.read_all(files)
    if measure:
        snapshots = _measured(snapshots, files, given)
        if path is not None:
            output.save(path, snapshots[0])
    tables = [score_snapshot(snapshot) for snapshot in snapshots]
    groups = [group for group in _experiments(snapshots).values() if len(group) > 1]
    aggregates = [(group, aggregate_seeds([tables[n] for n in group])) for group in groups]
    apart = _told_apart([snapshots[group[0]] for group in groups])
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
                        "settings": own,
                        "terms": frame.to_dict("records"),
                    }
                    for (group, frame), own in zip(aggregates, apart, strict=True)
                ],
            }
        )
        return
    for (group, frame), own in zip(aggregates, apart, strict=True):
        about = ", ".join(f"{key} {_words(value)}" for key, value in (_experiment(snapshots[group[0]]) | own).items())
        _print_together(f"{len(group)} snapshots together: {about}", [tables[n] for n in group], frame)
    whole = per_layer or verbose
    told = set() if whole else {n for group, _ in aggregates for n in group}
    for number, (file, snapshot, table) in enumerate(zip(files, snapshots, tables, strict=True)):
        if number not in told:
            print_scores(f"{file}: {snapshot.meta.task} on {snapshot.meta.model.id}", table)
            print_selection(table)
            if per_layer:
                _print_per_layer(table)
            output.say("")
    for group, frame in aggregates if whole else ():
        _print_all_terms(len(group), frame)
    if told:
        output.say("every term, and every file: --verbose; every layer: --per-layer")


def _print_together(title: str, tables: list[ScoreTable], frame: pd.DataFrame) -> None:
    """Print what seeds of one experiment say together: which term each approach selects how often, and the scores of
    the candidates as mean ± half of its 95 % interval.
    """
    stacks = tables[0].stacks
    several = len(stacks) > 1
    candidates = [term for term in CANDIDATES if term in set(frame["term"])]
    rows = []
    for stack in stacks:
        for approach, group in frame[frame["stack"] == stack].groupby("approach", sort=False):
            of_terms = group.set_index("term")
            votes = Counter(table.selected(stack).get(str(approach)) for table in tables)
            said = ", ".join(f"{term or 'none'} in {count} of {len(tables)}" for term, count in votes.most_common())
            means = [_with_margin(of_terms, term) for term in candidates]
            rows.append([*[stack] * several, APPROACHES[str(approach)].label, said, *means])
    null = {row.term for table in tables for row in table.terms if row.null}
    names = [f"{term} null*" if term in null else term for term in candidates]
    output.print_table(title, [*["stack"] * several, "approach", "selects", *names], rows, keys=1 + several)
    fewer = ", or those that have the score" if (frame["seeds"] < len(tables)).any() else ""
    output.say(f"mean over layers and seeds ± its 95 % interval (Student's t over {len(tables)} seeds{fewer})")
    if null:
        output.say(f"* cannot change any output of this model ({ABSOLUTE.why})")
    reasons = {(one.label, str(why)) for table in tables for one, why in _reasons(table)}
    output.say(*(f"{label}: no selection: {why}" for label, why in sorted(reasons)))
    output.say(*dict.fromkeys(f"note: {text}" for table in tables for text in table.notes), "")


def _with_margin(of_terms: pd.DataFrame, term: str) -> str:
    from beft_core.reports.selection.contests import critical_t  # it takes pandas, which other commands do without

    if term not in of_terms.index:
        return "–"
    mean, spread, seeds = (float(of_terms.loc[term, name]) for name in ("mean", "std", "seeds"))
    if seeds < 2 or not spread:
        return output.number(mean)
    return f"{output.number(mean)} ± {output.number(critical_t(int(seeds) - 1) / math.sqrt(seeds) * spread)}"


def _reasons(table: ScoreTable) -> list[tuple[Approach, NoSelection]]:
    return [(APPROACHES[key], why) for stack in table.stacks for key, why in table.no_selection(stack).items()]


def _print_all_terms(count: int, frame: pd.DataFrame) -> None:
    stacks = frame["stack"].nunique() > 1
    output.print_table(
        f"all terms over {count} seeds",
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


def _measured(snapshots: list[Snapshot], files: list[str], given: dict[str, Any]) -> list[Snapshot]:
    """Complete snapshots with the relative output change, which their files lack, by the base model."""
    require_training()
    with progress() as observer:
        observer.stage("start PyTorch")
        from beft_core.training.scores.output_change import with_output_change

        found = []
        for snapshot, file in zip(snapshots, files, strict=True):
            table = recorded_table(user_path(file), snapshot.meta.task)
            if table is None and snapshot.meta.task not in TASKS:
                raise UserError(
                    f"got {file}, a fine-tune of a table of your own, which is not beside it",
                    "a task of the lab, or a snapshot in its run's folder",
                    "beft select on the table, which measures it",
                )
            own = {} if table is None else table.to_dict()
            found.append(with_output_change(snapshot, config_of(given), observer, table=own))
    return found


def _experiment(snapshot: Snapshot) -> dict[str, Any]:
    """Get what snapshots have in common that differ only in their seed."""
    meta = snapshot.meta
    return {"model": meta.model.id, "task": meta.task, "mode": meta.mode, "n_train": meta.n_train}


def _experiments(snapshots: list[Snapshot]) -> dict[tuple[Any, ...], list[int]]:
    """Group snapshots that differ only in their seed, by their places. One that repeats a seed is in a group of its
    own.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    times: Counter[tuple[Any, ...]] = Counter()
    for number, snapshot in enumerate(snapshots):
        meta = snapshot.meta
        key = (meta.model.base, settings_key(meta), *_experiment(snapshot).values())
        repeats = times[*key, meta.seed] if meta.seed is not None else 0
        times[*key, meta.seed] += 1
        groups.setdefault((*key, repeats), []).append(number)
    return groups


def _told_apart(snapshots: list[Snapshot]) -> list[dict[str, Any]]:
    """List the settings of each of some experiments in which another of the same task, model and size differs."""
    several = [{"layers": one.meta.layers, **chosen_settings(one.meta)} for one in snapshots]
    found = []
    for one, own in zip(snapshots, several, strict=True):
        alike = [of for other, of in zip(snapshots, several, strict=True) if _experiment(other) == _experiment(one)]
        names = dict.fromkeys(name for of in alike for name in of)
        found.append({name: own.get(name) for name in names if any(of.get(name) != own.get(name) for of in alike)})
    return found


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
    unchanged = _unchanged(snapshot)
    hidden = {f"{stack}.{term}.{part}" for stack, term in unchanged for part in ("pre", "post")}
    output.print_table(
        "tensors",
        ["tensor", "shape", "dtype", "norm", "least", "largest"],
        [
            (t["name"], "x".join(map(str, t["shape"])), t["dtype"], t["norm"], t["least"], t["largest"])
            for t in tensors
            if t["name"] not in hidden
        ],
    )
    if unchanged:
        names = ", ".join(f"{stack}.{term}" for stack, term in unchanged)
        output.say(f"not trained, the same before and after: {names} (all tensors: --json)")


def _unchanged(snapshot: Snapshot) -> list[Key]:
    """List the bias terms that a fine-tune did not train and left as they were."""
    return [
        (stack, term)
        for stack, term in snapshot.keys()  # noqa: SIM118 - a method of Snapshot, not of a dict
        if term not in snapshot.meta.trained_terms
        and np.array_equal(snapshot.pre(stack, term), snapshot.post(stack, term))
    ]


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
    output.say("prompt-*: answered by a language model, without a head")
    output.say("Data is read from --data-dir, BEFT_GLUE_DIR, BEFT_SUPERGLUE_DIR, BEFT_QA_DIR, or the Hub.")
