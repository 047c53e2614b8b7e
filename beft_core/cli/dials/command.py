"""Command ``beft dial``: a fine-tune turned up, down and off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beft_core.cli import output
from beft_core.cli.evaluation import SCORED, WHERE, Table, own_data, ready
from beft_core.cli.flags import DATA, config_of, takes
from beft_core.cli.parser.command import OUTPUT, TRAINING, add
from beft_core.cli.progress import progress
from beft_core.dials import in_words
from beft_core.dials.causal import CausalTest
from beft_core.dials.config import DialConfig
from beft_core.dials.parts import LAMBDAS
from beft_core.dials.result import SUFFIX, Dial
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.merging.config import recorded
from beft_core.settings import arguments
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.training.preconditions import head_of

Lambdas = Annotated[
    list[str] | None,
    typer.Option(
        "--lambdas",
        metavar="NUMBER...",
        help="Factors of what was learnt; 0 and 1 are always among them. Default: -1 to 2 by 0.25.",
        rich_help_panel=TRAINING,
    ),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE", help=f"Result to write (*{SUFFIX} or *.json).", rich_help_panel=OUTPUT),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "dial", takes([*DATA, "n_eval", *WHERE], says=SCORED)(dial))


def dial(
    file: output.File,
    given: dict[str, Any],
    table: Table = None,
    lambdas: Lambdas = None,
    out: Out = None,
    json: output.Json = False,
) -> None:
    """Turn a fine-tune up, down and off, whole and layer by layer, and see its metric and whether the scores knew."""
    path = user_path(file, "the file")
    snapshot = read_snapshot(path)
    target = _target(out)
    refuse_changed_weights(snapshot)
    task, data = own_data(snapshot, path, table, given)
    head_of(snapshot, task)
    settings = {name: value for name, value in given.items() if name in (*WHERE, "data_dir")}
    if "n_eval" in given:
        settings["limit"] = given["n_eval"]
    factors = arguments.numbers("--lambdas", lambdas) or LAMBDAS
    config = DialConfig.of(snapshot, task, file[-400:], lambdas=tuple(factors), **settings)
    known = {name: value for name, value in given.items() if name in (*WHERE, "data_dir")}
    run = config_of(recorded([snapshot], task) | known | ({"task": task} if data is None else {}))
    require_training()
    with progress() as observer:
        data = ready(snapshot, task, run, data, observer)
        from beft_core.dials.measure import measure

        found = measure(snapshot, config, observer, data=data)
    if target is not None:
        found.write(target)
        output.note(f"wrote {target}")
    if json:
        output.print_json({"file": file, **found.to_dict()})
        return
    output.say(in_words.verdict(found), "")
    _print_tables(found)
    output.say(in_words.settings_line(found))


def _target(out: str | None) -> Path | None:
    """Check where to write, before minutes of work. Raises UserError."""
    if out is None:
        return None
    path = user_path(out, "--out")
    if path.suffix != ".json":
        raise UserError(f"got --out {out}", "a file name that ends in .json", f"{path.stem}{SUFFIX}")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"got --out {out}", "a file in a folder that exists")
    return path


def _print_tables(found: Dial) -> None:
    """Print the metric over λ, what each layer and term costs, and how each rule orders them."""
    if rows := in_words.rows(found):
        output.print_table("all layers turned together, in %", ["λ", found.metric, "against λ = 1"], rows)
    for kind in ("terms", "layers"):
        parts = found.off_parts(kind)
        if not parts:
            continue
        test = found.test(kind)
        scores = [] if test is None else [rule for rule in test.rules if not rule.baseline]
        known = {} if test is None else {part: at for at, part in enumerate(test.parts)}
        head = [in_words.ONE[kind], "without", "change", "interval", *(in_words.short_label(rule) for rule in scores)]
        table = [
            [
                one.part.name.removeprefix("layer "),
                in_words.percent(one.value),
                in_words.change(None if one.loss is None else -one.loss),
                in_words.span(one.high and -one.high, one.low and -one.low),
                *(rule.scores[known[one.part]] if one.part in known else None for rule in scores),
            ]
            for one in parts
        ]
        texts = [[output.number(cell) if not isinstance(cell, str) else cell for cell in row] for row in table]
        output.print_table(f"one {in_words.ONE[kind]} switched off, in %", head, texts)
    for test in found.tests:
        _print_test(test)


def _print_test(test: CausalTest) -> None:
    rows = [
        [
            rule.label + (" (baseline)" if rule.baseline else ""),
            output.number(rule.tau),
            in_words.tau_span(rule.low, rule.high),
            "–" if rule.p is None else f"{rule.p:.3f}",
        ]
        for rule in test.rules
    ]
    title = f"how each rule orders the {len(test.parts)} {in_words.KINDS[test.over]} by what they cost"
    output.print_table(title, ["rule", "tau", "interval", "p"], rows)
