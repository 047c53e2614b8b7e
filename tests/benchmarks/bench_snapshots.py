"""Reading and scoring 100 snapshots of BERT-base size (all eight terms), against the plain way with other
tools.

Run: ``python tests/benchmarks/bench_snapshots.py``. Target: under one second on one core, without torch.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import ModelInfo, Snapshot, SnapshotMeta, fingerprint, read_snapshot, write_snapshot
from beft_core.terms import TERM_KEYS

COUNT, LAYERS, HIDDEN, MLP = 100, 12, 768, 3072
REPEATS = 5


def write_files(folder: Path) -> list[Path]:
    """As many different snapshots of BERT-base's shape."""
    rng = np.random.default_rng(0)
    widths = {term: MLP if term == "mlp_in" else HIDDEN for term in TERM_KEYS}
    pre = {("encoder", t): rng.standard_normal((LAYERS, w)).astype(np.float32) for t, w in widths.items()}
    model = ModelInfo("bert-base", None, "bert", LAYERS, HIDDEN, fingerprint(pre))
    meta = SnapshotMeta(model=model, task="sst2", mode="all", trained_terms=TERM_KEYS, null_terms=("k",))
    paths = []
    for number in range(COUNT):
        post = {key: array + rng.standard_normal(array.shape).astype(np.float32) for key, array in pre.items()}
        paths.append(folder / f"{number}.beft.safetensors")
        write_snapshot(paths[-1], Snapshot.build(meta, pre, post))
    return paths


def ours(paths: list[Path]) -> list[dict[str, float]]:
    """Means of the projection ratio; the same pass measures both Magnitudes and the geometry."""
    tables = [score_snapshot(read_snapshot(path)) for path in paths]
    return [table.mean_scores("projection_ratio") for table in tables]


def ours_with_tables(paths: list[Path]) -> list[Any]:
    """The same, up to the pandas tables that users see."""
    return [score_snapshot(read_snapshot(path)).means for path in paths]


def library_and_numpy(paths: list[Path]) -> list[dict[str, float]]:
    """The safetensors library and one line of numpy per score, in float64; nothing is checked."""
    from safetensors import safe_open

    results = []
    for path in paths:
        means = {}
        with safe_open(path, framework="np") as file:
            for term in TERM_KEYS:
                pre, post = (file.get_tensor(f"encoder.{term}.{part}").astype(float) for part in ("pre", "post"))
                norms = np.maximum(np.linalg.norm(pre, axis=1), np.linalg.norm(post, axis=1))
                means[term] = float((1 - (pre * post).sum(axis=1) / norms**2).mean())
                np.abs(post - pre).sum(axis=1).mean()
        results.append(means)
    return results


def library_and_pandas(paths: list[Path]) -> list[dict[str, float]]:
    """The safetensors library, and a table of layers to which the scores are applied row by row."""
    import pandas as pd
    from safetensors import safe_open

    def score(row: Any) -> Any:
        pre, post = row["pre"].astype(float), row["post"].astype(float)
        ratio = 1 - pre @ post / max(np.linalg.norm(pre), np.linalg.norm(post)) ** 2
        return pd.Series({"projection_ratio": ratio, "magnitude": np.abs(post - pre).sum()})

    results = []
    for path in paths:
        rows = []
        with safe_open(path, framework="np") as file:
            for term in TERM_KEYS:
                pre, post = (file.get_tensor(f"encoder.{term}.{part}") for part in ("pre", "post"))
                rows += [{"term": term, "pre": a, "post": b} for a, b in zip(pre, post, strict=True)]
        frame = pd.DataFrame(rows)
        scores = frame.join(frame.apply(score, axis=1))
        means = scores.groupby("term", sort=False)["projection_ratio"].mean()
        results.append({str(term): float(value) for term, value in means.items()})
    return results


def seconds(function: Callable[[list[Path]], Any], paths: list[Path]) -> tuple[float, Any]:
    """Best of a few repeats, and the result."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = function(paths)
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder))
        size = sum(path.stat().st_size for path in paths) / 1e6
        best, scores = seconds(ours, paths)
        loaded = {"torch", "pandas"} & sys.modules.keys()
        assert not loaded, f"scoring imported {loaded}"
        rows = [("beft_core: three scores, everything checked", best)]
        rows.append(("beft_core, with pandas tables", seconds(ours_with_tables, paths)[0]))
        for label, peer in (
            ("safe_open and numpy: two scores, no checks", library_and_numpy),
            ("safe_open and pandas: the same, row by row", library_and_pandas),
        ):
            peer_seconds, peer_scores = seconds(peer, paths)
            rows.append((label, peer_seconds))
            for mine, theirs in zip(scores, peer_scores, strict=True):
                assert all(abs(mine[term] - theirs[term]) < 1e-12 for term in TERM_KEYS)
        assert "torch" not in sys.modules
    print(f"{COUNT} snapshots, {len(TERM_KEYS)} terms, {LAYERS} layers, {size:.0f} MB; one core, warm files")
    print(f"{'read and score':<46}{'seconds':>9}{'times':>8}")
    for label, value in rows:
        print(f"{label:<46}{value:>9.3f}{value / best:>8.1f}")


if __name__ == "__main__":
    main()
