"""Commands ``beft select`` and ``beft train``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from beft_core.cli import output
from beft_core.cli.flags import FLAGS, OF_SELECT, completed, config_of, takes
from beft_core.cli.parser.command import OUTPUT, TRAINING, add
from beft_core.cli.progress import Progress, progress
from beft_core.cli.tables import RANK
from beft_core.config import PROBE_EVALUATES, RunConfig
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.methods import ONE_BY_ONE, method_of
from beft_core.models.source import locate
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.scores.learning import learning, of_fine_tune, of_probe
from beft_core.scores.table import ScoreTable
from beft_core.snapshots.snapshot import Snapshot, adapter_beside
from beft_core.tasks.registry import get_task
from beft_core.terms import CANDIDATES
from beft_core.training.observer import NOT_METRICS
from beft_core.training.preconditions import checked_data, require_model, with_candidates

Resume = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Save the state here; where it exists, go on from it.",
        rich_help_panel=OUTPUT,
    ),
]
ThenTrain = Annotated[
    bool, typer.Option("--then-train", help="Fine-tune the selected term alone afterwards.", rich_help_panel=TRAINING)
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Train b_q, b_k and b_v alone afterwards, in one pass, and say whether the score was right.",
        rich_help_panel=TRAINING,
    ),
]
TrainedOut = Annotated[
    str | None,
    typer.Option("--trained-out", metavar="FILE", help="Snapshot of --then-train to write.", rich_help_panel=OUTPUT),
]


MAX_WARNINGS = 3
"""Most warnings that are printed; JSON lists all."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(app, "select", takes(OF_SELECT, complete=completed)(select))
    add(app, "train", takes(FLAGS, complete=completed)(train))


def select(
    given: dict[str, Any],
    then_train: ThenTrain = False,
    check: Check = False,
    out: output.Out = None,
    trained_out: TrainedOut = None,
    checkpoint: Resume = None,
    force: output.Force = False,
    json: output.Json = False,
) -> int:
    """Fine-tune all bias terms, score them by every approach, select one."""
    config = config_of({"evaluate": PROBE_EVALUATES, **given})
    probe_path = output.out_path(out) if out else None
    if trained_out and not then_train:
        raise UserError("got --trained-out without --then-train", "both", "--then-train")
    # Which term wins is not known yet, so every name that the file may get is checked before the work begins.
    trained_paths: dict[str, Path] = {}
    if then_train:
        trained_paths = {
            term: output.out_path(trained_out)
            if trained_out
            else output.default_path(default_name(config, [term]), force)
            for term in CANDIDATES
        }
    if probe_path is not None and probe_path in trained_paths.values():
        raise UserError(f"got {out} for both snapshots", "two files", "another --trained-out")
    resume = _checkpoint_path(checkpoint)
    require_training()

    with progress() as observer:
        # What is wrong with the data or the model is told before PyTorch takes its seconds.
        data = checked_data(config.probe(), observer)
        observer.stage("find the model")
        config = with_candidates(config, locate(config.model).layout, observer)
        require_model(config.probe(), observer)
        doubts = warned(observer, config.probe())
        observer.stage("start PyTorch")
        from beft_core.training import workflow

        selection = workflow.select(config, observer, resume, data=data)
    probe, scores = selection.snapshot, selection.scores
    if probe_path is not None:
        output.save_trained(probe_path, probe, resume)
    winner = selection.selected[PAPER]
    result: dict[str, Any] = {
        "task": probe.meta.task,
        "model": probe.meta.model.id,
        "n_train": probe.meta.n_train,
        "seed": probe.meta.seed,
        "selected": selection.selected,
        "no_selection": no_selection(scores),
        "means": scores.means.to_dict("records"),
        "null_terms": probe.meta.null_terms,
        "null_elements": null_elements(scores),
        "notes": scores.notes,
        "probe": _cost(probe, observer) | {"file": probe_path, "metrics": probe.meta.metrics},
        "constant_answer": constant_answer(probe),
        "trained": None,
        "check": None,
        "warnings": doubts,
    }
    if not json:
        nothing_learned = of_probe(probe.meta)
        title = f"{probe.meta.task} on {probe.meta.model.id}, {probe.meta.n_train} examples"
        print_scores(title, scores, last=nothing_learned)
        print_selection(scores)
        output.say(f"probe: {output.percentage(probe.meta)}, {_seconds(observer)}{_last_metrics(probe)}")
        output.say(*filter(None, [nothing_learned]))
    stopped = observer.stopped
    if then_train and winner is not None and not stopped:
        with progress() as observer:
            # Not through workflow.select, so that the probe is on disk and on the screen before this begins.
            when = given.get("evaluate", RunConfig.evaluate)  # as beft train, which takes no probe's default
            alone = dataclasses.replace(config, mode=ONE_BY_ONE, terms=(winner,), evaluate=when)
            trained = workflow.train(alone, observer, data=data)
        trained_path = (
            trained_paths[winner] if trained_out else output.default_path(default_name(config, [winner]), force)
        )
        output.save_trained(trained_path, trained)
        stopped = observer.stopped
        result["trained"] = _trained(trained, observer, trained_path)
        if not json:
            output.say("")
            _print_training(trained, observer, trained_path)
    if check and not stopped:
        with progress() as observer:
            verdict = workflow.check(probe, config, observer)
        result["check"] = verdict.to_dict() | {"right": {key: verdict.is_right(key) for key in verdict.selected}}
        if not json:
            output.say("", verdict.sentence(), f"other scores: {verdict.others()}", verdict.caveat())
    if json:
        output.print_json(result)
    elif probe_path is None:
        output.note("the probe is not written: no --out FILE")
    if then_train and winner is None and not stopped:
        flags = "--add-bias TERM --terms TERM" if config.add_bias else "--terms TERM"
        output.note(f"nothing was trained afterwards: the projection ratio selects no term; try beft train {flags}")
    return _stopped(stopped, then_train and result["trained"] is None)


