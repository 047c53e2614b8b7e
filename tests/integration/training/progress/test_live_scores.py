"""Scores that grow while a fine-tune runs: right, rare, and without any effect on what is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny
from training_tools import config, fit

from beft_core.execution.reporter import Reporter
from beft_core.runs.run import Run
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision
from beft_core.training.progress import live_scores
from beft_core.training.progress.live_scores import LiveScores


class Listener(Observer):
    wants_scores = True

    def __init__(self) -> None:
        self.heard: dict[int, Any] = {}

    def scores(self, step: int, table: Mapping[str, Mapping[str, float]]) -> None:
        self.heard[step] = table


def file_of(snapshot: Snapshot, path: Path) -> bytes:
    write_snapshot(path, snapshot)
    return path.read_bytes()


@pytest.mark.parametrize("mode", ["terms", "all", "full"])
def test_listening_changes_no_byte(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_scores, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(live_scores, "COST_SHARE", 1e9)
    run = config(mode=mode, dropout=True, trajectory_every=2)
    listener = Listener()
    (heard,), (unheard,) = fit("bert", run, observer=listener), fit("bert", run)
    assert file_of(heard, tmp_path / "a.beft.safetensors") == file_of(unheard, tmp_path / "b.beft.safetensors")
    assert list(listener.heard) == ([] if mode == "full" else list(range(1, 7)))


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_the_last_scores_are_those_of_the_snapshot(name: str) -> None:
    listener = Listener()
    (snapshot,) = fit(name, config(mode="all"), observer=listener)
    final = score_snapshot(snapshot)
    last = listener.heard[max(listener.heard)]
    assert set(last) == set(snapshot.meta.trained_terms)
    for term, scores in last.items():
        assert set(scores) == {"projection_ratio", "magnitude", "magnitude_mean_abs"}
        for approach, value in scores.items():
            assert value == pytest.approx(final.mean_scores(approach)[term], rel=1e-9), (term, approach)


def test_layers_that_are_not_trained_count_as_zero() -> None:
    listener = Listener()
    (snapshot,) = fit("bert", config(layers=(1,)), observer=listener)
    pre, post = snapshot.pre("encoder", "v").astype(float), snapshot.post("encoder", "v").astype(float)
    mean = np.abs(post - pre).sum() / snapshot.meta.model.layers
    assert listener.heard[6]["v"]["magnitude"] == pytest.approx(mean, rel=1e-6) and mean > 0


def test_the_first_step_is_told_at_once_and_then_about_once_a_second() -> None:
    listener = Listener()
    fit("bert", config(epochs=20), observer=listener)
    assert next(iter(listener.heard)) == 1 and list(listener.heard)[-1] == 60
    assert len(listener.heard) <= 6


def test_a_bank_of_several_runs_tells_none() -> None:
    listener = Listener()
    fit("bert", config(), config(seed=1), observer=listener)
    assert not listener.heard


def test_scores_take_a_hundredth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def monotonic() -> float:
        now[0] += 0.5
        return now[0]

    # A module of time of its own: whoever else asks for the time meanwhile would move it on.
    monkeypatch.setattr(live_scores, "time", SimpleNamespace(monotonic=monotonic))
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    slots = [slot for slot in model.layout.slots if slot.term == "v"]
    bank = Bank(model, slots, runs=1, classes=2, precision=Precision("float32", torch.device("cpu")))
    live = LiveScores(bank, set(bank.parts))
    assert live.due() and live.table() is not None  # it took half a second
    ended = now[0]
    while not live.due():
        pass
    assert now[0] - ended == pytest.approx(50.0, abs=1.0)
    with torch.no_grad():
        bank.values[0, 0] = float("nan")
    assert live.table() is None


def test_the_reporter_writes_them_and_thins_them(tmp_path: Path) -> None:
    run = Run.create("train", {}, tmp_path)
    reporter = Reporter(run, "cpu")
    assert reporter.wants_scores and not Observer.wants_scores
    reporter.stage("train", 100)
    for step in range(1, 101):
        reporter.scores(step, {"v": {"magnitude": step / 3}})
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    scores = [record for record in records if record["type"] == "scores"]
    assert [record["step"] for record in scores] == [1, 100]
    assert scores[-1]["scores"] == {"v": {"magnitude": 100 / 3}} and "seconds" in scores[-1]
