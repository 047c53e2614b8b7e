"""Class of all commands: options in groups, hidden names, examples, and options from a YAML file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from beft_core.cli.parser import options_file
from beft_core.cli.parser.examples import EXAMPLES
from beft_core.errors import UserError
from beft_core.settings import aliases

DATA, MODEL, MERGING, TRAINING, OUTPUT = "Data", "Model", "Merge method", "Training", "Output"
CLUSTER = "Cluster"
PANELS = (DATA, MODEL, MERGING, TRAINING, CLUSTER, OUTPUT)
"""Names of the groups of options, in the order of ``--help``; options in none stand last."""

FROM_FILE = "options_file"
PRINT = "print_config"


def _read_options(ctx: typer.Context, path: str | None) -> str | None:
    """Take the values of a file as the defaults of the command's options, before they are read."""
    if path is not None and not ctx.resilient_parsing:
        ctx.default_map = {**(ctx.default_map or {}), **options_file.defaults(path, ctx.command.params)}
    return path


FromFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Options from a YAML file; those given here win.",
        is_eager=True,
        callback=_read_options,
        rich_help_panel=OUTPUT,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option("--print-config", help="Print all options as such a file instead of working.", rich_help_panel=OUTPUT),
]


def add(app: typer.Typer, name: str, function: Callable[..., Any]) -> None:
    """Add a command. It gets ``--config`` and ``--print-config``, unless it declares its own.

    A function may have an attribute ``effective``, which completes the options that fill a configuration: the file that
    ``--print-config`` prints then says what presets fill in.
    """
    own = inspect.signature(function, eval_str=True)
    common = {FROM_FILE: (FromFile, None), PRINT: (PrintConfig, False)}
    mine = {key: what for key, what in common.items() if "config" not in own.parameters}

    @functools.wraps(function)
    def wrapper(**values: Any) -> Any:
        return function(**{key: value for key, value in values.items() if key not in mine})

    more = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for key, (kind, default) in mine.items()
    ]
    signature = own.replace(parameters=[*own.parameters.values(), *more])
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    app.command(name, cls=Command)(wrapper)


def own_options(command: Any) -> list[str]:
    """List the options of a command as its help shows them."""
    return [name for param in command.params for name in param.opts if name.startswith("--")]


def unknown_option(error: Any) -> UserError:
    """Make the error, in one line, about an option that a command does not have."""
    where = error.ctx.command_path if error.ctx is not None else "beft"
    own = own_options(error.ctx.command) if error.ctx is not None else []
    if (other := aliases.instead(error.option_name, own)) is not None:
        return UserError(f"No such option {error.option_name}: {other[0]}", try_=other[1])
    near = aliases.closest(error.option_name, own)
    meant = f" Did you mean {near}?" if near else ""
    return UserError(f"No such option {error.option_name}.{meant} See {where} --help")


def _examples(ctx: typer.Context, formatter: Any) -> None:
    lines = EXAMPLES.get(ctx.command_path.partition(" ")[2], ())
    if lines:
        formatter.write_paragraph()
        formatter.write("Examples:\n")
        for line in lines:  # never wrapped: they are there to be copied
            formatter.write(f"  {line}\n")


class Group(TyperGroup):
    """Group of commands whose help says of each what it does, in a whole sentence, and ends with examples."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0] if args else ""
        known = self.list_commands(ctx)
        if not ctx.resilient_parsing and name and not name.startswith("-") and name not in known:
            near = aliases.closest_commands(name, known)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UserError(f"No such command {name[:80]}.{meant} See {ctx.command_path} --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [(name, (one.help or "").partition("\n")[0]) for name, one in commands.items() if one is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _examples(ctx, formatter)


class Command(TyperCommand):
    """Command with options in groups, their hidden names, and examples."""

    def make_parser(self, ctx: Any) -> Any:
        parser = super().make_parser(ctx)
        own = own_options(self)
        for param in self.params:
            shown = param.opts
            hidden = [name for option in shown if option.startswith("--") for name in aliases.others(option, own)]
            if hidden:
                param.opts = hidden
                try:
                    param.add_to_parser(parser, ctx)
                finally:
                    param.opts = shown
        return parser

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{panel: [] for panel in PANELS}, "Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                name, says = record
                groups["Arguments"].append((name.partition(" <")[0], says))  # its type says nothing to users
            else:
                groups[getattr(param, "rich_help_panel", None) or "Options"].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _examples(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        if ctx.params.get(PRINT) and FROM_FILE in ctx.params:
            effective = getattr(self.callback, "effective", None)
            options_file.show(options_file.values_of(ctx.params, self.params, effective))
            return None
        return super().invoke(ctx)