def train(
    given: dict[str, Any],
    out: output.Out = None,
    checkpoint: Resume = None,
    force: output.Force = False,
    json: output.Json = False,
) -> int:
    """Fine-tune bias terms, or by another method, and save the snapshot."""
    config = config_of(given)
    name = default_name(config, config.terms if config.method.names_terms else [config.mode])
    path = output.out_path(out) if out else output.default_path(name, force)
    resume = _checkpoint_path(checkpoint)
    require_training()
    with progress() as observer:
        # What is wrong with the data or the model is told before PyTorch takes its seconds.
        data = checked_data(config, observer)
        require_model(config, observer)
        doubts = warned(observer, config)
        observer.stage("start PyTorch")
        from beft_core.training import workflow

        snapshot = workflow.train(config, observer, resume, data=data)
    if not (out or force):
        path = output.default_path(name, force)  # another fine-tune may have taken the name meanwhile
    output.save_trained(path, snapshot, resume)
    if json:
        output.print_json({**_trained(snapshot, observer, path), "warnings": doubts})
    else:
        _print_training(snapshot, observer, path)
    return _stopped(observer.stopped)


def default_name(config: RunConfig, terms: Any) -> str:
    """Write the default name ``<task>-<terms>-seed<k>``."""
    own = None if config.train_file is None else config.name or Path(config.train_file).stem
    task = own if own is not None else get_task(config.task).name
    return f"{task}-{'-'.join(terms)}-seed{config.seed}"


def warned(observer: Progress, *configs: RunConfig) -> list[str]:
    """Print, and list, what is likely a slip of the hand in the settings of runs, each line once."""
    doubts = list(dict.fromkeys(doubt for config in configs for doubt in config.doubts()))
    for doubt in doubts[:MAX_WARNINGS]:
        observer.message(f"warning: {doubt}")
    return doubts


def constant_answer(snapshot: Snapshot) -> dict[str, Any] | None:
    """Compare a fine-tune with a constant answer, for JSON; None where the snapshot does not say what that gets."""
    found = learning(snapshot.meta)
    return None if found is None else {**dataclasses.asdict(found), "beaten": found.beaten}


def _checkpoint_path(checkpoint: str | None) -> Path | None:
    if checkpoint is None:
        return None
    path = user_path(checkpoint, "--checkpoint")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"got --checkpoint {checkpoint}", "a file in a folder that exists")
    return path


def _stopped(stopped: bool, skipped: bool = False) -> int:
    if not stopped:
        return 0
    output.note("stopped early; what was trained until then is kept" + ("; nothing more was trained" * skipped))
    return output.INTERRUPTED


def _cost(snapshot: Snapshot, observer: Progress) -> dict[str, Any]:
    meta = snapshot.meta
    share = None
    if meta.trained_parameters is not None and meta.total_parameters:
        share = 100 * meta.trained_parameters / meta.total_parameters
    return {
        "trained_parameters": meta.trained_parameters,
        "total_parameters": meta.total_parameters,
        "percentage": share,
        "seconds": round(observer.total_seconds, 3),
        "seconds_per_stage": {name: round(seconds, 3) for name, seconds in observer.seconds.items()},
        "stopped_early": observer.stopped,
    }


def _trained(snapshot: Snapshot, observer: Progress, path: Path) -> dict[str, Any]:
    meta = snapshot.meta
    return {
        "task": meta.task,
        "model": meta.model.id,
        "mode": meta.mode,
        "terms": meta.trained_terms,
        "null_terms": meta.null_terms,
        "n_train": meta.n_train,
        "seed": meta.seed,
        "metric": meta.metric,
        "metrics": meta.metrics,
        "constant_answer": constant_answer(snapshot),
        "hyperparameters": meta.hyperparameters,
        "file": path,
        **({} if snapshot.adapter is None else {"adapter": adapter_beside(path)}),
        **_cost(snapshot, observer),
    }


