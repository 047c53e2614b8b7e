"""``beft sweep`` as a user runs it: one table, a second call without work, killed and started again, wrong input."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import prepared
from cli_runner import assert_refused, beft

from beft_core.sweeps.table import read_table

GRID = [
    "--tasks",
    "demo-sentiment",
    "--terms",
    "v",
    "head",
    "--seeds",
    "2",
    "--n-train",
    "32",
    "--epochs",
    "3",
    "--evaluate-when",
    "never",
    "--device",
    "cpu",
    "--max-length",
    "24",
    "--batch-size",
    "4",
    "--bank-size",
    "2",
]


WORDS = ["sweep", *GRID, "--out"]


def start(folder: Path, **environment: str) -> prepared.Command:
    return prepared.start([*WORDS, str(folder)], folder.parent / f"{folder.name} says", **environment)


def test_killed_half_way_and_started_again_it_is_the_same_table(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    undisturbed, killed = start(whole), start(parts, BEFT_CHECKPOINT_SECONDS="0.02")
    deadline, first = time.monotonic() + 200, set[str]()
    while killed.running() and time.monotonic() < deadline:
        # The first bank is written and the second, whose state has a name of its own, has saved it. The states are read
        # before the rows: while rows are missing, they are the first bank's.
        banks = {path.name for path in parts.glob("bank-*.safetensors")}
        if len(list(parts.glob("rows/*.json"))) < 2:
            first |= banks
        elif banks - first:
            break
        time.sleep(0.005)
    assert killed.kill() == -9
    assert len(list(parts.glob("rows/*.json"))) == 2
    again = start(parts, BEFT_CHECKPOINT_SECONDS="0.02")
    assert again.wait(timeout=200) == 0, again.said()
    assert "resumed after step" in again.said()
    out = again.stdout.read_text()
    assert "2 fine-tunes in 1 pass" in out and "2 were there already" in out
    assert undisturbed.wait(timeout=200) == 0, undisturbed.said()
    pd.testing.assert_frame_equal(
        read_table(parts).drop(columns=["seconds", "peak_bytes"]),
        read_table(whole).drop(columns=["seconds", "peak_bytes"]),
    )
    for name in read_table(whole)["snapshot"]:
        assert (parts / "snapshots" / name).read_bytes() == (whole / "snapshots" / name).read_bytes()
    # A call that has nothing to do neither starts PyTorch nor writes another table.
    before = (whole / "results.csv").read_bytes()
    code = (
        "import sys; from beft_core.cli.app import run; "
        f"status = run({['sweep', *GRID, '--out', str(whole)]!r}); sys.exit(status or 'torch' in sys.modules)"
    )
    third = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr
    assert "0 fine-tunes in 0 passes" in third.stdout and (whole / "results.csv").read_bytes() == before


def test_a_yaml_file_and_flags_over_it(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "terms: [head]\nn_train: 8\nepochs: 1\nseeds: 3\nsettings: {evaluate: never, device: cpu, batch_size: 8}\n"
    )
    over = ["--seeds", 1, "--batch-size", 4]
    done = beft("sweep", "--config", file, *over, "--out", tmp_path / "out", "--no-snapshots", "--json")
    assert done.status == 0, done.err
    assert (done.json["runs"], done.json["trained"], done.json["failed"]) == (1, 1, 0)
    (row,) = done.json["results"]
    assert row["trains"] == "head" and row["n_train"] == 8 and "snapshot" not in row
    assert (row["epochs"], row["batch_size"], row["steps"]) == (1, 4, 2)
    assert not list((tmp_path / "out" / "snapshots").iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years of work")
    assert "thesis.txt" in assert_refused(beft("sweep", "--out", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
