"""Command ``beft compare-methods``: methods on an equal number of trials, each at its best and all at one rate."""

from __future__ import annotations

import json as json_format
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beft_core.cli import output
from beft_core.cli.flags import TABLE, takes
from beft_core.cli.output import plain
from beft_core.cli.parser.command import MODEL, OUTPUT, TRAINING, add
from beft_core.cli.progress import progress
from beft_core.cli.workers.options import BankSize, Devices, NoSnapshots, Workers
from beft_core.comparison.folder import RECORD, VERSION, ComparisonFolder
from beft_core.comparison.spec import DEFAULT, ComparisonSpec
from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.execution.fleet import places, sweep_here
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.files.safe_io import read_json_file
from beft_core.settings import arguments
from beft_core.sweeps.spec import COMMON

if TYPE_CHECKING:
    import pandas as pd

    from beft_core.comparison.runner import Compared
    from beft_core.reports.methods.table import Comparison

Words = list[str] | None
Methods = Annotated[
    Words,
    typer.Option(
        "--methods",
        metavar="NAME...",
        help="Methods: bias terms (q+v: together), all, head, lora, full, icl, zero-shot, ... (see beft docs methods), "
        f"each with its settings behind it: lora rank=4 targets=q+k. Default: {' '.join(DEFAULT)}.",
        rich_help_panel=MODEL,
    ),
]
Budget = Annotated[
    int,
    typer.Option(
        "--budget",
        metavar="N",
        help="Trials of each method, at as many learning rates of its own range.",
        rich_help_panel=TRAINING,
    ),
]
Seeds = Annotated[
    int,
    typer.Option("--seeds", metavar="N", help="Seeds that are reported, 0 to N - 1.", rich_help_panel=TRAINING),
]
Rates = Annotated[
    Words,
    typer.Option(
        "--lrs",
        metavar="RATE...",
        help="Rates of the trials for every method, instead of its own range.",
        rich_help_panel=TRAINING,
    ),
]
SameRate = Annotated[
    float | None,
    typer.Option(
        "--same-lr",
        metavar="RATE",
        help="The one rate for all. Default: that of single bias terms by the preset.",
        rich_help_panel=TRAINING,
    ),
]
Folder = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Folder of the comparison; what is finished there is not done again.",
        rich_help_panel=OUTPUT,
    ),
]
Join = Annotated[
    Words,
    typer.Option(
        "--join",
        metavar="FOLDER...",
        help="Compare nothing: write one table of several comparisons, folders or their methods.parquet, into --out.",
        rich_help_panel=OUTPUT,
    ),
]

