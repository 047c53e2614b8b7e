"""Flags of ``beft merge`` for the parameters of merge methods, made from the registry of methods."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from beft_core.cli.parser.command import MERGING
from beft_core.merging.methods import METHODS, Parameter, flags
from beft_core.settings import arguments


def takes_parameters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for every parameter of a merge method; it gets those that were set as ``settings``.

    Its argument ``method`` becomes the flag that names a method, and the flags of the parameters stand behind its
    ``terms``. Called when the application is built, so that what is registered then counts.
    """
    declared = flags()
    own = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        given = {name: _value(parameter, values.pop(name)) for name, (parameter, _) in declared.items()}
        command(settings={name: value for name, value in given.items() if value is not None}, **values)

    method = typer.Option("--method", metavar="NAME", help=f"One of {', '.join(METHODS)}.", rich_help_panel=MERGING)
    listed: list[inspect.Parameter] = []
    for one in own.parameters.values():
        if one.name == "settings":
            continue
        listed.append(one.replace(annotation=Annotated[str, method]) if one.name == "method" else one)
        if one.name == "terms":
            listed += [_option(parameter, takers) for parameter, takers in declared.values()]
    wrapper.__signature__ = own.replace(parameters=listed)  # type: ignore[attr-defined]
    return wrapper


def _option(parameter: Parameter, takers: tuple[str, ...]) -> inspect.Parameter:
    """Make the flag of a parameter, with the methods that take it; None means that it was not given."""
    says = parameter.brief or parameter.help
    option = typer.Option(
        parameter.flag,
        metavar=parameter.metavar,
        help=f"{says[:1].upper()}{says[1:]} ({', '.join(takers)}).",
        show_default=False,
        rich_help_panel=MERGING,
    )
    kind: Any = list[str] if parameter.is_list else type(parameter.default)
    return inspect.Parameter(
        parameter.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Annotated[kind | None, option]
    )


def _value(parameter: Parameter, given: Any) -> Any:
    return arguments.numbers(parameter.flag, given) if parameter.is_list else given
