"""Command ``beft reproduce``: the paper's figures and tables, planned, trained and put beside the paper's."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beft_core.cli import output
from beft_core.cli.parser.command import DATA, MODEL, OUTPUT, TRAINING, add
from beft_core.cli.progress import Progress, progress
from beft_core.cli.workers import job_lines, options
from beft_core.cli.workers.options import BankSize
from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.execution.fleet import at_once
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.reproduction.experiments import ALL, EXPERIMENTS, Comparing
from beft_core.reproduction.jobs import Jobs
from beft_core.reproduction.plan import Line, Plan, plan
from beft_core.reproduction.run import Outcome, run
from beft_core.reproduction.share import share as take_share
from beft_core.reproduction.steps import try_again
from beft_core.sweeps.forecast import Hours, duration, require_price
from beft_core.sweeps.spec import MAX_SEEDS
from beft_core.training.observer import Observer

if TYPE_CHECKING:
    from beft_core.reproduction.report import Report, Section

Parts = Annotated[
    list[str],
    typer.Argument(metavar="PART", help=f"Some of {', '.join(EXPERIMENTS)}, or {ALL}.", show_default=False),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A model in the place of the paper's; repeatable. Default: the paper's.",
        rich_help_panel=MODEL,
    ),
]
Small = Annotated[
    bool,
    typer.Option("--small", help="A rehearsal: little data, short texts, few epochs.", rich_help_panel=DATA),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds", metavar="N", help="Seeds of every fine-tune. Default: the part's.", rich_help_panel=TRAINING
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=TRAINING)
]
Precision = Annotated[
    str,
    typer.Option("--precision", metavar="[float32|bfloat16]", help="Precision of passes.", rich_help_panel=TRAINING),
]
Cost = Annotated[
    float | None,
    typer.Option("--cost-per-hour", metavar="PRICE", help="Price of an hour here.", rich_help_panel=TRAINING),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and what is missing, and stop.", rich_help_panel=OUTPUT)
]
OutFolder = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Folder of sweeps and report; what is finished there is not done again. Default: reproduction.",
        rich_help_panel=OUTPUT,
    ),
]


Share = Annotated[int | None, typer.Option("--share", hidden=True, rich_help_panel=OUTPUT)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "reproduce", reproduce)


def reproduce(
    context: typer.Context,
    parts: Parts,
    model: Models = None,
    small: Small = False,
    seeds: Seeds = None,
    device: Device = "auto",
    precision: Precision = "float32",
    bank_size: BankSize = None,
    cost_per_hour: Cost = None,
    dry_run: DryRun = False,
    executor: options.Executor = None,
    profile: options.Profile = None,
    partition: options.Partition = None,
    gpus: options.Gpus = None,
    time: options.Time = None,
    max_jobs: options.MaxJobs = None,
    cpus: options.Cpus = None,
    memory: options.Memory = None,
    account: options.Account = None,
    qos: options.Qos = None,
    constraint: options.Constraint = None,
    setup: options.Setup = None,
    sbatch: options.Sbatch = None,
    print_sbatch: options.PrintSbatch = False,
    trust_file: options.TrustFile = False,
    detach: options.Detach = False,
    out: OutFolder = None,
    json: output.Json = False,
    share: Share = None,
) -> int:
    """Reproduce figures and tables of the paper: plan, train what is missing, and put ours beside the paper's."""
    if seeds is not None and not 1 <= seeds <= MAX_SEEDS:
        raise UserError(f"got --seeds {seeds}", f"how many seeds, from 1 to {MAX_SEEDS:,}", "--seeds 5")
    if bank_size is not None and bank_size < 1:
        raise UserError(f"got --bank-size {bank_size}", "at least 1")
    require_price(cost_per_hour)
    own = {
        "executor": executor,
        "profile": profile,
        "partition": partition,
        "gpus": gpus,
        "time": time,
        "max_jobs": max_jobs,
        "cpus": cpus,
        "memory": memory,
        "account": account,
        "qos": qos,
        "constraint": constraint,
        "setup": setup or None,
        "sbatch": sbatch or None,
        "print_sbatch": print_sbatch,
        "detach": detach,
    }
    cluster = options.cluster_of(own) if options.executor_of(own) != options.LOCAL else None
    folder = user_path(out if out is not None else _default_folder(model or [], small), "--out")
    settings = {"device": device, "precision": precision}
    planned = plan(parts, folder, models=model or (), small=small, seeds=seeds, settings=settings)
    if share is not None:
        return _share(planned, share, bank_size)
    jobs = None
    if cluster is not None:
        given: dict[str, list[Any]] = {
            "--model": model or [],
            "--seeds": [seeds],
            "--bank-size": [bank_size],
            "--out": [folder.absolute()],
        }
        words = [str(word) for flag, values in given.items() for one in values if one for word in (flag, one)]
        words += ["--device", device, "--precision", precision, *(["--small"] if small else [])]
        jobs = Jobs(planned, cluster, ["reproduce", *parts, *words])
    if not dry_run:
        try_again(planned.steps, output.note)
    lines = planned.lines()
    ready = _sum_of(lines, jobs, waiting=False)
    if dry_run:
        if json:
            output.print_json({"folder": folder, **_plan_json(planned, lines, jobs), "seconds": ready.seconds})
        else:
            _print_plan(planned, lines, jobs, output.say, cost_per_hour)
        return 0
    _print_plan(planned, lines, jobs, output.note, cost_per_hour)
    if not any(step.spec for step in planned.steps):
        raise UserError(
            "got nothing that can run here",
            "the models and data that are listed above",
            planned.missing[0].command if planned.missing else "",
        )
    if jobs is not None and print_sbatch:
        text = jobs.script()
        left_out = jobs.begin(Observer())
        sys.stdout.write(text)
        return _left_out(left_out)
    if cluster is not None and jobs is not None and jobs.left():
        job_lines.show(cluster, job_lines.of_options(context), trust_file)
    if jobs is not None and detach:
        return _detached(jobs)
    done = _work(planned, bank_size) if jobs is None else _by_jobs(jobs)
    if done.seconds and jobs is None:
        output.note(ready.judged(done.seconds, cost_per_hour) if not done.stopped else "stopped early")
    return _show(planned, lines, jobs, done, json)


