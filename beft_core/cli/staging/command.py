"""Command ``beft fetch``: models and data brought to this machine, before jobs that have no network need them."""

from __future__ import annotations

from typing import Annotated

import typer

from beft_core.cli import output
from beft_core.cli.parser.command import DATA, MODEL, add
from beft_core.cli.progress import progress
from beft_core.cli.sweep import OWN
from beft_core.errors import UserError
from beft_core.files.paths import user_path
from beft_core.reproduction.experiments import ALL, EXPERIMENTS
from beft_core.reproduction.plan import plan
from beft_core.settings import arguments
from beft_core.sweeps.planning import staging
from beft_core.sweeps.spec import SweepSpec, read_spec

Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="A model; repeatable.", rich_help_panel=MODEL),
]
Tasks = Annotated[list[str] | None, typer.Option("--tasks", metavar="NAME...", help="Tasks.", rich_help_panel=DATA)]
Part = Annotated[
    list[str] | None,
    typer.Option(
        "--reproduce",
        metavar="PART",
        help=f"What a part of the paper needs: {', '.join(EXPERIMENTS)} or {ALL}; repeatable.",
        rich_help_panel=DATA,
    ),
]
Sweep = Annotated[
    str | None,
    typer.Option("--sweep", metavar="FILE", help="What a sweep needs, of its YAML file.", rich_help_panel=DATA),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "fetch", fetch)


def fetch(
    model: Models = None, tasks: Tasks = None, reproduce: Part = None, sweep: Sweep = None, json: output.Json = False
) -> None:
    """Bring models and data to this machine, before jobs without a network need them."""
    models, names = list(model or ()), list(arguments.words(tasks) or ())
    if reproduce:
        steps = plan(reproduce, user_path("reproduction", "the folder"), models=models).steps
        models += [step.model for step in steps]
        names += [task for step in steps for task in step.grid.tasks]
    if sweep is not None:
        spec = SweepSpec.from_dict(_grid(sweep))
        models.append(str(spec.settings.get("model", "bundled")))
        names += [task for task in spec.tasks if task not in spec.tables]
    models, names = list(dict.fromkeys(models)), list(dict.fromkeys(names))
    if not models and not names:
        raise UserError("got nothing to fetch", "models, tasks, a part of the paper or a sweep", "--tasks sst2")
    found: dict[str, str] = {}
    failed: dict[str, str] = {}
    with progress() as observer:
        observer.stage("fetch", len(models) + len(names))
        wanted = [(one, staging.fetch_model) for one in models] + [(one, staging.fetch_task) for one in names]
        for name, bring in wanted:
            observer.message(f"fetch {name}")
            try:
                found[name] = bring(name)
            except UserError as error:  # the others are wanted all the same
                failed[name] = str(error)
            observer.advance()
    if json:
        output.print_json({"here": found, "failed": failed})
    else:
        output.say(*found.values())
    if failed:
        first, why = next(iter(failed.items()))
        more = f" (and {len(failed) - 1} more: {', '.join(list(failed)[1:])})" if len(failed) > 1 else ""
        raise UserError(f"{first} could not be fetched{more}: {why}")


def _grid(file: str) -> dict[str, object]:
    """Read the grid of a sweep's file, without what is the command's own."""
    fields = read_spec(user_path(file, "--sweep"))
    return {name: value for name, value in fields.items() if name not in OWN}
