"""Paths that somebody typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beft_core.cli import app
from beft_core.cli.output import out_path
from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.files.paths import free_folder, user_path
from beft_core.files.safe_io import atomic_write
from beft_core.models.source import locate
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources.official import find_folder
from beft_core.tasks.sources.user_files import load_files

HOSTILE: dict[str, str] = {
    "home of nobody": "~nosuchuser/x",
    "only the home of nobody": "~nosuchuser",
    "name of 300 characters": "./" + "n" * 300,
    "name of 130 characters of two bytes": "./" + "ä" * 130,
    "path of 5000 bytes": "./" + "n/" * 2500,
    "zero byte": "./a\0b",
    "half a character": "./a\ud800b",
    "nothing": "",
    "white space": "  ",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_paths_that_cannot_be_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^got --out") as caught:
        user_path(text, "--out")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_what_is_left_can_be_asked_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/x") == tmp_path / "x"
    assert user_path(tmp_path / ("n" * 255)).exists() is False
    assert user_path("ä" * 127) == Path("ä" * 127)
    strange = os.fsdecode(b"caf\xe9")  # a name that is not UTF-8, as a folder may well have one
    assert user_path(strange) == Path(strange)


def test_a_folder_to_write_holds_nothing(tmp_path: Path) -> None:
    assert free_folder(tmp_path / "new") == tmp_path / "new" and free_folder(tmp_path) == tmp_path
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="which exists; expected a new or an empty folder"):
            free_folder(taken)


@pytest.mark.parametrize("text", [text for text in HOSTILE.values() if text.strip()])
def test_everyone_who_takes_a_path_refuses_them(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models (also from a page's field and from its link), folders of data, tables, BEFT_HOME."""
    for take in (
        lambda: locate(text),
        lambda: locate(text, local_only=True),
        lambda: find_folder(get_task("sst2"), text),
        lambda: load_files(text, None, text="text", label="label"),
    ):
        with pytest.raises(UserError):
            take()
    if "\0" not in text and "\ud800" not in text:  # no environment can hold these
        monkeypatch.setenv("BEFT_HOME", text)
        with pytest.raises(UserError, match="BEFT_HOME"):
            home()


COMMANDS: dict[str, list[str]] = {
    "inspect": ["inspect", "PATH"],
    "score": ["score", "PATH"],
    "merge": ["merge", "PATH", "PATH"],
    "evaluate": ["evaluate", "PATH", "--task", "demo-sentiment"],
    "train --out": ["train", "--out", "PATH.beft.safetensors"],
    "train --model": ["train", "--model", "PATH", "--out", "o.beft.safetensors"],
    "train --data-dir": ["train", "--task", "sst2", "--data-dir", "PATH", "--out", "o.beft.safetensors"],
    "train --train-file": [
        "train",
        "--train-file",
        "PATH",
        "--text",
        "a",
        "--label",
        "b",
        "--out",
        "o.beft.safetensors",
    ],
    "train --checkpoint": ["train", "--checkpoint", "PATH", "--out", "o.beft.safetensors"],
    "extract": ["extract", "PATH", "bundled", "--out", "o.beft.safetensors"],
    "extract --config": ["extract", "bundled", "bundled", "--config", "PATH", "--out", "o.beft.safetensors"],
    "peft import": ["peft", "import", "PATH", "--base", "bundled", "--out", "o.beft.safetensors"],
    "peft export": ["peft", "export", "PATH", "o"],
    "peft export to": ["peft", "export", "o.beft.safetensors", "PATH"],
    "export": ["export", "PATH", "--merged", "o"],
    "export --merged": ["export", "o.beft.safetensors", "--merged", "PATH"],
    "push": ["push", "PATH", "me/x"],
    "push --out": ["push", "o.beft.safetensors", "me/x", "--out", "PATH"],
    "push --name": ["push", "o.beft.safetensors", "PATH"],
    "sweep --config": ["sweep", "--config", "PATH"],
    "sweep --out": ["sweep", "--out", "PATH"],
    "report": ["report", "PATH"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_command_has_a_traceback_for_them(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in HOSTILE.values():
        if not text.strip():
            continue
        assert app.run([word.replace("PATH", text) for word in command]) == app.WRONG_INPUT, text
        line = capsys.readouterr().err
        assert line.startswith("beft: ") and line.count("\n") == 1, (text, line)
    assert not list(tmp_path.iterdir())


def test_a_result_that_could_not_be_written_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 200 bytes"):
        out_path(str(tmp_path / ("n" * 230 + ".beft.safetensors")))
    path = out_path(str(tmp_path / ("n" * 180 + ".beft.safetensors")))
    atomic_write(path, [b"x"])
