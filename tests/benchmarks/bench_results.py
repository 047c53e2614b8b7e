"""A result table of 100,000 fine-tunes: seconds of reading it, of opening the pages that show it and of filtering
there, and the memory that takes.

Run: ``python tests/benchmarks/bench_results.py [ROWS] [--only PART]``. The rows are made up, but have the columns, the
types and the shape of a real sweep: 8 tasks, 4 regimes, 6 kinds of fine-tunes, 10 learning rates and as many seeds as
it takes. Times of pages are the server's, by Streamlit's test runner in a process of its own; on a busy machine the
seconds of processors say more, those of the process that unpacks the file among them. Targets: opens in under 2 s,
filters in under 0.3 s, server under 500 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT)]

from beft_core.runs.run import Run  # noqa: E402
from beft_core.runs.status import Status  # noqa: E402
from beft_core.scores.approaches import of_probes  # noqa: E402
from beft_core.sweeps.seed_means import over_seeds  # noqa: E402
from beft_core.sweeps.spec import SweepSpec  # noqa: E402
from beft_core.sweeps.table import COLUMNS, NAME, read_table, write_table  # noqa: E402
from beft_core.tasks.registry import TASKS  # noqa: E402
from beft_core.terms import CANDIDATES, TERM_KEYS  # noqa: E402

MODELS = ("bundled",)
GRID = ("sst2", "rte", "cola", "mrpc", "stsb", "qqp", "qnli", "mnli")
REGIMES = ("low", "medium", "high", "all")
TRAINS = ("v", "q", "k", "all", "head", "full")
RATES = (1e-5, 4e-5, 1e-4, 2e-4, 4e-4, 1e-3, 2e-3, 4e-3, 1e-2, 2e-2)
LEVEL = {"v": 0.8, "q": 0.77, "k": 0.62, "all": 0.82, "head": 0.6, "full": 0.85}
EPOCHS = 10


def make(rows: int) -> pd.DataFrame:
    """A table of so many fine-tunes, the same each time."""
    rng = np.random.default_rng(0)
    cells = list(product(MODELS, GRID, REGIMES, TRAINS, RATES))
    seeds = max(1, rows // len(cells))
    grid = pd.DataFrame(cells, columns=["model", "task", "regime", "trains", "lr"])
    table = grid.loc[grid.index.repeat(seeds)].reset_index(drop=True)
    table["seed"] = np.tile(np.arange(seeds), len(cells))
    table = table.iloc[:rows].copy()
    count = len(table)
    sizes = {(task, regime): TASKS[task].regimes.get(regime) or 60_000 for task in GRID for regime in REGIMES}
    table["n_train"] = [sizes[key] for key in zip(table["task"], table["regime"], strict=True)]
    level = table["trains"].map(LEVEL) + 0.02 * table["regime"].map(REGIMES.index) + rng.normal(0, 0.01, count)
    curves = level.to_numpy()[:, None] - 0.01 * np.arange(EPOCHS)[::-1] + rng.normal(0, 0.004, (count, EPOCHS))
    failed = rng.random(count) < 0.01
    fixed: dict[str, Any] = {
        "run": [f"{number:016x}" for number in rng.integers(0, 2**63, count)],
        "epochs": EPOCHS,
        "schedule": "constant",
        "adam_epsilon": 1e-6,
        "adam_epsilon_at": "before",
        "batch_size": 16,
        "precision": "float32",
        "state": np.where(failed, "failed", "done"),
        "failure": np.where(failed, "the loss is not a number", None),
        "metric": table["task"].map(lambda task: TASKS[task].metrics[0]),
        "value": np.where(failed, np.nan, curves[:, -1]),
        "best_value": np.where(failed, np.nan, curves.max(1)),
        "best_epoch": curves.argmax(1) + 1.0,
        "curve": [json.dumps([round(float(value), 16) for value in curve]) for curve in curves],
        "train_loss": rng.random(count),
        "steps": EPOCHS * -(-table["n_train"] // 16),
        "trained_parameters": 9216,
        "total_parameters": 107_719_680,
        "seconds": rng.random(count) * 60,
        "bank_runs": 128,
        "peak_bytes": 2_000_000_000.0,
        "device": "NVIDIA H200",
        "null_terms": "k",
        "snapshot": [f"{number:016x}.beft.safetensors" for number in range(count)],
    }
    probe = (table["trains"] == "all").to_numpy() & ~failed
    for approach in of_probes():
        scores = rng.random((count, len(TERM_KEYS))) + 0.5 * (np.array(TERM_KEYS) == "v")
        ranks = (-scores).argsort(1).argsort(1) + 1.0
        for at, term in enumerate(TERM_KEYS):
            fixed[f"{approach}.{term}"] = np.where(probe, scores[:, at], np.nan)
            fixed[f"rank.{approach}.{term}"] = np.where(probe, ranks[:, at], np.nan)
        candidates = scores[:, [TERM_KEYS.index(term) for term in CANDIDATES]].argmax(1)
        fixed[f"selected.{approach}"] = np.where(probe, np.array(CANDIDATES)[candidates], None)
        fixed[f"settled.{approach}"] = np.where(probe, rng.random(count), np.nan)
    fixed |= {f"pre_norm.{term}": 1.0 + at for at, term in enumerate(TERM_KEYS)}
    return pd.concat([table, pd.DataFrame(fixed, index=table.index)], axis=1)[list(COLUMNS)]


def best(work: Callable[[], Any], times: int = 3) -> float:
    """Least seconds of some tries."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def memory() -> float:
    """Megabytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """Most megabytes that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare(folder: Path, rows: int) -> None:
    """A home folder with one finished sweep of so many rows."""
    home = folder / "home"
    spec = SweepSpec(
        GRID,
        REGIMES,
        terms=TRAINS,
        lrs=RATES,
        seeds=tuple(range(max(1, rows // (len(GRID) * len(REGIMES) * len(TRAINS) * len(RATES))))),
    )
    run = Run.create("sweep", spec.to_dict(), home)
    run.sweep.mkdir(parents=True, exist_ok=True)
    (run.sweep / "sweep.json").write_text(json.dumps({"version": 2, **spec.to_dict()}))
    began = time.perf_counter()
    table = make(rows)
    print(f"made {len(table):,} rows in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    write_table(table, run.sweep)
    size = (run.sweep / f"{NAME}.parquet").stat().st_size / 2**20
    print(f"written in {time.perf_counter() - began:.1f} s: {size:.1f} MB as Parquet")
    now = time.time()
    run.write_status(Status("done", created=now, began=now - 40, ended=now, device="cpu"))


def engine(folder: Path) -> None:
    """Reading and what the tables are made of, without any page."""
    path = next((folder / "home").rglob(f"{NAME}.parquet"))
    before = memory()
    table = read_table(path)
    print(f"read_table: {best(lambda: read_table(path), 2):.2f} s, {memory() - before:.0f} MB more")
    print(f"over_seeds: {best(lambda: over_seeds(table), 1):.2f} s")


PAGE_RUN = """
import os, resource, sys, time
sys.path.insert(0, {root!r})
import streamlit
from streamlit.testing.v1 import AppTest
def run(app):
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    app.run(timeout=300)
    assert not app.exception, app.exception
    return time.perf_counter() - began, sum(os.times()[:4]) - cpu
def said(what, times):
    print(what + ":", "; ".join("%.2f s (%.2f s of processors)" % one for one in times))
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
def visitor():
    app = AppTest.from_file({app!r}, default_timeout=300)
    run(app)
    app.switch_page({page!r})
    for name, value in {query!r}.items():
        app.query_params[name] = value
    return app
run(visitor())  # all is imported then, as in a server that has run for a while
print("memory with the table once read: %.0f MB" % memory())
app = visitor()
streamlit.cache_resource.clear()
streamlit.cache_data.clear()
said("opens", [run(app)])
said("again", [run(app)])
times = []
for name, key, values in {filters!r}:
    for value in values:
        (found,) = [one for one in getattr(app, name) if one.key == key]
        found.set_value(value)
        times.append(run(app))
if times:
    said("another filter", times)
said("the next visitor", [run(visitor())])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print("memory with the table read again: %.0f MB, at most %.0f MB" % (memory(), peak))
"""
"""Program of the process that is one page's server."""


def page(folder: Path, name: str, query: dict[str, str], filters: Sequence[tuple[str, str, Sequence[Any]]]) -> None:
    """One page, in a process of its own."""
    from dashboard.shared.page import file_of

    script = PAGE_RUN.format(
        root=str(ROOT),
        app=str(ROOT / "dashboard" / "app.py"),
        page=str(file_of(name)),
        query=query,
        filters=list(filters),
    )
    environment = {**os.environ, "BEFT_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    print(f"{name} {query or ''}:", *(done.stdout.strip().splitlines() or done.stderr.splitlines()[-8:]), sep="\n  ")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=100_000)
    parser.add_argument("--only", choices=("engine", "sweep", "evaluation"))
    parser.add_argument("--keep", type=Path, help="folder that is made once and used again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        if not (folder / "home").exists():
            prepare(folder, given.rows)
        run = next((folder / "home" / "runs").iterdir()).name
        if given.only in (None, "engine"):
            engine(folder)
        if given.only in (None, "sweep"):
            filters = [("selectbox", "rows_task", ["sst2", "cola"]), ("selectbox", "rows_trained", ["v"])]
            page(folder, "sweep", {"sweep_run": run}, filters)
            page(folder, "sweep", {"sweep_run": run, "sweep_rows": "every fine-tune"}, filters)
        if given.only in (None, "evaluation"):
            title = f"Run {run[-6:]}: sweep"
            page(folder, "evaluation", {"results": title, "part": "Table 1"}, [])


if __name__ == "__main__":
    main()
