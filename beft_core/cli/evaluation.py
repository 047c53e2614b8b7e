"""Commands ``beft evaluate`` and ``beft merge``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from beft_core.cli import output
from beft_core.cli.flags import DATA, TABLE, config_of, takes
from beft_core.cli.merge_flags import takes_parameters
from beft_core.cli.parser.command import DATA as DATA_PANEL
from beft_core.cli.parser.command import MODEL, OUTPUT, add
from beft_core.cli.progress import progress
from beft_core.config import RunConfig
from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.merging.config import MergeConfig, recorded
from beft_core.merging.merge import has_tuned_fisher
from beft_core.merging.merge import merge as merge_snapshots
from beft_core.merging.methods import METHODS
from beft_core.merging.shared_terms import shared_keys
from beft_core.merging.similarity import Comparison, compare
from beft_core.models.source import locate
from beft_core.runs.tables import recorded_table, recorded_tables
from beft_core.settings import arguments
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.own_table import default_name
from beft_core.tasks.registry import TASKS, get_task
from beft_core.tasks.sources.user_files import ScoredTable, scored_from
from beft_core.training.observer import Observer
from beft_core.training.preconditions import (
    head_of,
    inputs_of,
    read_data,
    require_data,
    require_suited,
    with_adapter,
)

Biases = Annotated[
    str,
    typer.Option(
        "--biases", metavar="[post|pre]", help="pre: the base model under the snapshot's head.", rich_help_panel=MODEL
    ),
]
Terms = Annotated[
    list[str] | None,
    typer.Option("--terms", metavar="TERMS", help="Merge only these trained terms.", rich_help_panel=MODEL),
]
Evaluate = Annotated[
    bool,
    typer.Option(
        "--evaluate",
        help="Score base, sources and merge on every task (form of the paper's Table 3).",
        rich_help_panel=OUTPUT,
    ),
]

Table = Annotated[
    str | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="Score all rows of this table; columns and labels as the snapshot has them.",
        rich_help_panel=DATA_PANEL,
    ),
]
Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        metavar="TASK=FILE",
        help="What --evaluate scores the head of a table of your own on; repeatable.",
        rich_help_panel=DATA_PANEL,
    ),
]

WHERE = ("model", "device", "precision", "max_length")
_RECORDED = {
    "model": "bundled, a Hub id with optional @revision, or a folder. Default: what the snapshot names.",
    "max_length": "Tokens per example. Default: as in the fine-tune.",
}
SCORED = _RECORDED | {"task": "Task (see: beft tasks). Default: the one that the snapshot has a head for."}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(app, "evaluate", takes([*DATA, "n_eval", *WHERE], says=SCORED)(evaluate))
    add(app, "merge", takes(["data_dir", *WHERE], says=_RECORDED)(takes_parameters(merge)))


def evaluate(
    file: output.File, given: dict[str, Any], table: Table = None, biases: Biases = "post", json: output.Json = False
) -> None:
    """Put a snapshot back on its base model and score it on a task whose head it has."""
    if biases not in ("post", "pre"):
        raise UserError(f"got --biases {biases}", "post or pre")
    path = user_path(file, "the file")
    snapshot = with_adapter(read_snapshot(path), path)
    if snapshot.adapter is None:
        refuse_changed_weights(snapshot)
    task, data = own_data(snapshot, path, table, given)
    head_of(snapshot, task)
    own = data is not None
    if own:
        fields = {name: value for name, value in given.items() if name in WHERE or name == "n_eval"}
        config = config_of(recorded([snapshot], task) | fields)
    else:
        config = config_of(recorded([snapshot], task) | given | {"task": task})
    require_training()
    with progress() as observer:
        data = ready(snapshot, task, config, data, observer)
        from beft_core.training.evaluate import evaluate

        metrics = evaluate(snapshot, config, biases=biases, observer=observer, data=data)
    scored = data.limited(config.n_eval)
    count = sum(map(len, scored.evals.values()))
    if json:
        about = {"file": file, "task": task, "biases": biases, "data": data.source, "examples": count}
        output.print_json({**about, "metrics": metrics})
        return
    what = counted(count, "row" if own else "validation example")
    on = f"{what} of {data.source}" if own else f"{what} ({data.source})"
    output.print_table(f"{file} on {task}: {on}", ["metric", "value"], list(metrics.items()))
    if not own and task == snapshot.meta.task and snapshot.meta.hyperparameters.get("hold_out"):
        output.note("the fine-tune's own metrics are of training examples that it held out")


def own_data(
    snapshot: Snapshot, path: Path, table: str | None, given: Mapping[str, Any]
) -> tuple[str, TaskData | None]:
    """Find the task to score, and its rows where it is a table of the user's own: named, or that of the run's
    folder.
    """
    if "train_file" in given:
        if table is not None:
            raise UserError("got both --file and --train-file", "--file, whose rows are all scored")
        task = given.get("name") or _head_of_table(snapshot, given["train_file"])
        problem = snapshot.meta.heads.get(task, {}).get("kind")
        trained = config_of({"problem": problem, **given, "name": task}).table
        assert trained is not None
        data = trained.load()
        held = "" if trained.eval_file else ", held out by the training"
        return task, dataclasses.replace(data, source=data.spec.evals["validation"] + held)
    columns = {name: given[name] for name in ("text", "text_pair", "label") if name in given}
    if table is not None and "eval_file" in given:
        raise UserError("got both --file and --eval-file", "--file")
    table = table if table is not None else given.get("eval_file")
    task = _head_named(snapshot, given, own=table is not None)
    unread = [name for name in ("data_dir", *TABLE) if name in given and name not in ("name", "eval_file", *columns)]
    if unread and (table is not None or task not in TASKS):
        flag = f"--{unread[0].replace('_', '-')}"
        raise UserError(f"got {flag} for the head {task}, whose rows and labels come from its table", f"no {flag}")
    if table is not None:
        return task, ScoredTable(table, **columns).load(task, snapshot.meta.heads[task])
    if task in TASKS:
        return task, None
    known = recorded_table(path, task)
    if known is None:
        raise UserError(f"got no table for the head {task}", "a file to score it on", "--file FILE")
    if columns:
        flag = f"--{next(iter(columns)).replace('_', '-')}"
        raise UserError(f"got {flag} without --file", "the table that it belongs to", "--file FILE")
    data = known.load()
    return task, dataclasses.replace(data, source=f"{data.spec.evals['validation']}, as in the run's folder")


def ready(snapshot: Snapshot, task: str, config: RunConfig, data: TaskData | None, observer: Observer) -> TaskData:
    """Load the examples that a head is scored on, unless they are there, and check them and the model.

    What is wrong with either is told before PyTorch takes its seconds, which are the stage that begins here last.

    Raises:
        UserError: data that cannot be read or have other labels than the head, or no such model.
    """
    observer.stage("load data")
    if data is None:
        data = read_data(dataclasses.replace(config, inputs=inputs_of(snapshot, task)))
    require_suited(snapshot, data.spec)
    observer.stage("find the model")
    locate(config.model)
    observer.stage("start PyTorch")
    return data


def _head_of_table(snapshot: Snapshot, train_file: str) -> str:
    """Find the task of the head that was trained on a table: by its name, else the only one of a table that
    there is.
    """
    named = default_name(Path(train_file).stem)
    ours = [task for task in snapshot.meta.heads if task not in TASKS]
    return ours[0] if named not in ours and len(ours) == 1 else named


def _head_named(snapshot: Snapshot, given: Mapping[str, Any], own: bool) -> str:
    """Find the task of the head that flags name, else the only one there is. ``own``: of a table that is given."""
    heads = snapshot.meta.heads
    named = given.get("name", given.get("task"))
    if named != given.get("task", named):
        raise UserError(f"got both --name {named} and --task {given['task']}", "one of them")
    if named is not None:
        try:
            task = named if named in heads else get_task(named).name
        except UserError:
            task = None
        if task is None or (own and task not in heads):
            known = ", ".join(heads) or "none"
            raise UserError(f"got a snapshot without a head for {named}", f"one of its tasks: {known}")
        return str(task)
    ours = [task for task in heads if task not in TASKS]
    sole = ours if own and len(ours) == 1 else list(heads)
    if len(sole) != 1:
        expected = f"one of the snapshot's heads: {', '.join(heads) or 'none'}"
        raise UserError("got no --task", expected, "--task NAME" if heads else "")
    return sole[0]


def merge(
    files: output.Files,
    given: dict[str, Any],
    settings: dict[str, Any],
    method: str = "mean",
    terms: Terms = None,
    evaluate: Evaluate = False,
    table: Tables = None,
    out: output.Out = None,
    json: output.Json = False,
) -> None:
    """Merge fine-tunes of one base model, and compare what they learnt."""
    path = output.out_path(out) if out else None
    snapshots = output.read_all(files)
    only = arguments.joined_terms(terms) or None
    lacks_fisher = method in METHODS and METHODS[method].needs_fisher and not all(map(has_tuned_fisher, snapshots))
    read = ("model", "device", "data_dir") if lacks_fisher else ()  # by what measures it
    unread = [name for name in (*given, *(["file"] if table else [])) if name not in read]
    if unread and not evaluate:
        raise UserError(f"got --{unread[0].replace('_', '-')} without --evaluate", "both", "--evaluate")
    tables = _tables(snapshots, files, table)
    if evaluate:
        require_training()
        _require_data(snapshots, tables, given.get("data_dir"))
        locate(config_of(recorded(snapshots) | given).model)
    if lacks_fisher:
        snapshots = _measured(snapshots, files, given, tables)
    merged = merge_snapshots(snapshots, method, terms=only, **settings)
    comparison = compare(snapshots, terms=only)
    if path is not None:
        output.save(path, merged)
    how = {"method": method, "settings": settings, "terms": only}
    scores = _evaluate_all(snapshots, files, how, given | {"tables": tables}) if evaluate else None
    if json:
        output.print_json(
            {
                "method": method,
                "settings": merged.meta.hyperparameters,
                "terms": merged.meta.trained_terms,
                "file": path,
                "comparison": _comparison_document(comparison),
                "evaluation": scores,
            }
        )
        return
    output.say(f"{METHODS[method].label} of {', '.join(comparison.labels)}: {', '.join(merged.meta.trained_terms)}")
    _print_comparison(comparison)
    if scores is not None:
        _print_table_3(scores, comparison)
    if path is None:
        output.note("not written: no --out FILE")


def _tables(
    snapshots: Sequence[Snapshot], files: Sequence[str], named: Sequence[str] | None
) -> dict[str, dict[str, Any]]:
    """Find what heads of the user's own tables are scored on: files that flags name, else those of runs of this home.

    Raises UserError for a name that no head has.
    """
    recorded = recorded_tables(snapshots, [user_path(file) for file in files])
    tables: dict[str, dict[str, Any]] = {task: table.to_dict() for task, table in recorded.items()}
    heads = [task for snapshot in snapshots for task in snapshot.meta.heads if task not in TASKS]
    for word in named or ():
        task, _, file = word.partition("=")
        if task not in heads or not file:
            known_heads = ", ".join(f"{head}=FILE" for head in dict.fromkeys(heads)) or "no head of a table of your own"
            raise UserError(f"got --file {word[:200]}", known_heads)
        tables[task] = {"file": str(user_path(file, "--file").absolute())}
    return tables


def _require_data(snapshots: Sequence[Snapshot], tables: Mapping[str, Mapping[str, Any]], data_dir: str | None) -> None:
    """Raise UserError for data that a merge cannot be scored on, before PyTorch takes its seconds."""
    for snapshot in snapshots:
        refuse_changed_weights(snapshot)
        for task, head in snapshot.meta.heads.items():
            if task in tables:
                scored_from(tables[task], task, head)
            elif task in TASKS:
                require_data([RunConfig(task=task, data_dir=data_dir)])


def _measured(
    snapshots: list[Snapshot], files: Sequence[str], given: dict[str, Any], tables: Mapping[str, Mapping[str, Any]]
) -> list[Snapshot]:
    """Complete snapshots with the Fisher information at their fine-tuned models, which some of the files lack."""
    shared_keys(snapshots)  # what cannot be merged anyway is told before PyTorch takes its seconds
    lacking = [file for file, snapshot in zip(files, snapshots, strict=True) if not has_tuned_fisher(snapshot)]
    require_training()
    with progress() as observer:
        observer.stage("start PyTorch")
        from beft_core.training.fisher.of_snapshots import with_tuned_fisher

        measured = with_tuned_fisher(snapshots, config_of(given), observer, tables)
    output.note(f"measured the Fisher information at the fine-tuned model, which {', '.join(lacking)} lack")
    return measured


def _evaluate_all(
    snapshots: Sequence[Snapshot], files: Sequence[str], settings: dict[str, Any], given: dict[str, Any]
) -> list[dict[str, Any]]:
    """Evaluate base model, each source and the merge, each on every task with that task's own head."""
    config = MergeConfig.of(snapshots, files, **settings, **given)
    with progress() as observer:
        observer.stage("start PyTorch")
        from beft_core.merging.evaluate import evaluate_merge

        result = evaluate_merge(snapshots, config, observer).result
    return [{"model": name, "tasks": scores} for name, scores in result.rows.items()]


