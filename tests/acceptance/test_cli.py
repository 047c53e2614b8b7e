"""The command line as its users meet it: results on stdout, progress on stderr, files that are never lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prepared
import pytest
from cli_runner import assert_refused, beft, stored
from example_decoder import write_decoder, write_reviews
from example_snapshots import base, example
from hostile_data import GOOD

from beft_core.merging import evaluate as merge_evaluation
from beft_core.models.biases import LoadedModel
from beft_core.models.load import load_model
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.training import workflow
from beft_core.training.progress.checkpoint import held

QUICK = ["--epochs", "1", "--max-length", "16", "--device", "cpu"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(folder: Path) -> list[str]:
    """Flags of a small table of the user's own."""
    (folder / "films.csv").write_text(GOOD)
    return ["--train-file", "films.csv", "--text", "text", "--label", "label", *QUICK]


# --- flags -----------------------------------------------------------------------------------------------------------


# --- training --------------------------------------------------------------------------------------------------------


def test_train_then_evaluate_gives_the_same_metrics(table: list[str], folder: Path) -> None:
    result = beft("train", *table, "--terms", "v", "q", "--eval-file", "films.csv", "--json")
    assert result.status == 0, result.err
    document = result.json
    assert document["file"] == "films-v-q-seed0.beft.safetensors"
    assert document["terms"] == ["q", "v"]
    assert document["trained_parameters"] == 2 * 6 * 384
    assert document["percentage"] == pytest.approx(100 * 2 * 6 * 384 / document["total_parameters"])
    assert document["seconds"] > 0
    snapshot = read_snapshot(folder / document["file"])
    assert list(snapshot.meta.metrics) == document["metrics"]

    evaluated = beft("evaluate", document["file"], *table[:-6], "--eval-file", "films.csv", "--device", "cpu", "--json")
    assert evaluated.status == 0, evaluated.err
    last = document["metrics"][-1]
    assert evaluated.json["metrics"] == pytest.approx({name: last[name] for name in evaluated.json["metrics"]})

    # A default name never replaces a file, unless it is told to.
    before = (folder / document["file"]).read_bytes()
    again = beft("train", *table, "--terms", "v", "q", "--eval-file", "films.csv", "--force")
    assert again.status == 0
    assert "replaced films-v-q-seed0.beft.safetensors" in again.err
    assert "train_loss" in again.out
    assert "4,608 of 22,713,216 parameters (0.020 %)" in again.out
    assert (folder / document["file"]).read_bytes() == before


def test_select_then_train(table: list[str], folder: Path) -> None:
    result = beft("select", *table, "--then-train", "--check", "--out", "probe.beft.safetensors", "--json")
    assert result.status == 0, result.err
    document = result.json
    winner = document["selected"]["projection_ratio"]
    assert winner in ("q", "v")
    assert document["null_terms"] == ["k"]
    assert {row["approach"] for row in document["means"]} == set(document["selected"])
    assert len(document["means"]) == 8 * 5 + 3  # the relative output change is one of q, k and v alone
    assert set(document["check"]["values"]) == {"q", "k", "v"} and document["check"]["null"] == ["k"]
    assert document["check"]["right"]["projection_ratio"] in (True, False)
    assert document["trained"]["terms"] == [winner]
    assert document["trained"]["file"] == f"films-{winner}-seed0.beft.safetensors"
    assert read_snapshot(folder / document["trained"]["file"]).meta.trained_terms == (winner,)

    # The file holds what was printed, and score shows it in the same way.
    scored = beft("score", "probe.beft.safetensors", "--json").json["files"][0]
    assert scored["means"] == document["means"]
    assert scored["selected"]["encoder"] == document["selected"]


