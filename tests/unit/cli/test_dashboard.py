"""The command dashboard: what it starts, and what is refused. A real server is started by the acceptance tests."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from cli_runner import assert_refused, beft

from beft_core.cli import dashboard


class Started(Exception):
    """Carries the words of the process that would have taken over."""


def started(*words: str) -> list[str]:
    def exec_(program: str, arguments: list[str]) -> None:
        raise Started(program, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.execv", exec_)
        with pytest.raises(Started) as caught:
            beft("dashboard", *words)
    program, arguments = caught.value.args
    assert program == arguments[0] == sys.executable
    return arguments[1:]


def test_it_serves_the_app_that_lies_beside_the_engine(folder: Path) -> None:
    assert started() == ["-m", "streamlit", "run", str(dashboard.APP)]
    settings = tomllib.loads((dashboard.APP.parent / ".streamlit" / "config.toml").read_text())
    assert dashboard.APP.is_file() and settings["server"]["showEmailPrompt"] is False  # which would wait for an answer
    assert started("--port", "8600", "--no-browser")[4:] == ["--server.port", "8600", "--server.headless", "true"]


def test_what_cannot_be_served_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.execv", lambda *_: pytest.fail("a server began"))
    assert "from 1 to 65535" in assert_refused(beft("dashboard", "--port", "70000"))
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda _: None)
        assert "pip install streamlit" in assert_refused(beft("dashboard"))
    monkeypatch.setattr(dashboard, "APP", folder / "app.py")
    assert "no dashboard" in assert_refused(beft("dashboard"))