def _seconds(observer: Progress) -> str:
    return f"{observer.total_seconds:.1f} s ({observer.seconds.get('train', 0.0):.1f} s of them training)"


def _last_metrics(snapshot: Snapshot) -> str:
    values = [f"{k} {output.number(v)}" for k, v in snapshot.meta.final_metrics.items() if k not in NOT_METRICS]
    return f", {', '.join(values)}" if values else ""


def _print_training(snapshot: Snapshot, observer: Progress, path: Path) -> None:
    meta = snapshot.meta
    what = ", ".join(meta.trained_terms) if method_of(meta.mode).names_terms else meta.mode
    columns = metric_columns(meta.metrics)
    if meta.metrics:
        output.print_table(
            f"{meta.task} on {meta.model.id}: {what or 'nothing but the head'}, {meta.n_train} examples",
            columns,
            [[metric_cell(row.get(name), name) for name in columns] for row in meta.metrics],
        )
    besides = "" if meta.is_prompted(meta.task) else ", besides the head"
    output.say(f"trained {output.percentage(meta)}{besides}; {_seconds(observer)}", f"snapshot: {path}")
    if snapshot.adapter is not None:
        output.say(f"adapter: {adapter_beside(path)}, for PeftModel.from_pretrained")
    if method_of(meta.mode).trains:
        output.say(*filter(None, [of_probe(meta) if method_of(meta.mode).every_bias else of_fine_tune(meta)]))


def no_selection(scores: ScoreTable, stack: str | None = None) -> dict[str, str]:
    """Say why an approach selects no term, by approach; empty where each selects one."""
    return {approach: str(reason) for approach, reason in scores.no_selection(stack).items()}


def null_elements(scores: ScoreTable) -> dict[str, dict[str, int]]:
    """Count the null elements of a layer, and all its elements, of terms that act in part."""
    return {row.term: {"null": row.null_elements, "of": row.width} for row in scores.terms if row.null_elements}


def metric_columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the columns of a table of metrics: what says which epoch it is, then the others as they come."""
    names = dict.fromkeys(name for row in rows for name in row)
    first = ("epoch", "step", "train_loss")
    return [name for name in first if name in names] + [name for name in names if name not in first]


def metric_cell(value: float | None, name: str) -> str:
    """Write a cell of a table of metrics: counts as whole numbers."""
    return "–" if value is None else f"{value:g}" if name in ("epoch", "step") else output.number(float(value))


def print_selection(scores: ScoreTable, stack: str | None = None) -> None:
    """Print a line for each approach: the term that it selects, or why it selects none."""
    reasons = scores.no_selection(stack)
    for approach, term in scores.selected(stack).items():
        label = APPROACHES[approach].label
        output.say(f"{label} selects {term}" if term else f"{label}: no selection: {reasons[approach]}")


def print_scores(title: str, scores: ScoreTable, last: str = "") -> None:
    """Print scores as terms x approaches, each with the rank beside it; null terms and elements are marked and
    explained below.

    ``last``: a note that is printed elsewhere.
    """
    from beft_core.architectures.table import ABSOLUTE

    null = {row.term for row in scores.terms if row.null}
    marks = {row.term: f"{row.term} {row.null_elements}/{row.width} null" for row in scores.terms if row.null_elements}
    marks |= {term: f"{term} null*" for term in null}
    for stack in scores.stacks:
        means = scores.means[scores.means["stack"] == stack]
        terms = scores.rows(stack)
        cells = {
            (row.term, row.approach): (
                output.number(row.score),
                "–" if terms[row.term].undefined_from_zero(row.approach) else str(row.rank),
            )
            for row in means.itertuples(index=False)
        }
        output.print_table(
            f"{title} ({stack}): mean over layers, rank {RANK}",
            ["term", *(name for key in scores.approaches for name in (heading(key), RANK))],
            [
                [marks.get(term, term), *(c for key in scores.approaches for c in cells.get((term, key), ("–", "–")))]
                for term in dict.fromkeys(means["term"])
            ],
        )
    output.say(legend(scores.approaches))
    if null:
        output.say(f"* cannot change any output of this model ({ABSOLUTE.why})")
    output.say(*(f"note: {text}" for text in scores.notes if text != last))


def heading(approach: str) -> str:
    """Get the short name of an approach, as a column has it."""
    return APPROACHES[approach].heading or APPROACHES[approach].label


def legend(approaches: Iterable[str]) -> str:
    """Say what the short names of approaches mean."""
    labels = {heading(key): APPROACHES[key].label for key in approaches}
    return "; ".join(f"{short}: {label}" for short, label in labels.items() if short != label)
