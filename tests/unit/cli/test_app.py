"""The one place where an error becomes a line and an exit status."""

from __future__ import annotations

import errno
import os
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
    assert "sweep" in done.out and "report" in done.out


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
