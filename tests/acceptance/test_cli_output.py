"""Streams that fail: a full disk behind stdout, a reader that leaves, a closed stream, a log on a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from example_snapshots import example

from beft_core.snapshots.snapshot import write_snapshot

COMMANDS = {
    "inspect": ["inspect", "FILE"],
    "inspect --json": ["inspect", "FILE", "--json"],
    "score": ["score", "FILE"],
    "tasks": ["tasks"],
    "help": ["--help"],
}
"""Each writes by a way of its own: lines, a JSON document, tables, the parser."""

FULL = Path("/dev/full")
full_device = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")


def words_of(name: str, file: Path) -> list[str]:
    return [str(file) if word == "FILE" else word for word in COMMANDS[name]]


def beft(name: str, folder: Path, redirections: str) -> tuple[int, str]:
    """Exit status and stderr of a command in a shell."""
    file = folder / "a.beft.safetensors"
    write_snapshot(file, example())
    words = words_of(name, file)
    script = f'"$@" {redirections}'
    command = ["bash", "-o", "pipefail", "-c", script, "bash", sys.executable, "-m", "beft_core", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@full_device
@pytest.mark.parametrize("name", COMMANDS)
def test_a_result_on_a_full_disk_is_one_line(name: str, tmp_path: Path) -> None:
    status, errors = beft(name, tmp_path, "> /dev/full")
    assert status == 1
    assert errors == f"beft: cannot write the result to standard output: {os.strerror(28)}\n"


@pytest.mark.parametrize("name", ["inspect", "inspect --json"])
def test_a_reader_that_leaves_is_no_news(name: str, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "a.beft.safetensors", example())
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "beft_core", *words_of(name, tmp_path / "a.beft.safetensors")]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_closed_stdout_is_told_before_any_work(tmp_path: Path) -> None:
    status, errors = beft("inspect", tmp_path, ">&-")
    assert status == 1 and errors.count("\n") == 1 and "standard output is closed" in errors


@full_device
@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-"])
def test_an_error_that_cannot_be_written_still_has_its_status(redirection: str, tmp_path: Path) -> None:
    assert beft("inspect", tmp_path, f"{redirection} > /dev/null")[0] == 0
    command = f"{sys.executable} -m beft_core inspect missing {redirection}"
    assert subprocess.run(["bash", "-c", command], check=False, timeout=60).returncode == 2


@full_device
def test_a_fine_tune_whose_log_is_on_a_full_disk_ends_with_its_snapshot(tmp_path: Path) -> None:
    out = tmp_path / "v.beft.safetensors"
    words = "train --n-train 16 --epochs 1 --evaluate-when never --device cpu --max-length 16"
    command = f"{sys.executable} -m beft_core {words} --out {out} 2> /dev/full > /dev/null"
    assert subprocess.run(["bash", "-c", command], check=False, timeout=120).returncode == 0
    assert out.is_file()
