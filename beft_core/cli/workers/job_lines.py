"""Lines that a submission adds to the batch file of its jobs: shown first, and confirmed where a file has them.

A file of options may come from somebody else, and its shell lines would run on the cluster as the user. So could what a
flag of ``sbatch`` names: a file to write, or one that the shell begins with.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import typer

from beft_core.cli import output
from beft_core.errors import UserError
from beft_core.execution.clusters.settings import Cluster, is_path

NAMES: tuple[str, ...] = ("setup", "sbatch")
"""Fields of a :class:`Cluster` that are such lines."""


def of_file(fields: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Say whether the file of a sweep has such lines, or names a profile by its path, which may have them.

    ``fields``: of the file; ``given``: options of the command line by name, which win.
    """
    return any(fields.get(name) and not given.get(name) for name in NAMES) or (
        not given.get("profile") and is_path(str(fields.get("profile") or ""))
    )


def of_options(context: typer.Context) -> bool:
    """Say the same of the file that a command got its options from."""
    options: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for name in (*NAMES, "profile"):
        source = context.get_parameter_source(name)
        options[source is not None and source.name == "DEFAULT_MAP"][name] = context.params.get(name)
    return of_file(options[True], options[False])


def show(cluster: Cluster, strange: bool, trusted: bool) -> None:
    """Show the lines of jobs that are about to be submitted, and ask at a terminal whether to go on with strange ones.

    Args:
        cluster: settings of the jobs.
        strange: whether a file has the lines, see :func:`of_file`.
        trusted: whether the user has said that such a file may have them.

    Raises:
        UserError: there is no terminal to ask at, or the answer is no.
    """
    lines = [*(f"#SBATCH --{flag}" for flag in cluster.sbatch), *cluster.setup]
    if not lines:
        return
    asks = strange and not trusted
    if asks and not _at_terminal():
        raise UserError(
            f"got a file whose jobs begin with {'; '.join(lines)[:300]!r}",
            "lines that you have read",
            "--trust-file, or --print-sbatch to read the batch file",
        )
    output.note("jobs begin with:")
    for line in lines:
        output.note(f"    {line}")
    if asks and not typer.confirm("The file has these lines. Submit?", err=True):
        raise UserError("nothing was submitted", try_="--print-sbatch")


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