def _print_table_3(table: list[dict[str, Any]], comparison: Comparison) -> None:
    """Print scores in the form of the paper's Table 3, in percent, with every metric of a task."""
    columns = [(task, metric) for task, metrics in table[0]["tasks"].items() for metric in metrics]
    output.print_table(
        "each task with its own head, in %",
        ["model", *(f"{task} {metric}" for task, metric in columns)],
        [[row["model"], *(f"{100 * row['tasks'][task][metric]:.1f}" for task, metric in columns)] for row in table],
    )


def _pairs(comparison: Comparison) -> list[tuple[int, int]]:
    count = len(comparison.labels)
    return [(a, b) for a in range(count) for b in range(a + 1, count)]


def _print_comparison(comparison: Comparison) -> None:
    """Print one table per pair: what the fine-tunes changed, and after it the biases themselves."""
    head = ["where", "cosine", "angle", "sign conflicts", "cosine after", "angle after"]
    changes, values = comparison.differences, comparison.values
    output.say("what the fine-tunes changed (after: of the biases themselves)")
    for a, b in _pairs(comparison):
        rows = [
            _alike("overall", changes.cosine[a, b], comparison.sign_conflicts[a, b], values.cosine[a, b]),
            *(
                _alike(
                    f"{'.'.join(key)} layer {layer}",
                    cosines[a, b],
                    comparison.sign_conflicts_per_layer[key][layer][a, b],
                    values.cosine_per_layer[key][layer][a, b],
                )
                for key, per_layer in changes.cosine_per_layer.items()
                for layer, cosines in enumerate(per_layer)
            ),
        ]
        output.say("")
        output.print_table(f"{comparison.labels[a]} and {comparison.labels[b]}", head, rows)


