"""Every command at 80 columns: no line is wider, and no first column is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_runner import Result, beft, unchecked
from example_snapshots import base, example
from rich.cells import cell_len

from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from beft_core.terms import TERM_KEYS
from beft_core.training import workflow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with snapshots of all terms, of many layers, and the bundled ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "samples").symlink_to(ROOT / "sample_snapshots")
    pre = base(terms=TERM_KEYS)
    for seed, task in enumerate(("demo-acceptability", "demo-similarity"), 1):
        post = {key: array * (1 + seed * (at + 1) / 9) for at, (key, array) in enumerate(pre.items())}
        meta = example(pre=pre, task=task, seed=seed, null_terms=("k",), trained_terms=TERM_KEYS, n_train=300).meta
        write_snapshot(tmp_path / f"{task}.beft.safetensors", Snapshot.build(meta, pre, post))
    return tmp_path


FILES = ["demo-acceptability.beft.safetensors", "demo-similarity.beft.safetensors"]
PROBES = [f"samples/sst2-low-seed{seed}-probe.beft.safetensors" for seed in (0, 1, 2)]
COMMANDS: dict[str, list[str]] = {
    "score": ["score", *FILES, "--per-layer"],
    "score of a probe": ["score", *PROBES, "--per-layer"],
    "inspect": ["inspect", PROBES[0]],
    "models": ["models"],
    "tasks": ["tasks"],
    "merge": ["merge", *FILES, "--method", "ties"],
    "extract": ["extract", "bundled", "bundled", "--out", "e.beft.safetensors"],
    "report": ["report", "samples/sweep-results.parquet"],
    "report at one rate": ["report", "samples/sweep-results.parquet", "--lr", "same"],
}


def narrow(result: Result) -> str:
    assert result.status == 0, result.err
    wide = [line for line in result.out.splitlines() if cell_len(line) > 80]
    assert not wide and "…" not in result.out
    return result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_reading_fits(name: str) -> None:
    out = narrow(beft(*COMMANDS[name]))
    if name.startswith("score"):
        starts = {line.split()[0] for line in out.splitlines() if line.startswith("  ") and line.split()}
        assert set(TERM_KEYS) <= starts


def test_training_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    unchecked(monkeypatch)
    epochs = (
        {"epoch": 1, "step": 12345, "train_loss": 0.5, "matthews_correlation": 0.1, "spearman": 0.2, "pearson": 0.3},
    )
    sizes: dict[str, Any] = {"trained_parameters": 2304, "total_parameters": 22_713_216, "metrics": epochs}
    trained = example(full=True, null_terms=("k",), task="demo-acceptability", mode="all", **sizes)
    scores = score_snapshot(trained)
    monkeypatch.setattr(workflow, "train", lambda *_, **__: trained)
    monkeypatch.setattr(workflow, "select", lambda *_, **__: workflow.Selection(trained, scores, scores.selected()))
    assert "snapshot: v.beft.safetensors" in narrow(beft("train", "--out", "v.beft.safetensors"))
    assert "Fisher selects" in narrow(beft("select", "--out", "p.beft.safetensors"))


def test_evaluating_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.cli.evaluation.locate", lambda _: None)
    monkeypatch.setattr("beft_core.cli.evaluation.head_of", lambda *_: {})
    metrics = {"matthews_correlation": 0.25, "accuracy": 0.5}
    monkeypatch.setattr("beft_core.training.evaluate.evaluate", lambda *_, **__: metrics)
    assert "0.2500" in narrow(beft("evaluate", FILES[0], "--task", "demo-acceptability"))


def test_a_sweep_fits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from sweep_tables import make_results

    from beft_core.cli import sweep

    table = make_results(tasks=("rte",), regimes=("low",), lrs=(1e-4,), trains=("v", "q", "all"))
    table["task"] = "demo-acceptability"
    table.loc[(table["trains"] == "q") & (table["seed"] == 2), ["state", "value"]] = ["failed", None]
    sweep._print(table)
    out = narrow(Result(0, capsys.readouterr().out, ""))
    assert out.count("demo-acceptability") in (3, 6)  # once, or twice where columns have moved below
