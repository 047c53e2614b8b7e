"""Sweeps on the bundled model: one table, nothing done twice, nothing lost."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from beft_core.config import RunConfig
from beft_core.files import disk
from beft_core.files.disk import NoRoom
from beft_core.models.source import locate
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.adapter_folder import WEIGHTS
from beft_core.snapshots.snapshot import adapter_beside, read_snapshot
from beft_core.sweeps import grouping, runner
from beft_core.sweeps.merges import are_merged
from beft_core.sweeps.runner import run_sweep
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.plan import Plan
from beft_core.sweeps.sharing.share import Share, Sharing
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import COLUMNS, read_table
from beft_core.tasks.examples import TaskData
from beft_core.training import inputs, workflow
from beft_core.training.estimate.count import count_weights
from beft_core.training.estimate.longest_examples import LongestExamples
from beft_core.training.observer import Observer
from beft_core.training.preconditions import with_adapter
from beft_core.training.progress.checkpoint import Checkpoint, Progress

TINY: dict[str, Any] = {
    "n_train": 8,
    "batch_size": 4,
    "epochs": 2,
    "device": "cpu",
    "max_length": 16,
    "evaluate": "last",
}


def spec(**values: Any) -> SweepSpec:
    return SweepSpec.from_dict({**TINY, "terms": ["v", "all"], "seeds": 2, **values})


@pytest.fixture(scope="module", autouse=True)
def few_validation_examples() -> Iterator[None]:
    """Most of the time of so small a sweep would go into scoring."""
    real = inputs.load_data

    def load(config: RunConfig) -> TaskData:
        data = real(config)
        return dataclasses.replace(
            data, evals={name: part.take(range(min(24, len(part)))) for name, part in data.evals.items()}
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "load_data", load)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """v and the probe, two seeds, one bank."""
    folder = SweepFolder(tmp_path_factory.mktemp("sweep") / "one")
    result = run_sweep(spec(), folder)
    assert (result.runs, result.trained, result.failed, result.banks, result.stopped) == (4, 4, 0, 1, False)
    assert 0 < read_table(folder.path)["seconds"].sum() <= result.seconds  # shares of the pass, not the pass
    return folder


def test_the_table_says_what_the_snapshots_say(done: SweepFolder) -> None:
    table = read_table(done.path)
    assert list(table.columns) == list(COLUMNS) and len(table) == 4
    assert list(table["trains"]) == ["v", "v", "all", "all"] and set(table["bank_runs"]) == {4}
    for row in table.to_dict("records"):
        snapshot = read_snapshot(done.path / "snapshots" / row["snapshot"])
        scores = score_snapshot(snapshot)
        assert row["value"] == snapshot.meta.metrics[-1]["accuracy"] and row["metric"] == "accuracy"
        assert row["projection_ratio.v"] == pytest.approx(scores.mean_scores("projection_ratio")["v"])
        assert row["lr"] == snapshot.meta.hyperparameters["lr"] and row["seed"] == snapshot.meta.seed
        assert row["null_terms"] == "k" and row["steps"] == 4
        if row["trains"] == "all":
            assert row["selected.projection_ratio"] == scores.selected()["projection_ratio"]
            assert row["rank.fisher.k"] == 8 and row["fisher.v"] > 0
            assert 0 <= row["settled.projection_ratio"] <= 1 and row["settled.fisher"] == 0
        else:
            assert pd.isna(row["fisher.v"]) and pd.isna(row["settled.projection_ratio"])
    csv = read_table(done.path / "results.csv")
    assert not (csv.notna() != table.notna()).any().any()
    assert all((csv[name].dropna() == table[name].dropna()).all() for name in COLUMNS)


def test_a_run_of_a_sweep_is_the_run_alone(done: SweepFolder) -> None:
    """Without dropout: with it, the company in the bank decides which elements are dropped."""
    unscored = {"dropout": False, "evaluate": "never"}
    one = spec(terms="v", seeds=1, **unscored)
    together = SweepFolder(done.path.parent / "exact")
    run_sweep(spec(**unscored), together)
    alone = workflow.train(one.runs()[0])
    kept = read_snapshot(together.snapshot(str(together.table(one.runs())["run"][0])))
    for key in alone.keys():  # noqa: SIM118
        assert np.abs(alone.post(*key) - kept.post(*key)).max() < 1e-5


def test_a_second_call_has_nothing_to_do_and_a_larger_grid_only_the_rest(done: SweepFolder) -> None:
    before = (done.path / "results.csv").read_bytes()
    again = run_sweep(spec(), done)
    assert (again.trained, again.banks) == (0, 0) and (done.path / "results.csv").read_bytes() == before
    rows = {path.name: path.stat().st_mtime_ns for path in (done.path / "rows").iterdir()}
    more = run_sweep(spec(seeds=3, terms=["v", "all", "head"]), done)
    assert more.runs == 9 and more.trained == 5
    assert {name: (done.path / "rows" / name).stat().st_mtime_ns for name in rows} == rows


class Stopper(Observer):
    """Asks to stop after so many steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, n: int = 1) -> None:
        self.left -= n

    def should_stop(self) -> bool:
        return self.left <= 0