MAX_FOLDERS = 1000
"""Largest number in a default name: more folders of one stem are a slip of the hand."""
SAYS = {
    "hold_out": "Training examples that the trials are scored on. Default: a fifth, at most 500.",
    "demonstrations": "Answered examples before each prompt for icl. Default: 32.",
    "evaluate": "When to score. Default: last.",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    fields = ["task", *TABLE, "regime", "n_train", "demonstrations", *COMMON]
    add(app, "compare-methods", takes(fields, says=SAYS)(compare_methods))


def compare_methods(
    given: dict[str, Any],
    methods: Methods = None,
    budget: Budget = 5,
    seeds: Seeds = 3,
    lrs: Rates = None,
    same_lr: SameRate = None,
    out: Folder = None,
    bank_size: BankSize = None,
    devices: Devices = None,
    workers: Workers = None,
    no_snapshots: NoSnapshots = False,
    join: Join = None,
    json: output.Json = False,
) -> int:
    """Compare methods on an equal number of trials: each at its best rate, and all at one."""
    if join:
        usual = (ComparisonSpec.budget, ComparisonSpec.seeds)
        others = given or methods or lrs or devices or no_snapshots or (budget, seeds) != usual
        if others or {same_lr, bank_size, workers} != {None}:
            raise UserError("got --join beside flags of a new comparison", "comparisons and --out alone")
        _join(join, out, json)
        return 0
    if lrs and budget != ComparisonSpec.budget:
        raise UserError("got both --budget and --lrs", "one of them: each rate is a trial")
    if bank_size is not None and bank_size < 1:
        raise UserError(f"got --bank-size {bank_size}", "at least 1")
    spec = _spec(
        given,
        {
            "methods": _methods(methods) or DEFAULT,
            "budget": budget,
            "seeds": seeds,
            "lrs": arguments.numbers("--lrs", lrs) or (),
            "same_lr": same_lr,
        },
    )
    folder = ComparisonFolder(user_path(out if out is not None else _default_folder(spec), "--out"))
    require_training()
    with progress() as observer:
        # What is wrong with the data or a model is told before PyTorch takes its seconds, and before there is a folder.
        from beft_core.comparison.plan import plan

        planned = plan(spec, observer)
        from beft_core.comparison.runner import compare

        some = arguments.words(devices)
        places(spec.finals(planned.applying[:1], {}, planned.same_lr), some, workers)
        folder.prepare()
        sweep = partial(sweep_here, devices=some, workers=workers)
        done = compare(spec, planned, folder, observer, sweep, bank_size=bank_size, snapshots=not no_snapshots)
    if done.found is None:
        output.note("stopped early; the same command goes on from here")
        return output.INTERRUPTED
    if json:
        output.print_json({"folder": folder.path, "trained": done.trained, **_document(folder.path)})
    else:
        _print(done, done.found, folder.path)
    return 0


def _join(comparisons: Sequence[str], out: str | None, json: bool) -> None:
    """Write the table of several comparisons into a folder that is new, or has one that was joined before.

    Raises:
        UserError: no such comparison, no folder named, or one that holds something else.
    """
    from beft_core.reports.methods.table import NAME, joined, read_comparison, write_comparison

    if out is None:
        raise UserError("got --join without --out", "the folder of the table", "--out FOLDER")
    paths = [user_path(one, "--join") for one in comparisons]
    found = joined([read_comparison(path) for path in paths])
    folder = user_path(out, "--out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}", "a folder to write to", "--out") from None
    if (not is_empty and not (folder / f"{NAME}.json").is_file()) or (folder / RECORD).is_file():
        raise UserError(f"got --out {folder}, which holds something else", "a new folder, or one of --join")
    write_comparison(found, folder, {"version": VERSION, "joined": [path.name for path in paths]})
    if json:
        output.print_json({"folder": folder, "left_out": list(found.left_out), **_document(folder)})
        return
    output.say(
        *found.left_out, f"{counted(len(found.rows), 'row')}; tables: {folder / f'{NAME}.parquet'}, .csv and .json"
    )


def _methods(values: Words) -> tuple[str, ...]:
    """Put settings behind the methods that they follow: ``v lora rank=4`` -> ``v`` and ``lora rank=4``."""
    found: list[str] = []
    for word in arguments.words(values):
        if "=" in word and found:
            found[-1] += f" {word.replace('+', ',')}"
        else:
            found.append(word)
    return tuple(found)


def _spec(given: dict[str, Any], own: dict[str, Any]) -> ComparisonSpec:
    """Make the specification of the flags. Raises UserError."""
    table = {name: given.pop(name) for name in TABLE if name in given}
    if table and "train_file" not in table:
        raise UserError(f"got --{next(iter(table)).replace('_', '-')} without --train-file", "the table as well")
    if table and "task" in given:
        raise UserError("got both --task and --train-file", "one of them")
    task = given.pop("task", None)
    fields = {name: given.pop(name) for name in ("regime", "n_train", "demonstrations", "hold_out") if name in given}
    return ComparisonSpec(task=table or task or "demo-sentiment", settings=given, **fields, **own)


def _document(folder: Path) -> dict[str, Any]:
    from beft_core.reports.methods.table import NAME

    return dict(read_json_file(folder / f"{NAME}.json"))


def _default_folder(spec: ComparisonSpec) -> str:
    """Choose the name of a folder that is new, or that of the same comparison, which then goes on."""
    name = "compare-" + re.sub(r"[^A-Za-z0-9._-]+", "-", spec.task_name)[:60]
    wanted = json_format.loads(json_format.dumps(plain(spec.to_dict())))
    for number in range(1, MAX_FOLDERS):
        folder = name if number == 1 else f"{name}-{number}"
        if not Path(folder).exists():
            return folder
        try:
            if read_json_file(Path(folder) / RECORD).get("comparison") == wanted:
                return folder
        except UserError:
            continue  # files of something else
    raise UserError(f"got no --out, and {name} exists {MAX_FOLDERS} times", "a name of your own", "--out FOLDER")


def _print(done: Compared, found: Comparison, folder: Path) -> None:
    """Print both settings, what each method is against the best, and what one must know of the rates."""
    from beft_core.reports.methods.table import NAME, SETTINGS
    from beft_core.reports.methods.table5 import verdicts

    for setting, words in SETTINGS.items():
        here = found.rows[found.rows["setting"] == setting]
        numbers = here[here["state"] == "done"]
        metric = next(iter(numbers["metric"].dropna()), "metric")
        head = ["method", "lr", f"{metric}, %", "95 % interval", "seeds", "trained", "seconds", "peak MB"]
        output.print_table(f"{setting}: {words}", head, [_line(row) for row in numbers.to_dict("records")])
        _print_pairs(found.pairs[found.pairs["setting"] == setting], numbers)
        output.say(*verdicts(found, setting))
        if (constant := numbers["constant"].dropna()).size:
            always = f"{100 * constant.iloc[0]:.1f}"
            output.say(f"a constant answer gets {always} %; * the interval of the distance to it reaches 0")
        output.say("")
    reasons = found.rows[found.rows["reason"].fillna("") != ""]
    output.say(*dict.fromkeys(f"{row['label']}: {row['reason']}" for row in reasons.to_dict("records")))
    best = found.rows[found.rows["setting"] == "best"]
    for row in best[best["edge"].isin(["smallest", "largest"])].to_dict("records"):
        output.say(f"{row['label']}: the best rate is the range's {row['edge']}, {row['lr']:g}: widen it (--lrs)")
    first = best.iloc[0]
    output.say(
        f"rates were chosen on {first['hold_out']:,.0f} training examples that no trial trained on; the metric is of "
        f"{first['n_eval']:,.0f} validation examples, {first['n_train']:,.0f} were trained on",
        f"{counted(done.trained, 'fine-tune')} trained; tables: {folder / f'{NAME}.parquet'}, .csv and .json",
    )


def _line(row: dict[str, Any]) -> list[str]:
    chance = "*" if row["at_chance"] == "yes" else ""
    interval = "–" if row["low"] != row["low"] else f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    shared = f" (of {row['bank_runs']:.0f})" if row["bank_runs"] > 1 else ""
    return [
        row["label"],
        "–" if row["lr"] != row["lr"] else f"{row['lr']:g}",
        f"{100 * row['value']:.1f}{chance}",
        interval,
        f"{row['seeds']:.0f}" + (f" ({row['failed']:.0f} failed)" if row["failed"] else ""),
        f"{row['trained_parameters']:,.0f}",
        f"{row['seconds']:.1f}{shared}",
        "–" if row["peak_bytes"] != row["peak_bytes"] else f"{row['peak_bytes'] / 2**20:,.0f}",
    ]


def _print_pairs(pairs: pd.DataFrame, numbers: pd.DataFrame) -> None:
    """Print how far the best method is from each of the others, and whether that is more than chance."""
    if pairs.empty or numbers.empty:
        return
    best = numbers.loc[numbers["value"].idxmax()]
    labels = dict(zip(numbers["trains"], numbers["label"], strict=True))
    lines = []
    for pair in pairs.to_dict("records"):
        if best["trains"] not in (pair["first"], pair["second"]):
            continue
        sign = 1 if pair["first"] == best["trains"] else -1
        other = pair["second"] if sign > 0 else pair["first"]
        ends = sorted(100 * sign * pair[name] for name in ("low", "high"))
        lines.append(
            [
                labels.get(other, other),
                f"{100 * sign * pair['difference']:+.1f}",
                f"{ends[0]:+.1f} to {ends[1]:+.1f}",
                f"{pair['p_holm']:.2g}",
            ]
        )
    head = ["against", "points", "95 % interval", "p"]
    output.print_table(f"{best['label']} has the highest mean", head, lines)
    output.say(
        "paired by example and seed; p: McNemar's test of one seed, of several Student's t by examples and seeds, "
        "corrected by Holm for all pairs"
    )
