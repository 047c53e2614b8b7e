"""Where the lab keeps everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from beft_core.files.home import home


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("BEFT_HOME")
    assert home().name == "beft-lab"