def test_stopped_half_way_and_started_again_it_ends_with_the_same_table(tmp_path: Path) -> None:
    whole, parts = SweepFolder(tmp_path / "whole"), SweepFolder(tmp_path / "parts")
    one = spec(evaluate="never")
    run_sweep(one, whole, bank_size=2)
    first = run_sweep(one, parts, Stopper(12), bank_size=2)
    assert first.stopped and first.trained == 2
    assert list(parts.path.glob("bank-*"))  # the state of the second bank
    observer = Hears()
    second = run_sweep(one, parts, observer, bank_size=1)  # the bank that has begun stays what it was
    assert second.trained == 2 and second.banks == 1 and not list(parts.path.glob("bank-*"))
    assert any("stay as they are, with up to 2 fine-tunes" in text for text in observer.told)
    pd.testing.assert_frame_equal(
        read_table(parts.path).drop(columns=["seconds", "peak_bytes"]),
        read_table(whole.path).drop(columns=["seconds", "peak_bytes"]),
    )


def test_the_state_of_another_machines_software_is_not_gone_on_from(tmp_path: Path) -> None:
    folder, one = SweepFolder(tmp_path / "other"), spec(terms="v", evaluate="never")
    folder.begin(one)
    names = [identity(config) for config in one.runs()]
    Plan(folder.path).add([names])
    Checkpoint(folder.checkpoint(names), "of another software").save({}, Progress(), print)
    observer = Hears()
    assert run_sweep(one, folder, observer).trained == 2
    assert any("of another fine-tune: this pass starts over" in text for text in observer.told)


def test_a_worker_of_a_grid_that_has_grown_since_does_not_write_it_over(tmp_path: Path) -> None:
    folder, small = SweepFolder(tmp_path / "grown"), spec(terms="v", seeds=1, evaluate="never")
    folder.begin(spec(terms="v", evaluate="never"))
    assert run_sweep(small, folder, sharing=Sharing(joins=True)).runs == 1
    assert len(folder.spec().runs()) == 2


def test_killed_while_it_wrote_a_bank_the_whole_bank_is_trained_again(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "torn")
    one = spec(terms="v", evaluate="never")
    run_sweep(one, folder)
    before = read_table(folder.path).drop(columns=["seconds", "peak_bytes"])
    (folder.path / "rows" / f"{before['run'][1]}.json").unlink()
    assert run_sweep(one, folder).trained == 2
    pd.testing.assert_frame_equal(read_table(folder.path).drop(columns=["seconds", "peak_bytes"]), before)


