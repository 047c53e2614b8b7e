"""Records from before a setting could be chosen mean what was built in then, and keep their names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beft_core.cli.app import run
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.presets import BUILT_IN, completed, hyperparameters
from beft_core.runs.kinds import KINDS
from beft_core.runs.run import Run
from beft_core.scores.compare import differing
from beft_core.scores.regimes import same_experiment
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.sweeps import spec
from beft_core.sweeps.rows import plan_columns
from beft_core.sweeps.spec import NOT_OF_THE_RESULT, SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.estimate.count import layout_of

SAMPLE = Path(__file__).parents[2] / "sample_snapshots" / "sst2-low-seed0-probe.beft.safetensors"
OLD_WAYS = {"adam_epsilon": 1e-8, "adam_epsilon_at": "after", "sampler": "generator", "inputs": "lab"}


def old(config: RunConfig) -> dict[str, Any]:
    """As it was written before."""
    later = ("plain", "gradient_checkpointing", "name", "problem", "n_eval", "table_sha256", "rewrite_scale")
    later += ("prompt", "candidates", "candidates_column", "demonstrations", "hold_out")
    later += ("targets", "rank", "alpha", "virtual_tokens")
    return {name: value for name, value in config.to_dict().items() if name not in (*OLD_WAYS, *later)}


def test_what_was_built_in() -> None:
    assert BUILT_IN == OLD_WAYS


def test_an_old_run_of_the_paper_preset_is_what_it_was() -> None:
    table = old(RunConfig(task="sst2", preset="paper", model="org/roberta"))
    filled = RunConfig.from_dict(completed(table)).resolved()
    assert {name: getattr(filled, name) for name in OLD_WAYS} == OLD_WAYS and filled.epochs == 16
    quick = old(RunConfig(task="sst2"))
    assert completed(quick) == quick
    assert RunConfig.from_dict(quick).resolved() == RunConfig(task="sst2").resolved()
    merge = {"files": [], "preset": "paper"}
    assert KINDS["merge"].completed(merge) == merge


def test_run_folders_without_a_version_are_completed_and_new_ones_are_not(tmp_path: Path) -> None:
    run = Run.create("train", RunConfig(task="sst2", preset="paper").to_dict(), tmp_path)
    assert RunConfig.from_dict(run.config()[1]).resolved().adam_epsilon == 1e-6
    record = {"kind": "train", "config": old(RunConfig(task="sst2", preset="paper"))}
    (run.path / "config.json").write_text(json.dumps(record))
    assert RunConfig.from_dict(run.config()[1]).resolved().adam_epsilon == 1e-8


def test_sweep_folders_likewise(tmp_path: Path) -> None:
    grid = SweepSpec(tasks=("rte",), terms=("v",), settings={"preset": "paper"})
    folder = SweepFolder(tmp_path / "sweep")
    folder.begin(grid)
    assert folder.spec() == grid and folder.spec().runs()[0].adam_epsilon == 1e-6
    (folder.path / "sweep.json").write_text(json.dumps(grid.to_dict()))
    assert folder.spec().runs()[0].adam_epsilon == 1e-8


def test_an_old_paper_sweep_of_a_larger_model_keeps_its_epochs_and_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roberta = replace(layout_of("bundled"), model_type="roberta")
    monkeypatch.setattr(spec, "layout_here", lambda name: roberta)
    settings = {"preset": "paper", "model": "FacebookAI/roberta-base"}
    asked = SweepSpec(tasks=("sst2", "rte"), regimes=("low",), terms=("v",), settings=settings)
    folder = SweepFolder(tmp_path / "sweep")
    folder.prepare()
    record = {name: value for name, value in asked.to_dict().items() if name != "task_epochs"}
    (folder.path / "sweep.json").write_text(json.dumps(record))
    assert {run.task: run.epochs for run in asked.runs()} == {"sst2": 30, "rte": 30}
    began = folder.spec()
    assert {run.task: run.epochs for run in began.runs()} == {"sst2": 16, "rte": 30}
    # What version 1 resolved to, and by what its rows are named.
    then = [replace(run, epochs={"sst2": 16, "rte": 30}[run.task], **OLD_WAYS) for run in asked.runs()]
    assert [identity(run) for run in began.runs()] == [identity(run) for run in then]
    for _ in range(2):  # the same command, and once more after the folder was written anew
        again = folder.continued(asked)
        assert again == began
        folder.begin(again)
    larger = replace(asked, tasks=("sst2", "rte", "wic"), seeds=(0, 1))
    assert folder.continued(larger) == replace(began, tasks=larger.tasks, seeds=larger.seeds)
    for other in ({"epochs": 3}, {"batch_size": 8}, {"adam_epsilon": 1e-5}):
        changed = replace(asked, settings={**settings, **other})
        assert folder.continued(changed) == changed
    assert SweepFolder(tmp_path / "none").continued(asked) == asked
    with pytest.raises(UserError, match="task_epochs"):
        replace(asked, task_epochs={"sst2": "16"})


def test_the_command_of_an_old_paper_sweep_finds_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = SweepSpec(tasks=("rte",), regimes=("low",), terms=("v",), settings={"preset": "paper"})
    folder = SweepFolder(tmp_path / "sweep")
    folder.begin(grid)
    (folder.path / "sweep.json").write_text(json.dumps(grid.to_dict()))
    (then,) = folder.spec().runs()
    assert identity(then) != identity(grid.runs()[0])
    folder.save({**plan_columns(then), "state": "done", "value": 0.5}, None)
    command = [
        "sweep",
        "--tasks",
        "rte",
        "--regimes",
        "low",
        "--terms",
        "v",
        "--preset",
        "paper",
        "--no-snapshots",
        "--out",
    ]
    for _ in range(2):
        assert run([*command, str(folder.path), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["runs"], said["trained"]) == (1, 0) and said["results"][0]["run"] == identity(then)
        assert said["results"][0]["adam_epsilon"] == 1e-8


def test_fine_tunes_of_before_keep_the_name_that_sweep_folders_know_them_by() -> None:
    run = RunConfig(task="sst2", regime="low").resolved()
    table = {name: value for name, value in old(run).items() if name not in NOT_OF_THE_RESULT}
    assert identity(run) == hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]
    assert identity(run) == "1392b19747be039b"  # as version 0.2.0 of November 2026 called it
    for name, value in {"adam_epsilon": 1e-6, "adam_epsilon_at": "before", "sampler": "randomstate"}.items():
        assert identity(replace(run, **{name: value})) != identity(run)


def test_an_old_snapshot_and_a_new_one_of_the_same_settings_are_one_experiment() -> None:
    before = read_snapshot(SAMPLE).meta
    assert "adam_epsilon" not in before.hyperparameters
    after = replace(before, hyperparameters={**before.hyperparameters, **OLD_WAYS})
    assert same_experiment(before, after) and differing([before, after]) == {}
    authors = replace(before, hyperparameters={**after.hyperparameters, "adam_epsilon": 1e-6})
    assert not same_experiment(before, authors) and set(differing([before, authors])) == {"adam_epsilon"}
    assert hyperparameters({"method": "ties"}) == {"method": "ties"}  # of a merge nobody knows
