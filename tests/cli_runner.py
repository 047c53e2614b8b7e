"""Runs the real entry function of the command line in this process."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from example_snapshots import example

from beft_core.cli import main
from beft_core.snapshots.snapshot import write_snapshot


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as the one JSON document that it must be; NaN and Infinity are not JSON."""

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} in JSON")

        return json.loads(self.out, parse_constant=refuse)


def beft(*arguments: object) -> Result:
    """``beft ARGUMENTS``. Anything but a SystemExit escapes, as its traceback would."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return Result(int(exit_.value.code or 0), out.getvalue(), err.getvalue())


def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fine-tunes begin without data and model, where a test has another function in their place."""
    monkeypatch.setattr("beft_core.cli.fine_tune.checked_data", lambda *_: None)
    monkeypatch.setattr("beft_core.cli.fine_tune.require_model", lambda *_: None)


def assert_refused(result: Result) -> str:
    """Exit status 2, nothing on stdout, one line on stderr; returns the line."""
    assert result.status == 2, result
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("beft: ")
    assert len(lines[0]) < 1400
    assert "Traceback" not in lines[0]
    assert lines[0].isprintable()
    return lines[0]


def stored(folder: Path, *, name: str = "a", **details: Any) -> Path:
    """A synthetic snapshot on disk."""
    path = folder / f"{name}.beft.safetensors"
    write_snapshot(path, example(**details))
    return path