def test_where_the_disk_is_full_at_the_end_the_next_call_only_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, whole, folder = (
        spec(terms="v", evaluate="never"),
        SweepFolder(tmp_path / "whole"),
        SweepFolder(tmp_path / "full"),
    )
    run_sweep(one, whole)
    monkeypatch.setenv("BEFT_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("BEFT_WAIT_FOR_ROOM", "0")
    second = f"{identity(one.runs()[1])}.json"
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == second:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(NoRoom, match="the disk is full"):
            run_sweep(one, folder)
    assert len(folder.finished(one.runs())) == 1
    observer = Hears()
    assert run_sweep(one, folder, observer).trained == 2
    assert "resumed after step 4 of 4" in observer.told
    pd.testing.assert_frame_equal(
        read_table(folder.path).drop(columns=["seconds", "peak_bytes"]),
        read_table(whole.path).drop(columns=["seconds", "peak_bytes"]),
    )


def test_what_is_trained_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "RETRY_SECONDS", 0.01)
    failures = {"rows": 2, "results.csv": 1, "claim": 1}
    replace, take = Path.replace, Share.take

    def full(self: Path, target: Path) -> Path:
        for part in (target.name, target.parent.name):
            if failures.get(part) and list(folder.path.glob("snapshots/*")):  # not before anything is trained
                failures[part] -= 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    def claim(self: Share, banks: Any) -> Any:
        if failures["claim"]:
            failures["claim"] -= 1
            raise NoRoom(folder.claims / "a claim", 300, errno.ENOSPC)
        return take(self, banks)

    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(Share, "take", claim)
    folder, observer = SweepFolder(tmp_path / "waits"), Hears()
    assert run_sweep(spec(evaluate="never", terms=["v"], seeds=1), folder, observer).trained == 1
    assert not any(failures.values())
    assert len([text for text in observer.told if "waiting up to" in text]) == 3
    assert len(read_table(folder.path)) == 1


class Hears(Observer):
    """What a sweep says."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.usefixtures("any_rate")
def test_an_absurd_learning_rate_fails_its_run_and_leaves_the_others_alone(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "absurd")
    result = run_sweep(spec(terms="v", lrs=[1e38, 1e-2], seeds=1, clip=0, schedule="constant", epochs=3), folder)
    table = read_table(folder.path)
    assert result.failed == 1 and list(table["state"]) == ["failed", "done"]
    assert "learning rate" in table["failure"][0] and pd.isna(table["value"][0]) and table["value"][1] > 0
    alone = SweepFolder(tmp_path / "alone")
    assert run_sweep(spec(terms="v", lrs=[1e38], seeds=1, clip=0, schedule="constant", epochs=3), alone).failed == 1


def test_out_of_memory_means_smaller_banks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    planned: list[list[int]] = []
    plan = Plan(tmp_path / "small")
    real = workflow.train_bank

    def small_machine(configs: Any, *rest: Any) -> Any:
        sizes.append(len(configs))
        planned.append(list(map(len, plan.banks())))
        if len(configs) > 1 or configs[0].mode == "all":
            raise RuntimeError("CUDA out of memory. Tried to allocate a lot")
        return real(configs, *rest)

    monkeypatch.setattr(runner.workflow, "train_bank", small_machine)
    folder = SweepFolder(tmp_path / "small")
    result = run_sweep(spec(seeds=1), folder)
    assert planned == [[2], [1, 1], [1, 1]]  # a sweep that is killed here goes on with the halves
    assert sizes == [2, 1, 1] and (result.trained, result.failed) == (1, 1)
    assert "memory" in read_table(folder.path).query("trains == 'all'")["failure"].iloc[0]


class SmallMachine:
    """A machine that has memory for one b_v alone, and soon for more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries: list[int] = []
        self.has_room = False
        real = workflow.train_bank

        def train(configs: Any, *rest: Any) -> Any:
            self.tries.append(len(configs))
            if not self.has_room and (len(configs) > 1 or configs[0].mode == "all"):
                raise RuntimeError("CUDA out of memory. Tried to allocate a lot")
            return real(configs, *rest)

        monkeypatch.setattr(runner.workflow, "train_bank", train)


