"""Command ``beft sweep``: a grid of fine-tunes, many in one pass."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beft_core.cli import output
from beft_core.cli.fine_tune import warned
from beft_core.cli.flags import TABLE, takes
from beft_core.cli.output import plain
from beft_core.cli.parser import options_file
from beft_core.cli.parser.command import DATA, MODEL, OUTPUT, TRAINING, PrintConfig, add
from beft_core.cli.progress import Progress, progress
from beft_core.cli.workers import job_lines, options
from beft_core.cli.workers.options import BankSize, Devices, NoSnapshots, Workers
from beft_core.config import RunConfig, type_in_words
from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.execution.clusters.settings import Cluster
from beft_core.execution.clusters.submission import Submission, jobs_for, wait
from beft_core.execution.fleet import MAX_WORKERS, at_once, places, sweep_here
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.methods import METHODS
from beft_core.presets import layout_here
from beft_core.settings import arguments
from beft_core.sweeps import grouping
from beft_core.sweeps.forecast import Hours, hours, learned, most_at_once, require_price
from beft_core.sweeps.merges import are_merged
from beft_core.sweeps.rows import lacked_memory
from beft_core.sweeps.seed_means import over_seeds
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import Renewal, renewal_of
from beft_core.sweeps.spec import COMMON, MAX_SEEDS, SweepSpec, identity, mode_and_terms, read_spec
from beft_core.sweeps.store import SweepFolder
from beft_core.training.preconditions import require_data, require_models

if TYPE_CHECKING:
    import pandas as pd


Words = list[str] | None
Tasks = Annotated[
    Words, typer.Option("--tasks", metavar="NAME...", help="Tasks. Default: demo-sentiment.", rich_help_panel=DATA)
]
Regimes = Annotated[
    Words, typer.Option("--regimes", metavar="REGIME...", help="low, medium, high, all.", rich_help_panel=DATA)
]
Counts = Annotated[
    Words, typer.Option("--n-train", metavar="N...", help="Numbers of training examples.", rich_help_panel=DATA)
]
Terms = Annotated[
    Words,
    typer.Option(
        "--terms",
        metavar="TERM...",
        help="What to train, each alone: bias terms (q+v: together), all (the probe), head, random, full. "
        "Default: v q k all head; of prompts without head.",
        rich_help_panel=MODEL,
    ),
]
Methods = Annotated[
    Words,
    typer.Option(
        "--methods",
        metavar="NAME...",
        help="Methods besides terms, each alone: lora, ia3, ... (see beft docs methods). Settings of them: in YAML.",
        rich_help_panel=MODEL,
    ),
]
Rates = Annotated[
    Words,
    typer.Option("--lrs", metavar="RATE...", help="Learning rates. Default: the preset's.", rich_help_panel=TRAINING),
]
ProbeRates = Annotated[
    Words,
    typer.Option(
        "--probe-lrs",
        metavar="RATE...",
        help="Those of all, which wants smaller ones. Default: --lrs.",
        rich_help_panel=TRAINING,
    ),
]
Seeds = Annotated[
    int | None, typer.Option("--seeds", metavar="N", help="Seeds 0 to N - 1. Default: 1.", rich_help_panel=TRAINING)
]
Merges = Annotated[
    Words,
    typer.Option(
        "--merges", metavar="A+B...", help="Tasks whose b_v are merged and scored at the end.", rich_help_panel=OUTPUT
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="The sweep as YAML; flags come before it.", rich_help_panel=OUTPUT),
]
Folder = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Folder of the sweep; what is finished there is not done again.",
        rich_help_panel=OUTPUT,
    ),
]
Cost = Annotated[
    float | None,
    typer.Option("--cost-per-hour", metavar="PRICE", help="Price of an hour here.", rich_help_panel=TRAINING),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what it will take, and stop.", rich_help_panel=OUTPUT)]


MOST_REASONS = 3
"""Most reasons of failures that are written below a table."""
MAX_FOLDERS = 1000
"""Largest number in a default name: more folders of one stem are a slip of the hand."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "sweep", takes([*TABLE, *COMMON])(sweep))


