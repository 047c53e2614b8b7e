"""Two workers of one sweep on this machine, killed (SIGKILL) at random moments: no row lost, none doubled, one table.

    PYTHONPATH=.:tests python tests/benchmarks/bench_kills.py [--kills 50] [--seconds 600] [--seed N] [--played]

Workers are real processes, forked from one that has PyTorch, so that a kill costs a second and not ten; with
``--played`` they take, hold and give back banks and write rows as real ones do, and sleep instead of training. A sweep
that ends before all kills are done is followed by another one in a new folder; each table is held against that of an
undisturbed sweep.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import prepared

from beft_core.sweeps.rows import plan_columns
from beft_core.sweeps.sharing.plan import Plan
from beft_core.sweeps.sharing.share import Share
from beft_core.sweeps.sharing.workers import Heart, workers_in
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import read_table

SEED = 20250915
SPEC = {
    "tasks": "demo-sentiment",
    "terms": ["v", "q", "head"],
    "lrs": [2e-3, 1e-2],
    "seeds": 4,
    "n_train": 16,
    "epochs": 4,
    "evaluate": "last",
    "n_eval": 32,
    "device": "cpu",
    "max_length": 16,
    "batch_size": 4,
}
BANK = 2
PAUSES = {"played": (0.1, 1.2), "real": (0.5, 6.0)}
"""Least and most seconds between two kills: a worker that trains takes seconds to its first step."""
Start = Callable[[SweepFolder, str], prepared.Command]
"""Way to start a worker, whose words go into a file of that name."""
OF_THE_MACHINE = ["seconds", "peak_bytes"]
ENVIRONMENT = {"BEFT_CHECKPOINT_SECONDS": "0.1", "BEFT_BEAT_SECONDS": "0.2", "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--played", action="store_true", help="sleep instead of training")
    args = parser.parse_args()
    rng, began = random.Random(args.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        start = start_played if args.played else start_real
        whole = table_of(run_to_end(root / "whole", start))
        print(f"undisturbed: {len(whole)} fine-tunes in {time.monotonic() - began:.0f} s", flush=True)
        kills = sweeps = 0
        trained = 0
        claims: Counter[int] = Counter()
        while kills < args.kills and time.monotonic() - began < args.seconds:
            folder = SweepFolder(root / f"killed-{sweeps}")
            kills += disturbed(folder, args.kills - kills, rng, began + args.seconds, start)
            table = table_of(folder)
            pd.testing.assert_frame_equal(table, whole, check_exact=True)
            assert len(list(folder.rows.glob("*.json"))) == len(whole) == table["run"].nunique()
            assert not list(folder.path.glob("bank-*"))
            trained += sum(one.trained for one in workers_in(folder.workers))
            claims.update(held(folder))
            sweeps += 1
    if not sweeps:
        raise SystemExit("no time was left for a sweep that is disturbed: --seconds")
    share = trained / (sweeps * len(whole))
    print(f"{kills} kills in {sweeps} sweeps of {len(whole)} fine-tunes, {time.monotonic() - began:.0f} s: same tables")
    print(f"banks by how often they were taken: {dict(sorted(claims.items()))}")
    print(f"fine-tunes that surviving workers finished, by those of the grids: {share:.2f}")


def start_real(folder: SweepFolder, name: str) -> prepared.Command:
    """Start a worker that trains."""
    words = ["worker", str(folder.path), "--wait", "--bank-size", str(BANK), "--workers", "2", "--no-snapshots"]
    return prepared.start(words, folder.path.parent / name, **ENVIRONMENT)


def start_played(folder: SweepFolder, name: str) -> prepared.Command:
    """Start a worker that sleeps instead of training."""
    process: Any = multiprocessing.get_context("fork").Process(target=play, args=(folder.path,), daemon=True)
    process.start()
    says = folder.path.parent / name
    return prepared.Command(process, says, says)


def play(path: Path) -> None:
    """Do a worker's share of a sweep with made-up numbers, which are those of the fine-tune alone."""
    os.environ.update(ENVIRONMENT)
    folder = SweepFolder(path)
    runs = {identity(one): one for one in folder.spec().runs()}
    with Heart.of_this_process(folder.workers) as heart:
        share = Share(folder, heart, list(runs))
        share.make_plan(lambda names: [names[at : at + BANK] for at in range(0, len(names), BANK)])
        while undone := share.undone():
            bank = share.take(undone)
            if bank is None:
                share.wait()
                continue
            for name in bank:
                time.sleep(0.15)
                folder.save({**plan_columns(runs[name]), "state": "done", "value": int(name[:6], 16) / 2**24}, None)
            share.release(done=True)
            heart.tell(trained=heart.worker.trained + len(bank), banks=heart.worker.banks + 1)
        folder.write_table(list(runs.values()))


def disturbed(folder: SweepFolder, kills: int, rng: random.Random, deadline: float, start: Start) -> int:
    """Run a sweep by two workers of which one is killed again and again; returns how often."""
    folder.begin(SweepSpec.from_dict(SPEC))
    count = done = 0
    at_work = []
    while True:
        while len(at_work) < 2:
            count += 1
            at_work.append(start(folder, f"{folder.path.name}-{count}"))
        time.sleep(rng.uniform(*PAUSES["played" if start is start_played else "real"]))
        ended = [one for one in at_work if not one.running()]
        if ended:
            assert all(one.wait(1) == 0 for one in ended), ended[0].said()
            for one in at_work:
                assert one.wait(120) == 0, one.said()
            return done
        if done < kills and time.monotonic() < deadline:
            one = at_work.pop(rng.randrange(2))
            done += one.kill() == -9


def run_to_end(path: Path, start: Start) -> SweepFolder:
    """Run the sweep by one worker that nobody disturbs."""
    folder = SweepFolder(path)
    folder.begin(SweepSpec.from_dict(SPEC))
    one = start(folder, "whole-says")
    assert one.wait(600) == 0, one.said()
    return folder


def table_of(folder: SweepFolder) -> pd.DataFrame:
    """Read a table without what depends on the machine."""
    return read_table(folder.path).drop(columns=OF_THE_MACHINE)


def held(folder: SweepFolder) -> list[int]:
    """Count for each bank how often it was taken."""
    records = [json.loads(path.read_text()) | {"bank": path.stem} for path in folder.claims.glob("[!.]*")]
    taken = Counter(record["bank"] for record in records if record["state"] == "held")
    assert len(taken) == len(Plan(folder.path).banks())
    return list(taken.values())


if __name__ == "__main__":
    main()