def _alike(where: str, cosine: float, conflicts: float, after: float) -> list[Any]:
    return [where, float(cosine), _degrees(cosine), f"{100 * conflicts:.1f} %", float(after), _degrees(after)]


def _degrees(cosine: float) -> str:
    return f"{np.degrees(np.arccos(np.clip(cosine, -1, 1))):.1f}°"


def _comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Make the JSON document of a comparison: pairs, overall and per layer."""
    conflicts = comparison.sign_conflicts_per_layer
    document = []
    for a, b in _pairs(comparison):
        pair: dict[str, Any] = {"pair": [comparison.labels[a], comparison.labels[b]]}
        pair["sign_conflicts"] = comparison.sign_conflicts[a, b]
        pair["sign_conflicts_per_layer"] = {".".join(key): values[:, a, b] for key, values in conflicts.items()}
        for name, alike in (("differences", comparison.differences), ("values", comparison.values)):
            pair[name] = {
                "cosine": alike.cosine[a, b],
                "angle_degrees": alike.angle_degrees[a, b],
                "cosine_per_layer": {".".join(k): v[:, a, b] for k, v in alike.cosine_per_layer.items()},
                "angle_degrees_per_layer": {".".join(k): v[:, a, b] for k, v in alike.angle_degrees_per_layer.items()},
            }
        document.append(pair)
    return {"labels": comparison.labels, "pairs": document}