def sweep(
    given: dict[str, Any],
    tasks: Tasks = None,
    regimes: Regimes = None,
    n_train: Counts = None,
    terms: Terms = None,
    methods: Methods = None,
    lrs: Rates = None,
    probe_lrs: ProbeRates = None,
    seeds: Seeds = None,
    merges: Merges = None,
    config: Config = None,
    out: Folder = None,
    bank_size: BankSize = None,
    no_snapshots: NoSnapshots = False,
    cost_per_hour: Cost = None,
    dry_run: DryRun = False,
    devices: Devices = None,
    workers: Workers = None,
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
    json: output.Json = False,
    print_config: PrintConfig = False,
) -> int:
    """Fine-tune every task x size x term x learning rate x seed, many in one pass, into one table."""
    fields = read_spec(user_path(config, "--config")) if config is not None else {}
    strange = job_lines.of_file(fields, {"setup": setup, "sbatch": sbatch, "profile": profile})
    own = _own(
        fields,
        out=out,
        bank_size=bank_size,
        no_snapshots=no_snapshots,
        json=json,
        devices=list(arguments.words(devices) or ()) or None,
        workers=workers,
        executor=executor,
        profile=profile,
        partition=partition,
        gpus=gpus,
        time=time,
        max_jobs=max_jobs,
        cpus=cpus,
        memory=memory,
        account=account,
        qos=qos,
        constraint=constraint,
        setup=setup or None,
        sbatch=sbatch or None,
        print_sbatch=print_sbatch,
        detach=detach,
    )
    out, bank_size, json = own["out"], own["bank_size"], own["json"]
    flags: dict[str, Any] = {
        "tasks": arguments.words(tasks),
        "regimes": arguments.words(regimes),
        "n_train": _whole("--n-train", n_train),
        "terms": arguments.words(terms),
        "methods": arguments.words(methods),
        "lrs": arguments.numbers("--lrs", lrs),
        "probe_lrs": arguments.numbers("--probe-lrs", probe_lrs),
        "merges": arguments.words(merges),
    }
    fields |= {name: value for name, value in flags.items() if value}
    one_more = {name: given.pop(name) for name in TABLE if name in given}
    if one_more:
        if "train_file" not in one_more:
            raise UserError(f"got --{next(iter(one_more)).replace('_', '-')} without --train-file", "the table as well")
        others = fields.get("tasks", ())
        fields["tasks"] = [*(others if isinstance(others, list | tuple) else [others]), one_more]
    if seeds is not None:
        if not 1 <= seeds <= MAX_SEEDS:
            raise UserError(f"got --seeds {seeds}", f"how many seeds, from 1 to {MAX_SEEDS:,}", "--seeds 5")
        fields["seeds"] = seeds
    if bank_size is not None and bank_size < 1:
        raise UserError(f"got --bank-size {bank_size}", "at least 1")
    require_price(cost_per_hour)
    if own["workers"] is not None and not 1 <= own["workers"] <= MAX_WORKERS:
        raise UserError(f"got --workers {own['workers']}", f"from 1 to {MAX_WORKERS}")
    settings = fields.pop("settings", None) or {}
    spec = SweepSpec.from_dict({**fields, "settings": {**settings, **given}})
    trained = [*spec.terms, *(entry["method"] for entry in spec.methods)]
    if flags["probe_lrs"] and not any(METHODS[mode_and_terms(name)[0]].every_bias for name in trained):
        output.note("--probe-lrs counts for nothing here: no probe is among the terms (all)")
    if print_config:
        grid = {name: value for name, value in spec.to_dict().items() if value or value is False or name == "terms"}
        options_file.show(plain(grid | {name: value for name, value in own.items() if value or type(value) is int}))
        return 0
    cluster = options.cluster_of(own) if options.executor_of(own) != options.LOCAL else None
    spec = spec.pinned()
    runs = spec.runs()
    folder = SweepFolder(user_path(out if out is not None else _default_folder(spec), "--out"))
    if (continued := folder.continued(spec)) != spec:
        spec, runs = continued, continued.runs()
    again = renewal_of(folder, runs, Kept(snapshots=not own["no_snapshots"]))
    to_do = [one for one in runs if identity(one) not in again.stays]
    if cluster is None:
        at_work = at_once(runs[0], own["devices"] or (), own["workers"])
    else:
        at_work = jobs_for(len(to_do), cluster) * cluster.places
    expected = hours(to_do, at_work)
    if dry_run:
        if said := again.in_words():
            output.note(said)
        _print_forecast(spec, len(runs), to_do, expected, cost_per_hour, json)
        return 0
    if cluster is not None and own["print_sbatch"]:
        submission = _submission(folder, runs, own, cluster, again)
        text = submission.script()
        submission.begin(spec, output.note)
        sys.stdout.write(text)
        return 0
    result = _without_work(spec, folder, runs, to_do)
    if result is None and cluster is not None:
        job_lines.show(cluster, strange, trust_file)
        if own["detach"]:
            return _detached(spec, _submission(folder, runs, own, cluster, again))
    if result is None:
        says = f"{counted(len(to_do), 'fine-tune')}: {expected.in_words(cost_per_hour)}"
        result = _work(spec, folder, runs, own, says, cluster, again)
        if cluster is None and result["trained"] == len(to_do):
            learned(to_do, result["seconds"], at_work)
            output.note(expected.judged(result["seconds"], cost_per_hour))
    table = folder.table(runs := spec.runs())  # of a model that came from the Hub meanwhile, the size is known now
    if json:
        forecast = {"forecast_seconds": expected.seconds}
        output.print_json({"folder": folder.path, **result, **forecast, "results": _records(table)})
    else:
        _print(table)
        already = result["runs"] - result["trained"] - (len(runs) - len(table))
        passes = counted(result["banks"], "pass")
        output.say(
            f"{counted(result['trained'], 'fine-tune')} in {passes}, {result['seconds']:.1f} s"
            + (f"; {already} were there already" if already else "")
            + (f"; {result['failed']} failed" if result["failed"] else ""),
            f"table: {folder.path / 'results.parquet'} and results.csv",
        )
    for line in _failures(table, folder):
        output.note(line)
    if result["stopped"]:
        output.note("stopped early; the same command goes on from here")
        return output.INTERRUPTED
    return 0


