"""Explanation of a run whose worker is gone: how it ended, and what to do now, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beft_core.files.disk import shortage
from beft_core.runs.failure import smaller
from beft_core.runs.status import Status

_CRASH = "Fatal Python error: "
"""Beginning of the interpreter's message on a fatal signal."""


def how_it_ended(status: Status, folder: Path, silence: float, log: Sequence[str]) -> str:
    """Say how a worker ended that left ``status`` as its last.

    ``silence``: seconds since its last sign of life; ``log``: the last lines of its log.
    """
    if status.elsewhere is not None:
        minutes = min(silence / 60, 1e6)
        return (
            f"The worker on {status.elsewhere} has given no sign of life for {minutes:.0f} minutes: "
            "that machine is off or was restarted, or its connection to this folder is lost."
        )
    where = f" during “{status.stage}”" if status.stage else ""
    where += f" ({status.done} of {status.total})" if status.stage and status.total else ""
    who = f"process {status.process.pid}" if status.process else "process"
    crash = next((line for line in log if line.startswith(_CRASH)), None)
    if crash is not None:
        return f"The worker ({who}) crashed{where}: {crash.removeprefix(_CRASH)}."
    if (left := shortage(folder)) is not None:
        return f"The worker ({who}) ended{where} and could not write why: the disk is full ({left} free)."
    return f"The worker ({who}) vanished{where} without a word: it was killed, crashed, or the machine was restarted."


def what_to_do(folder: Path, resources: Mapping[str, Any], *, resumable: bool) -> str:
    """Propose what helps against the likely cause. ``resources``: what its configuration says of memory."""
    again = " The run can be resumed from its checkpoint." if resumable else ""
    if shortage(folder) is not None:
        return f"Delete what is no longer needed on the disk of {folder}.{again}"
    return f"If the machine ran out of memory: {smaller(resources)}{again}"