def test_what_lacked_memory_is_tried_again_once_by_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, folder = SmallMachine(monkeypatch), SweepFolder(tmp_path / "small")
    one = spec(seeds=1, evaluate="never")
    assert run_sweep(one, folder).failed == 1
    del machine.tries[:]
    observer = Hears()
    assert (run_sweep(one, folder, observer).failed, machine.tries) == (1, [1]), "once, and not for ever"
    assert any("1 finished fine-tune will be trained again: memory had run out (1)" in t for t in observer.told)
    assert run_sweep(one, folder, sharing=Sharing(joins=True)).failed == 1 and machine.tries == [1], "who helps, not"
    again = spec(seeds=1, evaluate="never", gradient_checkpointing=True)
    assert [identity(run) for run in again.runs()] == [identity(run) for run in one.runs()]
    machine.has_room = True
    result = run_sweep(again, folder)
    assert (result.trained, result.failed, machine.tries) == (1, 0, [1, 1])
    table = read_table(folder.path)
    assert set(table["state"]) == {"done"} and table["failure"].isna().all() and table["snapshot"].notna().all()
    assert folder.spec().settings["gradient_checkpointing"] and run_sweep(again, folder).trained == 0


def test_stopped_while_it_tries_again_the_table_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, folder = SmallMachine(monkeypatch), SweepFolder(tmp_path / "small")
    one = spec(seeds=1, evaluate="never")
    run_sweep(one, folder)
    machine.has_room = True
    assert run_sweep(one, folder, Stopper(2)).stopped
    assert sorted(read_table(folder.path)["state"]) == ["done", "failed"]
    assert run_sweep(one, folder).trained == 1 and set(read_table(folder.path)["state"]) == {"done"}


@pytest.mark.usefixtures("any_rate")
def test_what_failed_by_itself_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SweepFolder(tmp_path / "absurd")
    one = spec(terms="v", lrs=[1e38], seeds=1, clip=0, schedule="constant", epochs=3)
    assert run_sweep(one, folder).failed == 1
    machine = SmallMachine(monkeypatch)
    assert run_sweep(one, folder).failed == 1 and not machine.tries


NOT_EQUAL = ["seconds", "peak_bytes"]
"""Columns in which a fine-tune that is trained again may differ."""


def test_snapshots_that_are_wanted_and_not_there_are_made_again(tmp_path: Path) -> None:
    """With dropout: those with whom it shares its pass are trained as well, so that its numbers stay."""
    folder, one = SweepFolder(tmp_path / "harmed"), spec()
    run_sweep(one, folder)
    before = read_table(folder.path)
    files = [folder.snapshot(name) for name in before["run"]]
    whole = [read_snapshot(file).tensors() for file in files]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-100])
    untouched = (folder.rows / f"{before['run'][2]}.json").stat().st_mtime_ns
    assert run_sweep(one, folder, keep=Kept(snapshots=False)).trained == 0, "removed on purpose"
    observer = Hears()
    result = run_sweep(one, folder, observer)
    assert (result.runs, result.trained, result.banks, result.failed) == (4, 4, 1, 0)
    (said,) = [text for text in observer.told if "again" in text]
    assert said.startswith(
        "2 finished fine-tunes will be trained again: its snapshot is missing (1), its snapshot cannot"
    )
    after = read_table(folder.path)
    pd.testing.assert_frame_equal(after.drop(columns=NOT_EQUAL), before.drop(columns=NOT_EQUAL))
    for file, tensors in zip(files, whole, strict=True):
        again = read_snapshot(file).tensors()
        assert again.keys() == tensors.keys() and all(np.array_equal(again[name], tensors[name]) for name in tensors)
    assert (folder.rows / f"{before['run'][2]}.json").stat().st_mtime_ns == untouched
    assert run_sweep(one, folder).trained == 0


def test_snapshots_that_were_not_wanted_at_first_and_their_merges(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "merges")
    tasks = ["demo-sentiment", "demo-similarity"]
    one = spec(tasks=tasks, terms="v", seeds=1, merges="+".join(tasks), evaluate="last")
    run_sweep(one, folder, keep=Kept(snapshots=False))
    assert json.loads(folder.merges.read_text()) == [] and read_table(folder.path)["snapshot"].isna().all()
    before = read_table(folder.path)
    assert run_sweep(one, folder).trained == 2
    table = read_table(folder.path)
    assert list(table["value"]) == list(before["value"]) and table["snapshot"].notna().all()
    assert all(folder.snapshot(name).is_file() for name in table["run"])
    (merge,) = json.loads(folder.merges.read_text())
    assert merge["tasks"] == tasks


