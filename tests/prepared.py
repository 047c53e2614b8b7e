"""Commands of the lab in processes of their own that need not import PyTorch first: a server has, and forks for each.

They are real processes, to be killed as such; what a whole one does, from the interpreter's start on, other tests run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "beft_core.cli.app",
        "beft_core.training.workflow",
        "beft_core.sweeps.runner",
        "transformers.models.auto.modeling_auto",
        "transformers.models.bert.modeling_bert",
        "transformers.models.bert.tokenization_bert",
    ]
)


@dataclass(frozen=True)
class Command:
    """A process at work."""

    process: ForkServerProcess
    stdout: Path
    stderr: Path

    def running(self) -> bool:
        return self.process.is_alive()

    def said(self) -> str:
        """What it has written on stderr until now."""
        return self.stderr.read_text() if self.stderr.exists() else ""

    def interrupt(self) -> None:
        """SIGINT, as Ctrl-C sends it."""
        if self.process.pid is not None and self.running():
            os.kill(self.process.pid, signal.SIGINT)

    def kill(self) -> int | None:
        """SIGKILL; returns the exit status, -9 unless the process had ended."""
        self.process.kill()
        return self.wait(60)

    def wait(self, timeout: float) -> int | None:
        """Exit status; None if the process goes on after ``timeout`` seconds."""
        self.process.join(timeout)
        return self.process.exitcode


def start(words: list[str], streams: Path, *, threads: int = 1, **environment: str) -> Command:
    """``beft WORDS``; what it says goes into ``streams`` with the suffixes .out and .err."""
    out, err = (streams.with_name(f"{streams.name}.{kind}") for kind in ("out", "err"))
    process = _CONTEXT.Process(target=_run, args=(words, out, err, threads, environment), daemon=True)
    process.start()
    return Command(process, out, err)


def _run(words: list[str], out: Path, err: Path, threads: int, environment: dict[str, str]) -> None:
    import torch

    from beft_core.cli import main

    os.environ.update(environment)
    torch.set_num_threads(threads)
    for path, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    main(words)