def _default_folder(models: list[str], small: bool) -> str:
    words = ["reproduction", *models, *(["small"] if small else [])]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-.")[:80]


def _work(planned: Plan, bank_size: int | None) -> Outcome:
    require_training()
    with progress() as observer:
        return run(planned, observer, bank_size=bank_size)


def _by_jobs(jobs: Jobs) -> Outcome:
    """Submit the jobs, if there is anything to do, and wait for them."""
    if not jobs.left():
        return Outcome(0, jobs.failed(), 0.0, {}, False)
    with progress() as observer:
        job, left_out = _submitted(jobs, observer)
        return jobs.wait(job, observer, left_out)


def _detached(jobs: Jobs) -> int:
    if not jobs.left():
        output.say("everything is there: the same command without --detach writes the report")
        return 0
    with progress() as observer:
        _, left_out = _submitted(jobs, observer)
    output.say(f"the same command without --detach waits for {jobs.plan.folder} and writes the report")
    return _left_out(left_out)


def _left_out(errors: Mapping[str, str]) -> int:
    """Note the steps that did not begin; returns the exit status."""
    for name, error in errors.items():
        output.note(f"{name} did not begin: {error}")
    return 1 if errors else 0


def _submitted(jobs: Jobs, observer: Progress) -> tuple[str, dict[str, str]]:
    """Submit the jobs; returns their id, and why steps were left out by the name of their folder."""
    require_training()
    observer.stage("load data")
    left_out = jobs.begin(observer)
    count, missing = jobs.jobs, jobs.missing
    job = jobs.submit()
    said = f"submitted {counted(count, 'job')} for {counted(missing, 'fine-tune')}: {job}"
    observer.message(f"{said}; they go on when this command ends")
    return job, left_out


def _share(planned: Plan, workers: int, bank_size: int | None) -> int:
    """Take the share of a job, whose end the command that submitted it reports."""
    require_training()
    with progress() as observer:
        return take_share(planned, observer, workers, bank_size=bank_size)


def _show(planned: Plan, lines: list[Line], jobs: Jobs | None, done: Outcome, json: bool) -> int:
    # Tables need pandas, which a plan should not wait for.
    from beft_core.reproduction.report import report, write

    for name, error in done.errors.items():
        output.note(f"{name} did not run: {error}")
    if done.stopped:
        output.note("stopped early; the same command goes on from here")
    status = output.INTERRUPTED if done.stopped else 1 if done.errors else 0
    try:
        found = report(planned)
    except UserError:
        if status:  # why nothing is finished stands above
            return status
        raise
    files = write(found, planned.folder)
    if json:
        tables = {name: frame.to_dict("records") for name, frame in found.frames().items()}
        document = {"folder": planned.folder, **_plan_json(planned, lines, jobs), "trained": done.trained}
        document |= {"failed": done.failed, "seconds": done.seconds, "errors": done.errors, "stopped": done.stopped}
        output.print_json({**document, "summary": _summary(found), "tables": tables, "files": files})
    else:
        for section in found.sections:
            _print_section(section)
        output.say(
            f"{counted(done.trained, 'fine-tune')} in {done.seconds:.0f} s"
            + (f"; {done.failed:,} failed" if done.failed else ""),
            f"report: {files[0]}",
        )
    return status


def _summary(found: Report) -> dict[str, str]:
    return {section.name: section.summary() for section in found.sections}


