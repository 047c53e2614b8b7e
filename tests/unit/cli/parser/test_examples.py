"""The examples in help: two per command, short enough to stay whole, parsed, and run where that is cheap."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli_runner import beft, stored

from beft_core.cli import app
from beft_core.cli.parser.command import Command
from beft_core.cli.parser.examples import EXAMPLES
from beft_core.settings.arguments import join_values

ROOT = Path(__file__).parents[4]
ALL = [(name, line) for name, lines in EXAMPLES.items() for line in lines]
CHEAP = ("score sample", "inspect sample", "models", "tasks", "extract bundled", "merge a.beft.safetensors b.beft")


def commands() -> dict[str, Any]:
    """Words after ``beft`` -> the command or group."""
    whole = typer.main.get_command(app.build())
    found: dict[str, Any] = {"": whole}
    for name, command in whole.commands.items():  # type: ignore[attr-defined]
        found[name] = command
        found |= {f"{name} {part}": inner for part, inner in getattr(command, "commands", {}).items()}
    return found


def words(line: str) -> list[str]:
    """The words after ``beft`` of a line for a shell."""
    parts = shlex.split(line)
    return parts[parts.index("beft") + 1 :]


def test_every_command_has_two() -> None:
    assert set(EXAMPLES) == set(commands())
    assert all(len(lines) >= 2 for lines in EXAMPLES.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_ends_with_them_unbroken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = beft(*name.split(), "-h").out
    assert told == beft(*name.split(), "--help").out
    lines = told.splitlines()
    assert lines[-len(EXAMPLES[name]) :] == [f"  {line}" for line in EXAMPLES[name]]
    assert max(map(len, lines)) <= 80


def test_the_list_of_commands_has_whole_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = beft("-h").out.partition("Commands:\n")[2]
    assert "Score and rank the bias terms of snapshots" in listed and "..." not in listed


@pytest.mark.parametrize(("name", "line"), ALL)
def test_each_is_one_of_its_command_and_parsed(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(Command, "invoke", lambda self, ctx: parsed.append(ctx.command_path))
    assert app.run(join_values(words(line))) == 0
    assert parsed and parsed[0].startswith(f"beft {name}".strip())


@pytest.mark.parametrize("line", [line for _, line in ALL if any(part in line for part in CHEAP)])
def test_the_cheap_ones_work(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_snapshots").symlink_to(ROOT / "sample_snapshots")
    for seed, name in enumerate(("a", "b")):
        stored(tmp_path, name=name, seed=seed, trained_terms=("v",))
    if "--evaluate" not in line:
        done = beft(*words(line))
        assert done.status == 0, done.err
