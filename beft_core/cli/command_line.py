"""Command line of ``beft`` that does what a run does: to be copied to a terminal, a script or another machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from beft_core.cli.flags import FLAGS, OF_SELECT, TABLE, Flag
from beft_core.cli.parser import options_file
from beft_core.config import PROBE_EVALUATES, RunConfig
from beft_core.errors import UserError
from beft_core.imports import imported
from beft_core.runs.kinds import KINDS
from beft_core.sweeps.spec import COMMON, SweepSpec

_OF_TABLES = tuple(name for name in TABLE if name != "train_file")
"""Fields that the command line takes together with ``train_file`` only; without it they mean nothing."""


def command_line(kind: str, config: Any, out: str | None = None) -> str | None:
    """Write the command that does what a run of a kind does, quoted for a shell; None where no command does.

    Only what differs from the defaults stands in it. ``out``: name of the file or folder to write.
    """
    writer = KINDS[kind].command
    return None if writer is None else str(imported(writer)(config, out))


def train_command(config: RunConfig, out: str | None = None) -> str:
    """Write the command of a fine-tune. ``out``: name of the snapshot to write."""
    return _fine_tune_command("train", FLAGS, config, out, RunConfig())


def select_command(config: RunConfig, out: str | None = None) -> str:
    """Write the command of a probe. ``out``: name of the snapshot to write."""
    return _fine_tune_command("select", OF_SELECT, config, out, RunConfig(evaluate=PROBE_EVALUATES))


def _fine_tune_command(
    command: str, fields: Iterable[str], config: RunConfig, out: str | None, default: RunConfig
) -> str:
    """``default``: what the command takes for flags that are not given."""
    words = ["beft", command]
    for name in fields:
        value = getattr(config, name)
        ignored = name == "task" if config.train_file is not None else name in _OF_TABLES
        if name in ("mode", "terms") and not config.method.names_terms:
            flag = "terms" if config.method.adapter is None else "mode"  # every method is a word of either
            words += _option(FLAGS[flag].name or _flag(flag), config.mode) if name == flag else []
        elif value != getattr(default, name) and not ignored:
            words += _words(FLAGS[name], value)
    if out is not None:
        words += _option("--out", out)
    return shlex.join(words)


_OF_GRID: tuple[str, ...] = ("tasks", "regimes", "n_train", "terms", "methods", "lrs", "probe_lrs", "merges")
"""Fields of a sweep that one flag each lists."""


def sweep_command(spec: SweepSpec, out: str | None = None) -> str:
    """Write the command of a sweep, quoted for a shell. ``out``: name of the folder to write.

    The grid stands in it completely, of the other settings what differs from the defaults.

    Raises:
        UserError: seeds other than 0 to N - 1, several tables, settings of a method, methods without any term, or all
            biases that are no probe, which only :func:`sweep_file` can say.
    """
    if spec.seeds != tuple(range(len(spec.seeds))):
        seeds = ", ".join(map(str, spec.seeds))
        raise UserError(f"got the seeds {seeds}", "those that --seeds N means, 0 to N - 1", f"seeds: [{seeds}] as YAML")
    if len(spec.tables) > 1:
        raise UserError(f"got the tables {', '.join(spec.tables)}", "one, as flags say it", "all of them as YAML")
    if set_up := [entry["method"] for entry in spec.methods if len(entry) > 1]:
        raise UserError(f"got settings of {', '.join(set_up)}", "methods by name, as flags say them", "the YAML file")
    if not spec.probes:
        raise UserError("got all biases that are no probe", "probes, as flags say them", "probes: false as YAML")
    if not spec.terms:  # without the flag the command takes its usual ones
        raise UserError("got methods without terms", "some of both, as flags say them", "the YAML file")
    words = ["beft", "sweep"]
    for name in _OF_GRID:
        values = getattr(spec, name)
        if name == "methods":
            values = [entry["method"] for entry in values]
        if name == "tasks":
            values = [task for task in values if task not in spec.tables]
        if values:
            words += [_flag(name), *(repr(value) if isinstance(value, float) else str(value) for value in values)]
    for table in spec.tables.values():
        for name in TABLE:
            if (value := getattr(table, name)) is not None:
                words += _words(FLAGS[name], value)
    words += ["--seeds", str(len(spec.seeds))]
    settings, default = RunConfig.from_dict(dict(spec.settings)), RunConfig()
    for name in COMMON:
        if (value := getattr(settings, name)) != getattr(default, name):
            words += _words(FLAGS[name], value)
    if out is not None:
        words += _option("--out", out)
    return shlex.join(words)


def sweep_file(spec: SweepSpec) -> str:
    """Write the YAML file of a sweep, which ``beft sweep --config`` reads; it says what flags cannot, too."""
    fields = {name: value for name, value in spec.to_dict().items() if value or value is False or name == "terms"}
    if spec.tables:
        fields["tables"] = {task: table.to_dict() for task, table in spec.tables.items()}
    return options_file.written(fields)


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _words(flag: Flag, value: Any) -> list[str]:
    name = flag.name or _flag(flag.field)
    if flag.kind is bool:
        return [name]
    if flag.field == "layers":
        return [name, *_ranges(value)]
    if isinstance(value, tuple):
        return [name, *value]
    return _option(name, repr(value) if isinstance(value, float) else str(value))


def _option(name: str, value: str) -> list[str]:
    # A value that begins like an option, or is empty, would be mistaken on its own.
    return [f"{name}={value}"] if value.startswith("-") or not value else [name, value]


def _ranges(layers: tuple[int, ...]) -> Iterator[str]:
    """Write layer numbers as ``0``, ``3-5``."""
    ordered = sorted(set(layers))
    breaks = [i for i, (a, b) in enumerate(pairwise(ordered), 1) if b != a + 1]
    for start, end in pairwise([0, *breaks, len(ordered)]):
        first, last = ordered[start], ordered[end - 1]
        yield f"{first}-{last}" if last > first else str(first)
