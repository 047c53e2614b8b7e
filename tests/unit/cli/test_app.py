"""The one place where an error becomes a line and an exit status."""

from __future__ import annotations

import errno
import os
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from cli_runner import assert_refused, beft

from beft_core.cli import app
from beft_core.errors import UserError
from beft_core.files.disk import NoRoom


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Every command raises this."""

    def build() -> typer.Typer:
        application = typer.Typer()

        @application.command()
        def one() -> None:
            raise error

        @application.command()
        def other() -> None: ...

        return application

    monkeypatch.setattr(app, "build", build)


@pytest.mark.parametrize("name", ["score", "peft", "nothing-like-it", "--version"])
def test_a_command_is_parsed_without_the_others(name: str) -> None:
    every = typer.main.get_command(app.build())
    found = app.parser([name, "rest"])
    alone = name == "score"
    assert list(found.commands) == (["score"] if alone else list(every.commands))  # type: ignore[attr-defined]
    assert found.name == every.name and len(found.params) == len(every.params)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("got x", "y", "z"), 2, "beft: got x; expected y"),
        (NoRoom(Path("a"), 10, errno.ENOSPC), 1, "beft: cannot write a"),
        (FloatingPointError("the loss is not a number"), 1, "beft: "),
        (MemoryError(), 1, "beft: "),
        (KeyboardInterrupt(), 130, "beft: interrupted"),
        (typer.Abort(), 130, "beft: interrupted"),
        (OSError(errno.ENOSPC, "full"), 1, "beft: cannot write the result to standard output: full"),
    ],
)
def test_errors_have_a_line_and_a_status(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "_drop_output", lambda: None)
    failing(monkeypatch, error)
    assert app.run(["one"]) == status
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("a defect"), OSError(errno.ENOENT, "gone", "file")])
def test_a_defect_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, error)
    with pytest.raises(type(error)):
        app.run(["one"])


def test_a_reader_that_leaves_is_no_news(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    dropped: list[bool] = []
    monkeypatch.setattr(app, "_drop_output", lambda: dropped.append(True))
    failing(monkeypatch, BrokenPipeError())
    assert app.run(["one"]) == 1
    assert dropped == [True] and capsys.readouterr().err == ""


def test_every_command_is_there() -> None:
    done = beft()
    assert done.status == 0 and done.out == beft("--help").out
    for command in ("train", "select", "score", "inspect", "models", "tasks", "evaluate", "merge", "extract", "peft"):
        assert command in done.out
    assert "sweep" in done.out and "report" in done.out and "dashboard" in done.out


def test_the_version() -> None:
    done = beft("--version")
    assert (done.status, done.out) == (0, f"beft {version('beft-lab')}\n")


def completed(typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a shell offers at the end of what was typed."""
    monkeypatch.setenv("_BEFT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    with pytest.raises(SystemExit):
        app.run([])
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("beft tr", ["train"]),
        ("beft peft ex", ["export"]),
        ("beft train --adam-epsilon-", ["--adam-epsilon-at"]),
        ("beft train --learn", []),  # hidden names are taken, not offered
        ("beft train --task demo-s", ["demo-sentiment", "demo-similarity"]),
        ("beft train --preset ", ["paper", "quick"]),
        ("beft train --terms mlp", ["mlp_in", "mlp_out"]),
        ("beft dashboard --p", ["--port", "--print-config"]),
    ],
)
def test_a_shell_completes(
    typed: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(typed, monkeypatch, capsys) == offered


def test_every_command_and_option_is_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = completed("beft ", monkeypatch, capsys)
    assert len(commands) > 10
    for command in commands:
        offered = completed(f"beft {command} --", monkeypatch, capsys)
        assert "--help" in offered and (command == "peft" or "--print-config" in offered)


def test_the_script_of_a_shell_is_shown_and_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = beft("--show-completion", "bash")
    assert shown.status == 0 and "_BEFT_COMPLETE=complete_bash" in shown.out
    assert beft("--install-completion", "bash").status == 0
    assert "_BEFT_COMPLETE=complete_bash" in (tmp_path / ".bash_completions" / "beft.sh").read_text()


def test_what_the_parser_refuses_is_one_line_that_says_where_help_is() -> None:
    assert "beft train --help" in assert_refused(beft("train", "--no-such-flag"))
    assert "beft --help" in assert_refused(beft("no-such-command"))
    assert "--seed" in assert_refused(beft("train", "--seed", "x"))


def test_a_closed_stdout_is_told_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr(app, "build", lambda: pytest.fail("the work began"))
    assert app.run(["tasks"]) == 1
    assert "standard output is closed" in capsys.readouterr().err


def test_dropped_output_goes_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        app._drop_output()
        os.write(stream.fileno(), b"lost")
    assert (tmp_path / "out").read_text() == ""
