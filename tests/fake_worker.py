"""A worker process whose workflow is a play: ``python tests/fake_worker.py RUN_DIR``; the config names the act."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.execution import cancel, worker
from beft_core.execution.workflows import Outcome
from beft_core.files import disk
from beft_core.merging.config import MergeConfig, read_sources
from beft_core.merging.curve import line_label
from beft_core.merging.plan import plan, tasks_of
from beft_core.merging.result import MergeResult, TaskScored
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import ModelInfo, Snapshot, SnapshotMeta, fingerprint
from beft_core.sweeps import grouping
from beft_core.sweeps.rows import MEMORY_RAN_OUT, plan_columns
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import renew
from beft_core.sweeps.spec import SweepSpec, identity, trains
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer
from beft_core.training.progress.checkpoint import Checkpoint

cancel.TERMINATE_AFTER, cancel.KILL_AFTER, worker.WATCH_SECONDS = 0.4, 1.6, 0.1


def small_snapshot(seed: int = 0, layers: int = 6, width: int = 16) -> Snapshot:
    """A probe with made-up biases: a null k and a v that moves most."""
    rng = np.random.default_rng(seed)
    terms = ("q", "k", "v", "o", "mlp_in", "mlp_out", "ln1", "ln2")
    pre = {("encoder", t): rng.normal(size=(layers, width)).astype(np.float32) for t in terms}
    share = {"k": 0.0, "v": 1.5, "q": 0.6}
    post = {
        key: value + share.get(key[1], 0.3) * rng.normal(size=value.shape).astype(np.float32)
        for key, value in pre.items()
    }
    fisher = {key: rng.random(value.shape).astype(np.float32) * (key[1] != "k") for key, value in pre.items()}
    meta = SnapshotMeta(
        model=ModelInfo("bundled", None, "bert", layers, width, fingerprint(pre)),
        task="demo-sentiment",
        n_train=300,
        mode="all",
        trained_terms=tuple(t for t in terms if t != "k"),
        hyperparameters={"lr": 2e-3, "epochs": 2, "steps": 40},
        seed=seed,
        metric="accuracy",
        metrics=({"epoch": 1, "train_loss": 0.6, "accuracy": 0.7}, {"epoch": 2, "train_loss": 0.4, "accuracy": 0.8}),
        null_terms=("k",),
        versions={"beft-lab": "0.1.0"},
        device="cpu",
    )
    return Snapshot.build(meta, pre, post, fisher=fisher, fisher_batch={k: v / 8 for k, v in fisher.items()})


def played_merge(config: dict[str, Any], observer: Observer, folder: Path) -> tuple[Snapshot, dict[str, Any]]:
    """A real merge with made-up scores: a function of the biases alone."""
    made = MergeConfig.from_dict({name: value for name, value in config.items() if name not in ("act", "pause")})
    snapshots = read_sources(made, folder)
    work = plan(snapshots, made)
    tasks = tasks_of(snapshots)[0]
    observer.stage("evaluate", len(work.values) * len(tasks))
    for _ in range(len(work.values) * len(tasks)):
        time.sleep(config.get("pause", 0.0))
        observer.advance()

    def scores(key: str) -> dict[str, dict[str, float | None]]:
        return {task: {"accuracy": int(key[4 * at : 4 * at + 4], 16) / 2**16} for at, task in enumerate(tasks)}

    result = MergeResult(
        tasks={task: TaskScored("accuracy", 50, 500, "made up") for task in tasks},
        rows={row: scores(key) for row, key in work.rows.items()},
        line=[(x, scores(key)) for x, key in work.line],
        position=work.position,
        parameter=line_label(made.method, list(work.rows)[1:]),
        left_out={},
        evaluations=len(work.values) * len(tasks),
        seconds=1.0,
        device="cpu",
        versions={"torch": "0"},
    )
    return work.merged, result.to_dict()


def played_sweep(config: dict[str, Any], observer: Observer, folder: Path) -> dict[str, Any]:
    """A sweep of made-up numbers, in banks of 4: of b_v 0.8, of everything else 0.6, and 0.01 more for every seed.

    ``fails``: what is trained in fine-tunes that fail. ``lacks``: for what there is no memory when it is first tried.
    """
    own = ("act", "pause", "fails", "lacks")
    spec = SweepSpec.from_dict({k: v for k, v in config.items() if k not in own})
    runs, store = spec.runs(), SweepFolder(Run(folder).sweep)
    store.begin(spec)
    renew(store, runs, Kept(snapshots=False), observer.message)
    done = store.finished(runs)
    pending = [run for run in runs if identity(run) not in done]
    observer.stage("train", 10 * len(pending))
    stopped = False
    for bank in grouping.group(pending, 4):
        observer.message(f"{len(bank)} fine-tunes in one pass")
        for _ in range(10 * len(bank)):
            time.sleep(config.get("pause", 0.001))
            observer.advance()
            stopped = stopped or observer.should_stop()
        if stopped:
            break
        for run in bank:
            row = {**plan_columns(run), "state": "done", "metric": "accuracy", "seconds": 1.0}
            if trains(run) in config.get("fails", ()):
                row |= {"state": "failed", "failure": "the loss is not a number"}
            elif trains(run) in config.get("lacks", ()) and identity(run) not in store.all_rows([run]):
                row |= {"state": "failed", "failure": MEMORY_RAN_OUT}
            else:
                row["value"] = row["best_value"] = 0.6 + 0.2 * (trains(run) == "v") + run.seed / 100
            if run.mode == "all":
                row["selected.projection_ratio"] = "v"
            store.save(row, None)
        store.write_table(runs)
    failed = sum(row["state"] == "failed" for row in store.finished(runs).values())
    return {
        "runs": len(runs),
        "trained": len(pending),
        "failed": failed,
        "banks": 1,
        "seconds": 1.0,
        "stopped": stopped,
    }


def fill_disk(failures: dict[str, int]) -> None:
    """From now on, files of these names find no room so often, by their last step."""
    real = Path.replace
    disk.RETRY_SECONDS = 0.02

    def replace(self: Path, target: Path) -> Path:
        if failures.get(target.name, 0) > 0:
            failures[target.name] -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, target)

    Path.replace = replace  # type: ignore[assignment]


def play(kind: str, config: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Behave as ``config["act"]`` says."""
    act = config.get("act", "train")
    observer.stage("load model")
    if act == "crash":
        raise ZeroDivisionError("a defect")
    if act == "wrong":
        raise UserError("got 3 layers", "6", "another model")
    if act == "memory":
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 TB")
    if act == "checkpoint":
        Checkpoint(checkpoint, "this fine-tune").load()
    if act == "segfault":
        signal.raise_signal(signal.SIGSEGV)
    if act == "tokenise":
        observer.stage("tokenise", 10_000)
        for _ in range(10_000):
            time.sleep(0.01)
            observer.advance()
    if act == "deaf":
        while True:
            time.sleep(0.05)
    if act == "parent":
        child = subprocess.Popen(["sleep", "60"])
        (checkpoint.parent / "child").write_text(str(child.pid))
    if act in ("stubborn", "parent"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.05)
    if kind == "merge":
        return played_merge(config, observer, checkpoint.parent)
    if kind == "sweep":
        return None, played_sweep(config, observer, checkpoint.parent)
    steps = config.get("steps", 20)
    observer.stage("train", steps)
    for step in range(1, steps + 1):
        if observer.should_stop():
            break
        time.sleep(config.get("pause", 0.01))
        observer.step(step, steps, [1.0 / step])
        observer.advance()
    observer.epoch({"epoch": 1, "train_loss": 0.5, "accuracy": 0.9})
    if act == "full disk":
        fill_disk(config["failures"])
    return small_snapshot(), {"selected": {"projection_ratio": "v"}} if kind == "select" else None


if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:], workflow=play))