# --- the plan --------------------------------------------------------------------------------------------------------


def _devices(line: Line, jobs: Jobs | None) -> int:
    """Count the devices that train what a line has to do at once: a comparison is made on one."""
    runs = line.ready or line.waiting
    if not runs or isinstance(line.step.grid, Comparing):
        return 1
    if jobs is not None:
        return jobs.jobs * jobs.cluster.places
    return 1 if line.step.is_alone else at_once(runs[0])


def _sum_of(lines: list[Line], jobs: Jobs | None, *, waiting: bool) -> Hours:
    """Add up the forecasts of what is ready, or also of what waits for models and data."""
    each = [(one if waiting else replace(one, waiting=())).hours(_devices(one, jobs)) for one in lines]
    unknown = next((one for one in each if one.seconds is None), None)
    if unknown is not None:
        return unknown
    source = next((one.source for one in each if one.operations), "nothing to do")
    return Hours(sum(one.seconds or 0.0 for one in each), source, sum(one.operations or 0.0 for one in each))


COUNTED = ("fine_tunes", "shared", "finished")
"""Counts of a line of a plan."""


def _by_model(lines: list[Line]) -> dict[tuple[str, str], list[Line]]:
    """Group the lines of a plan by part and model: a part may have several grids, or a comparison for each task."""
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line.step.experiment, line.step.model), []).append(line)
    return found


def _print_plan(planned: Plan, lines: list[Line], jobs: Jobs | None, say: Any, cost_per_hour: float | None) -> None:
    rows = []
    for (part, model), own in _by_model(lines).items():
        forecast = _sum_of(own, jobs, waiting=True)
        time = "–" if forecast.seconds is None else duration(forecast.seconds)
        fine_tunes, shared, finished = (sum(getattr(line, name) for line in own) for name in COUNTED)
        ready, waiting = (sum(len(getattr(line, name)) for line in own) for name in ("ready", "waiting"))
        state = "ready" if ready else "waits" if waiting else "done" if finished else "shared"
        if ready and waiting:
            state = f"{ready:,} ready"
        rows.append([part, model, fine_tunes, shared, finished, time, state])
    head = ["part", "model", "fine-tunes", "shared", "finished", "hours here", "state"]
    title = f"Plan of {', '.join(planned.experiments)}{' (a rehearsal)' if planned.small else ''}"
    say(title)
    for text in output.table_lines(head, rows, keys=2):
        say(text)
    say("shared: trained by a part above it; hours: of what is not finished, also of what still waits")
    total = _sum_of(lines, jobs, waiting=True)
    say(f"all of it: {total.in_words(cost_per_hour)}")
    for step in planned.steps:
        for task, here in step.stand_ins.items():
            say(f"{step.experiment}: {here} stands in for {task}, whose data are not here")
    for one in planned.missing:
        say(f"missing: {one.what}: {one.why}; try {one.command}")


def _plan_json(planned: Plan, lines: list[Line], jobs: Jobs | None) -> dict[str, Any]:
    return {
        "plan": [
            {
                "part": line.step.experiment,
                "model": line.step.model,
                "folder": line.step.folder,
                "fine_tunes": line.fine_tunes,
                "shared": line.shared,
                "finished": line.finished,
                "ready": len(line.ready),
                "waiting": len(line.waiting),
                "seconds": line.hours(_devices(line, jobs)).seconds,
                "stand_ins": dict(line.step.stand_ins),
            }
            for line in lines
        ],
        "missing": [{"what": one.what, "why": one.why, "command": one.command} for one in planned.missing],
    }


# --- ours beside the paper's -----------------------------------------------------------------------------------------


def _print_section(section: Section) -> None:
    from beft_core.reproduction import deviations, statements

    output.say(f"{section.title}: {section.says}")
    output.say(section.summary() or "nothing was measured", *section.notes, "")
    for table in section.tables:
        names = list(dict.fromkeys(row.labels[-1] for row in table.rows))
        blocks: dict[tuple[str, ...], dict[str, Any]] = {}
        for row in table.rows:
            blocks.setdefault(row.labels[:-1], {})[row.labels[-1]] = row
        lines = []
        for labels, rows in blocks.items():
            for at, column in enumerate(table.columns):
                if all(row.cells[at].ours is None for row in rows.values()):
                    continue
                cells = [deviations.cell_text(rows[name].cells[at], column) if name in rows else "" for name in names]
                lines.append([*labels, column.label, *cells])
        if lines:
            head = [*table.heads[:-1], "of", *names]
            output.print_table(f"{table.title}. Ours (paper's)", head, lines, keys=len(table.heads))
    if section.statements:
        output.print_table("What the text says", list(statements.HEAD), [one.row() for one in section.statements])
    if section.tables or section.statements:
        output.say("")