def test_memory_that_runs_out_for_a_snapshot_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, one = SweepFolder(tmp_path / "lost"), spec(terms="all", seeds=1, evaluate="never")
    run_sweep(one, folder)
    before = (folder.path / "results.csv").read_bytes()
    (run,) = one.runs()
    folder.snapshot(identity(run)).unlink()
    machine, observer = SmallMachine(monkeypatch), Hears()
    assert run_sweep(one, folder, observer).failed == 0 and machine.tries == [1]
    assert (folder.path / "results.csv").read_bytes() == before
    assert any("its row from before stays" in text for text in observer.told)
    machine.has_room = True
    assert run_sweep(one, folder).trained == 1 and folder.snapshot(identity(run)).is_file()


def test_passes_are_planned_for_the_memory_that_the_model_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, folder, layout = spec(terms="v", seeds=4), SweepFolder(tmp_path / "planned"), locate("bundled").layout
    two = 2.5 * grouping.bytes_per_run(layout, one.runs()[0], "cpu") / grouping.SHARE_OF_MEMORY
    here = psutil.virtual_memory()._replace(available=int(two) + 4 * count_weights("bundled"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: here)
    run_sweep(one, folder, Stopper(0))
    assert list(map(len, Plan(folder.path).banks())) == [2, 2]


@pytest.mark.parametrize(("gpus", "kept"), [(1, 0), (1, 2**30), (4, 0)])
def test_of_a_gpu_what_an_earlier_sweep_kept_is_free_and_a_model_may_lie_on_several(
    gpus: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = spec(terms="v", seeds=1).runs()
    layout, longest = locate("bundled").layout, LongestExamples().longest(run)
    two = 2.5 * grouping.bytes_per_run(layout, run, "cuda", longest) / grouping.SHARE_OF_MEMORY
    weights = int(two)  # as large as that, so that a quarter of both does not hold it
    held = [kept]
    each = (int(two) + 4 * weights) // gpus
    monkeypatch.setattr(runner, "count_weights", lambda model: weights)
    monkeypatch.setattr(runner, "pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", held.clear)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (max(0, each - sum(held)), 0))
    assert runner._most([run])(run) == 2


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("expected scalar type Float")

    monkeypatch.setattr(runner.workflow, "train_bank", broken)
    with pytest.raises(RuntimeError, match="scalar type"):
        run_sweep(spec(), SweepFolder(tmp_path / "broken"))


def test_progress_counts_every_step_of_every_run_once(tmp_path: Path) -> None:
    class Heard(Observer):
        def __init__(self) -> None:
            self.total: int | None = None
            self.done: list[int] = []

        def stage(self, name: str, total: int | None = None) -> None:
            self.total = total

        def advance(self, n: int = 1) -> None:
            self.done.append(n)

    heard = Heard()
    short_and_long = spec(terms="v", seeds=1, n_train=[4, 8], evaluate="never")
    assert run_sweep(short_and_long, SweepFolder(tmp_path / "two"), heard).banks == 1
    assert heard.total == sum(heard.done) == 2 * (1 + 2)
    assert [count for count in heard.done if count] == [2, 2, 1, 1]  # at first a step of both, then of the longer one


def test_merges_at_the_end(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "merges")
    one = spec(tasks=["demo-sentiment", "demo-similarity"], terms="v", seeds=1, merges="demo-sentiment+demo-similarity")
    run_sweep(one, folder)
    (merge,) = json.loads((folder.path / "merges.json").read_text())
    assert merge["tasks"] == ["demo-sentiment", "demo-similarity"] and 0 < merge["angle_of_change"] < 180
    assert set(merge["rows"]) == {"base model", "demo-sentiment", "demo-similarity", "merged"}
    table = read_table(folder.path).set_index("task")
    own = merge["rows"]["demo-sentiment"]["demo-sentiment"]
    assert own == pytest.approx(table.loc["demo-sentiment", "value"], abs=0.026)  # one of 40


def test_merges_are_scored_on_the_examples_of_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, second in (("named", 1), ("of the environment", 0)):  # where all answers are the other way round
        (tmp_path / name / "SST-2").mkdir(parents=True)
        for part, count in (("train", 60), ("dev", 30)):
            rows = [
                f"film number {n} is {'good' if n % 3 else 'bad'}\t{second if n % 3 else 1 - second}"
                for n in range(count)
            ]
            (tmp_path / name / "SST-2" / f"{part}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path / "of the environment"))
    grid = {"tasks": ["sst2", "demo-sentiment"], "terms": "v", "seeds": 1, "merges": "sst2+demo-sentiment"}
    for number, own in enumerate(({"n_eval": 9}, {"hold_out": 11})):
        folder = SweepFolder(tmp_path / str(number))
        run_sweep(spec(**grid, data_dir=str(tmp_path / "named"), precision="float32", **own), folder)
        (merge,) = json.loads(folder.merges.read_text())
        table = read_table(folder.path).set_index("task")
        for task in grid["tasks"]:
            assert merge["rows"][task][task] == pytest.approx(table.loc[task, "value"], abs=1e-6)


def test_other_merges_take_the_place_of_those_that_are_there(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    tasks = ["demo-sentiment", "demo-similarity", "demo-entailment"]
    first, second = "demo-sentiment+demo-similarity", "demo-sentiment+demo-entailment"
    for pair in (first, second, first):
        one = spec(tasks=tasks, terms="v", seeds=1, merges=pair)
        assert not are_merged(one, one.runs(), folder)
        run_sweep(one, folder)
        assert ["+".join(merge["tasks"]) for merge in json.loads(folder.merges.read_text())] == [pair]
        assert are_merged(one, one.runs(), folder)
    folder.merges.write_text("{")
    assert not are_merged(one, one.runs(), folder)
    assert are_merged(spec(tasks=tasks, terms="v", seeds=1), [], folder), "it asks for none"


def test_of_two_sweeps_that_work_in_one_folder_the_later_one_has_the_table(tmp_path: Path) -> None:
    folder, heard = SweepFolder(tmp_path), []
    early, late = (spec(terms="v", seeds=1, layers=layers) for layers in ([0, 1], [4, 5]))

    class Meanwhile(Observer):
        def stage(self, name: str, total: int | None = None) -> None:
            if name == "train" and folder.spec() == early:
                run_sweep(late, folder)

        def message(self, text: str) -> None:
            heard.append(text)

    run_sweep(early, folder, Meanwhile())
    assert list(read_table(tmp_path)["run"]) == [identity(late.runs()[0])], "no column says which layers were trained"
    assert heard[-1].startswith(f"another grid was begun in {tmp_path} meanwhile")


def test_other_methods_stand_in_the_table_with_their_adapters(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    folder = SweepFolder(tmp_path)
    grid = spec(
        terms=["v"],
        seeds=2,
        evaluate="never",
        methods=["fish-biases", {"method": "lora", "rank": 2, "targets": ["k"], "lrs": [1e-3]}, {"method": "lora"}],
    )
    result = run_sweep(grid, folder)
    table = read_table(tmp_path)
    together = {"v": 2, "fish-biases": 1, "lora targets=k rank=2": 2, "lora": 2}
    assert (result.trained, result.banks, set(table["state"])) == (8, 5, {"done"})
    assert list(zip(table["trains"], table["bank_runs"], strict=True)) == [
        (name, runs) for name, runs in together.items() for _ in range(2)
    ]
    for config in grid.runs():
        file = folder.snapshot(identity(config))
        adapter = with_adapter(read_snapshot(file), file).adapter
        assert (adapter is not None) == (config.mode == "lora")
        assert adapter is None or adapter.config["r"] == (2 if config.rank == 2 else 8)
    assert run_sweep(grid, folder).trained == 0
    lora = next(config for config in grid.runs() if config.mode == "lora")
    shutil.rmtree(adapter_beside(folder.snapshot(identity(lora))))
    assert run_sweep(grid, folder).trained == 2, "and the other seed, in the same pass"
    assert (adapter_beside(folder.snapshot(identity(lora))) / WEIGHTS).is_file()
