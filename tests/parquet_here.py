"""Parquet files of tests, unpacked in this process: one of its own takes half a second to import Arrow for each table.

What it may not do there, and how it ends, tests/unit/files and the hostile corpora find with real ones.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import IO, Any

import pytest

from beft_core.files import parquet, parquet_child


class Here:
    """Stand-in for the process, which has ended when it is made."""

    def __init__(self, command: list[str], *, stderr: IO[bytes], **_: Any) -> None:
        self.stdout = io.BytesIO()
        self.status = parquet_child.answer(json.loads(command[-1]), self.stdout, stderr)
        self.stdout.seek(0)

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()

    def wait(self) -> int:
        return self.status

    def kill(self) -> None:
        """Do nothing: it has ended."""


@contextmanager
def unpacked_here() -> Iterator[None]:
    """Start no process for a Parquet file while the context is open."""
    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "PIPE")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "subprocess", SimpleNamespace(Popen=Here, **names))
        yield