def _print_forecast(
    spec: SweepSpec, whole: int, to_do: list[RunConfig], expected: Hours, cost_per_hour: float | None, json: bool
) -> None:
    """Print what a sweep will take: fine-tunes, passes, hours and cost."""
    layout = layout_here(to_do[0].model) if to_do else None
    banks = grouping.group(to_do, most_at_once(spec, layout)) if to_do else []
    if json:
        cost = None if expected.seconds is None or cost_per_hour is None else expected.seconds / 3600 * cost_per_hour
        document = {"fine_tunes": whole, "to_do": len(to_do), "passes": len(banks), "seconds": expected.seconds}
        output.print_json({**document, "cost": cost, "source": expected.source})
        return
    finished = f", of which {whole - len(to_do):,} are finished" if len(to_do) < whole else ""
    output.say(
        f"{counted(whole, 'fine-tune')}{finished}, in about {counted(len(banks), 'pass')}",
        expected.in_words(cost_per_hour),
    )


OWN: dict[str, type] = {
    "out": str,
    "bank_size": int,
    "no_snapshots": bool,
    "json": bool,
    "devices": list,
    "workers": int,
    "executor": str,
    "profile": str,
    "partition": str,
    "gpus": int,
    "time": str,
    "max_jobs": int,
    "cpus": int,
    "memory": str,
    "account": str,
    "qos": str,
    "constraint": str,
    "setup": list,
    "sbatch": list,
    "print_sbatch": bool,
    "detach": bool,
}
"""Types of what a file may say besides the grid and its settings, by name."""


