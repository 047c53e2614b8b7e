"""``python -m beft_core`` is the command ``beft``."""

from __future__ import annotations

import runpy
import sys

import pytest


def test_the_module_runs_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["beft", "no-such-command"])
    monkeypatch.delitem(sys.modules, "beft_core.__main__", raising=False)
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("beft_core", run_name="__main__")
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("beft: No such command")


def test_an_import_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["beft", "no-such-command"])
    assert callable(runpy.run_module("beft_core.__main__", run_name="other")["main"])
