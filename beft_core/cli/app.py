"""Application of all commands, and the one place where an error becomes a line and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from beft_core import environment
from beft_core.cli import dashboard, docs, evaluation, exchange, fine_tune, output, reading, report, sweep
from beft_core.cli.asking import command as asking
from beft_core.cli.comparing import command as comparing
from beft_core.cli.dials import command as dials
from beft_core.cli.lesson import command as lesson
from beft_core.cli.paper import command as paper
from beft_core.cli.parser.command import Group, unknown_option
from beft_core.cli.publishing import command as publishing
from beft_core.cli.rewriting import command as rewriting
from beft_core.cli.staging import command as staging
from beft_core.cli.tracking import command as tracking
from beft_core.cli.workers import command as workers
from beft_core.errors import UserError
from beft_core.files.disk import NO_ROOM, NoRoom
from beft_core.runs.failure import explain
from beft_core.settings.arguments import join_values

WRONG_INPUT = 2
FAILED = 1

_OF_STDOUT = {*NO_ROOM, errno.EIO, errno.EBADF}

# The base class of everything that the parser refuses. Releases of typer differ in where it stands (click or typer's
# own copy of it), but not in its place above BadParameter.
ClickException: type[Exception] = typer.BadParameter.__mro__[2]


def _print_version(wanted: bool) -> None:
    if wanted:
        output.say(f"beft {version('beft-lab')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)]


def _whole(version: Version = False) -> None:
    """Take the options that stand before any command."""


def build() -> typer.Typer:
    """Make the application with all commands."""
    app = typer.Typer(
        name="beft",
        cls=Group,
        help="Bias-efficient fine-tuning: train, score, select, merge and compare single bias terms of transformers.",
        no_args_is_help=False,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_whole)
    for module in (fine_tune, reading, rewriting, evaluation, dials, asking, exchange, sweep, comparing, report, paper):
        module.register(app)
    for module in (publishing, workers, staging, tracking, dashboard, lesson, docs):
        module.register(app)
    return app


def parser(arguments: Sequence[str]) -> Any:
    """Make the parser of the command that the arguments begin with; of all where they begin with none.

    Those of all take 70 ms more, for which every command would wait.
    """
    app = build()
    asked = [one for one in app.registered_commands if one.name == arguments[0]]
    if asked:
        app.registered_commands, app.registered_groups = asked, []
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit status.

    0: done. 1: the fine-tune diverged, memory or the disk is full, or nobody takes the result. 2: wrong input, told in
    one line. 130: interrupted. Any other exception is a defect of the lab and keeps its traceback.
    """
    if sys.stderr is None:  # closed by whoever started this
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if sys.stdout is None:
        return _tell("standard output is closed; expected somewhere to write the result", FAILED)
    if not arguments:
        arguments = ["--help"]
    try:
        environment.check()
        status = parser(arguments).main(args=join_values(arguments), prog_name="beft", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        return _tell(str(error), FAILED if isinstance(error, NoRoom) else WRONG_INPUT)
    except ClickException as error:
        if hasattr(error, "possibilities"):
            return _tell(str(unknown_option(error)), WRONG_INPUT)
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        where = getattr(getattr(error, "ctx", None), "command_path", "beft")
        # Through UserError, so that the line is flat and bounded as any other.
        return _tell(str(UserError(message.rstrip("."), try_=f"{where} --help")), WRONG_INPUT)
    except (FloatingPointError, MemoryError) as error:
        sentence, proposal = explain(error)
        return _tell(" ".join(filter(None, (sentence, proposal))), FAILED)
    except BrokenPipeError:  # the reader (head, less) has left
        _drop_output()
        return FAILED
    except OSError as error:
        if error.errno not in _OF_STDOUT or error.filename is not None:
            raise
        # Files of the lab are written by functions that raise UserError: what is left is stdout.
        _drop_output()
        return _tell(f"cannot write the result to standard output: {error.strerror}", FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _tell("interrupted", output.INTERRUPTED)
    if status == output.INTERRUPTED:
        return _tell("interrupted", output.INTERRUPTED)
    return int(status or 0)


def _drop_output() -> None:
    """Send what is left for stdout nowhere: Python would complain once more when it flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(line: str, status: int) -> int:
    with suppress(OSError):  # the status still says it
        sys.stderr.write(f"beft: {' '.join(line.split())}\n")
    return status