def test_select_on_a_language_model_without_biases(folder: Path) -> None:
    """It adds the three that it compares; the paper's score is 1 wherever they end, so nothing is trained then."""
    write_decoder(folder / "tiny")
    write_reviews(folder / "films.jsonl")
    asked = ["--train-file", "films.jsonl", "--prompt", "{review} It was", "--candidates", "pos", "neg"]
    words = ["--model", "tiny", *asked, "--label", "verdict", "--epochs", "1", "--device", "cpu", "--then-train"]
    result = beft("select", *words, "--out", "probe.beft.safetensors", "--json")
    assert result.status == 0, result.err
    assert "zero ones are added and trained (--add-bias q k v)" in result.err
    assert "nothing was trained afterwards: the projection ratio selects no term; try beft train --add-" in result.err
    selected = result.json["selected"]
    assert selected["projection_ratio"] is None and selected["magnitude"] in ("q", "k", "v")
    assert read_snapshot(folder / "probe.beft.safetensors").meta.trained_terms == ("q", "k", "v")
    refused = assert_refused(beft("train", *words[:-1], "--terms", "all"))
    assert "without a bias term" in refused and "--add-bias q k v" in refused


def test_select_prints_the_ranking(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from beft_core.scores.table import score_snapshot

    probe = example(full=True, null_terms=("k",), n_train=32, mode="all", trained_parameters=72, total_parameters=7200)
    scores = score_snapshot(probe)
    selection = workflow.Selection(probe, scores, scores.selected())
    monkeypatch.setattr("beft_core.training.workflow.select", lambda *_, **__: selection)
    result = beft("select")
    assert result.status == 0
    row = next(line for line in result.out.splitlines() if line.strip().startswith("v "))
    ranks = [scores.means.query("term == 'v' and approach == @key")["rank"].item() for key in scores.approaches]
    assert [int(cell) for cell in row.split()[2::2]] == ranks  # a column of its own beside each score
    assert "k null*" in result.out
    assert "* cannot change any output of this model" in result.out
    assert f"Fisher selects {scores.selected()['fisher']}" in result.out
    assert "72 of 7,200 parameters (1.000 %)" in result.out
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("any_rate")
def test_a_diverging_fine_tune_is_one_line_and_no_file(table: list[str], folder: Path) -> None:
    result = beft("train", *table, "--lr", "1e38", "--epochs", "5", "--clip", "0", "--out", "v.beft.safetensors")
    assert result.status == 1
    assert result.err.splitlines()[-1].startswith("beft: The fine-tune diverged")
    assert "Traceback" not in result.err
    assert not (folder / "v.beft.safetensors").exists()


def test_ctrl_c_keeps_what_was_trained(folder: Path) -> None:
    words = ["train", "--n-train", "8", "--epochs", "10000", "--max-length", "16", "--evaluate-when", "never"]
    command = prepared.start([*words, "--device", "cpu", "--out", "v.beft.safetensors", "--json"], folder / "says")
    try:
        while command.running() and "epoch 1:" not in command.said():
            time.sleep(0.01)
        command.interrupt()
        assert command.wait(120) == 130
    finally:
        command.kill()
    out, err = command.stdout.read_text(), command.said()
    assert "stopping after this step" in err
    assert "stopped early; what was trained until then is kept" in err
    assert "Traceback" not in err
    assert '"stopped_early": true' in out
    snapshot = read_snapshot(folder / "v.beft.safetensors")
    assert snapshot.meta.hyperparameters["stopped_early"] is True
    assert 2 <= snapshot.meta.hyperparameters["steps"] < 20_000
    assert not np.array_equal(snapshot.pre("encoder", "v"), snapshot.post("encoder", "v"))


# --- reading ---------------------------------------------------------------------------------------------------------


# --- merging and exchange --------------------------------------------------------------------------------------------


def test_merge_evaluates_every_row_with_each_tasks_own_head(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = ("demo-sentiment", "demo-entailment")
    files = [
        stored(
            folder, name=task, seed=n, task=task, trained_terms=("v",), full=True, hyperparameters={"max_length": 64}
        )
        for n, task in enumerate(tasks, 1)
    ]

    model = load_model("bundled")
    monkeypatch.setattr("beft_core.merging.evaluate.load_base", lambda snapshot, config: model)

    def fake(_: LoadedModel, head: dict[str, np.ndarray], *args: Any) -> Callable[[], dict[str, float]]:
        _, evals, max_length, *_, logits = args
        assert max_length == 64

        def score() -> dict[str, float]:
            shape = len(head["head.weight"])
            logits.update({name: np.zeros((len(examples), shape), np.float32) for name, examples in evals.items()})
            return {"accuracy": float(written[-1]["encoder", "v"].sum()), "head": float(head["head.weight"].sum())}

        return score

    written: list[Any] = []
    monkeypatch.setattr(merge_evaluation, "write_biases", lambda _, values: written.append(values))
    monkeypatch.setattr("beft_core.merging.evaluate.scorer", fake)
    result = beft("merge", *files, "--evaluate", "--json")
    assert result.status == 0, result.err
    rows = result.json["evaluation"]
    assert [row["model"] for row in rows] == ["base model", *tasks, "merged"]
    sources = [read_snapshot(file) for file in files]
    sums = [float(base()["encoder", "v"].sum()), *(float(s.post("encoder", "v").sum()) for s in sources)]
    sums.append((sums[1] + sums[2]) / 2)
    for row, expected in zip(rows, sums, strict=True):
        for task, source in zip(tasks, sources, strict=True):
            assert row["tasks"][task]["accuracy"] == pytest.approx(expected, abs=1e-4)
            assert row["tasks"][task]["head"] == float(source.extra[f"extra.{task}.head.weight"].sum())
    text = beft("merge", *files, "--evaluate").out
    assert "each task with its own head, in %" in text
    assert "base model" in text


# --- the process -----------------------------------------------------------------------------------------------------


def test_reading_never_imports_torch(folder: Path) -> None:
    files = [str(stored(folder, name=str(n), seed=n)) for n in (1, 2)]
    commands = [
        ["--help"],
        ["tasks"],
        ["train", "--help"],
        ["score", *files],
        ["inspect", files[0]],
        ["merge", *files],
        ["extract", "bundled", "bundled", "--out", "e.beft.safetensors"],
    ]
    script = (
        "import sys\n"
        "from beft_core.cli import main\n"
        f"for words in {commands!r}:\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, (words, end.code)\n"
        "    heavy = {'torch', 'transformers', 'datasets', 'streamlit'} & set(sys.modules)\n"
        "    assert not heavy, (words, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m beft_core tasks --json | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=folder, check=False)
    assert done.stdout.startswith("[")
    assert done.stderr == ""


def test_python_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "beft_core", "train", "--task", "sst3"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# --- one at a time, and a full disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "select"])
def test_the_second_fine_tune_on_a_checkpoint_is_told_who_has_it(command: str, table: list[str], folder: Path) -> None:
    with held(folder / "state"):
        line = assert_refused(beft(command, *table, "--checkpoint", "state", "--out", "a.beft.safetensors"))
    assert f"in use by process {os.getpid()}, since 2" in line and "another --checkpoint" in line
    assert not (folder / "a.beft.safetensors").exists()


def test_a_disk_that_is_full_at_the_end_is_told_and_loses_nothing(
    table: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("BEFT_WAIT_FOR_ROOM", "0.02")
    command = ["train", *table, "--checkpoint", "state", "--out", "a.beft.safetensors"]
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "a.beft.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        result = beft(*command)
    *_, waiting, kept, last = result.err.splitlines()
    assert result.status == 1 and last.startswith("beft: cannot write a.beft.safetensors: the disk is full (")
    assert "free); expected room for" in last and f"on the disk of {folder}, then the same again" in last
    assert waiting.endswith("seconds for room") and "kept in state: the same command goes on from there" in kept
    again = beft(*command)
    assert again.status == 0 and "resumed after step" in again.err and read_snapshot(folder / "a.beft.safetensors")