def _own(fields: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Take the options that are no part of the sweep out of a file's fields; those that were given win."""
    for name, kind in OWN.items():
        value = fields.pop(name, None)
        if value is not None and type(value) is not kind:
            raise UserError(f"got {name} = {str(value)[:80]}", type_in_words(kind))
        if given[name] is None or given[name] is False:
            given[name] = value
    return given


def _without_work(
    spec: SweepSpec, folder: SweepFolder, runs: list[RunConfig], to_do: Sequence[RunConfig]
) -> dict[str, Any] | None:
    """Get the result where everything is there already; PyTorch is not started to find that out."""
    if to_do or not are_merged(spec, runs, folder):
        return None
    folder.begin(spec, output.note)
    folder.mark_again(())
    table = folder.write_table(runs)
    failed = int((table["state"] == "failed").sum())
    return {"runs": len(runs), "trained": 0, "failed": failed, "banks": 0, "seconds": 0.0, "stopped": False}


def _work(
    spec: SweepSpec,
    folder: SweepFolder,
    runs: list[RunConfig],
    own: dict[str, Any],
    forecast: str,
    cluster: Cluster | None,
    again: Renewal,
) -> dict[str, Any]:
    require_training()
    with progress() as observer:
        _check(runs, again, observer)
        if cluster is not None:
            submission = _submission(folder, runs, own, cluster, again)
            submission.begin(spec, observer.message)
            job = submission.submit()
            observer.message(_submitted(submission, job))
            return dataclasses.asdict(wait(submission, job, observer))
        places(spec, own["devices"] or (), own["workers"])
        folder.prepare()
        observer.message(forecast)
        return dataclasses.asdict(
            sweep_here(
                spec,
                folder,
                observer,
                bank_size=own["bank_size"],
                keep=Kept(snapshots=not own["no_snapshots"]),
                devices=own["devices"] or (),
                workers=own["workers"],
            )
        )


def _check(runs: Sequence[RunConfig], again: Renewal, observer: Progress) -> None:
    """Tell what is wrong with the data or a model before PyTorch takes its seconds, and before there is a folder.

    On a login node this also fetches them, for nodes that may see no network.
    """
    observer.stage("load data")
    require_data(one for one in runs if identity(one) not in again.stays)
    require_models(runs, observer)
    warned(observer, *runs)


def _submission(
    folder: SweepFolder, runs: list[RunConfig], own: dict[str, Any], cluster: Cluster, again: Renewal
) -> Submission:
    return Submission(folder, runs, cluster, own["bank_size"], not own["no_snapshots"], again)


def _submitted(submission: Submission, job: str) -> str:
    jobs, missing = counted(submission.jobs, "job"), counted(submission.missing, "fine-tune")
    return f"submitted {jobs} for {missing}: {job}; they go on when this command ends"


def _detached(spec: SweepSpec, submission: Submission) -> int:
    with progress() as observer:
        _check(submission.runs, submission.again, observer)
        submission.begin(spec, observer.message)
        job = submission.submit()
    output.say(_submitted(submission, job), f"the same command without --detach waits for {submission.folder.path}")
    return 0


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """List rows without the cells that are empty."""
    return [{k: v for k, v in row.items() if v is not None and v == v} for row in table.to_dict("records")]


def _print(table: pd.DataFrame) -> None:
    """Print one line per task, size, term and learning rate: mean and spread over seeds."""
    rows = [
        [
            row["task"],
            "all" if row["n_train"] != row["n_train"] else f"{row['n_train']:.0f}",
            row["trains"],
            f"{row['lr']:g}",
            f"{row['seeds']}" + (f" ({row['failed']} failed)" if row["failed"] else ""),
            row["metric"] or "",
            _percent(row["mean"]),
            _percent(row["std"]),
            row["selects"] or "–",
        ]
        for row in over_seeds(table).to_dict("records")
    ]
    head = ["task", "n", "trains", "lr", "seeds", "metric", "mean", "spread", "selects"]
    output.print_table("validation metric after the last epoch, over seeds, in %", head, rows, keys=3)
    output.say("n: training examples; spread: standard deviation over seeds; selects: by the projection ratio")


def _failures(table: pd.DataFrame, folder: SweepFolder) -> list[str]:
    """Write why fine-tunes failed, of the most frequent reasons :data:`MOST_REASONS`, and how each is tried again."""
    failed = table[table["state"] == "failed"]
    said = []
    for reason, count in failed["failure"].value_counts().head(MOST_REASONS).items():
        first = failed[failed["failure"] == reason].iloc[0]
        of = f"{first['task']}, {first['trains']}, seed {first['seed']}"
        if lacked_memory(first):
            again = "by the same command, with more memory free or with --gradient-checkpointing"
        else:
            again = f"once {folder.rows / str(first['run'])}.json is removed, and would fail as before"
        said.append(f"{counted(count, 'fine-tune')} failed, as {of}: {reason}. Tried again {again}")
    return said


def _percent(value: float | None) -> str:
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def _whole(flag: str, values: Words) -> tuple[int, ...]:
    numbers = arguments.numbers(flag, values) or ()
    for number in numbers:
        if number != int(number) or number < 2:
            raise UserError(f"got {flag} {number:g}", "whole numbers from 2", f"{flag} 300 1000")
    return tuple(int(number) for number in numbers)


def _default_folder(spec: SweepSpec) -> str:
    """Choose the name of a folder that is new, or that of a smaller or equal grid, which then goes on; else it gets a
    number.

    A grid that has other runs would leave those of an earlier one out of its table.
    """
    name = _default_name(spec)
    for number in range(1, MAX_FOLDERS):
        folder = name if number == 1 else f"{name}-{number}"
        if not Path(folder).exists():
            return folder
        try:
            began = SweepFolder(Path(folder)).spec()
            wanted = SweepFolder(Path(folder)).continued(spec)
            if set(map(identity, began.runs())) <= set(map(identity, wanted.runs())):
                return folder
        except UserError:
            continue  # files of something else
    raise UserError(f"got no --out, and {name} exists {MAX_FOLDERS} times", "a name of your own", "--out FOLDER")


def _default_name(spec: SweepSpec) -> str:
    return "sweep-" + re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(spec.tasks))[:60]
