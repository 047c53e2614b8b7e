"""The command sweep: what is refused, and how a table over seeds is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_runner import assert_refused, beft
from sweep_tables import make_results

from beft_core.cli import sweep
from beft_core.errors import UserError
from beft_core.sweeps.rows import MEMORY_RAN_OUT, plan_columns
from beft_core.sweeps.sharing.renewal import NOT_KEPT
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tasks", "sst9"], "sst2"),
        (["--terms", "w"], "some of"),
        (["--lrs", "0"], "positive"),
        (["--lrs", "fast"], "finite"),
        (["--seeds", "0"], "from 1 to 10,000"),
        (["--n-train", "1.5"], "whole numbers"),
        (["--n-train", "1"], "whole numbers from 2"),
        (["--bank-size", "0"], "at least 1"),
        (["--cost-per-hour", "-2"], "a price of 0 or more"),
        (["--regimes", "tiny"], "low"),
        (["--model", "nowhere/at-all-x"], "bundled"),
        (["--config", "/none.yaml"], "cannot read"),
        (["--epochs", "0"], "at least 1"),
        (["--merges", "sst2+rte"], "tasks of the sweep"),
    ],
)
def test_wrong_input_is_one_line(flags: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    line = assert_refused(beft("sweep", "--out", tmp_path / "out", *flags))
    assert words in line
    assert not (tmp_path / "out").exists(), "what was refused leaves no folder"


def test_rates_of_probes_without_a_probe_are_told() -> None:
    flags = ["--probe-lrs", "1e-3", "--dry-run"]
    assert "--probe-lrs counts for nothing here" in beft("sweep", "--terms", "v", "q", *flags).err
    assert "counts for nothing" not in beft("sweep", "--terms", "v", "all", *flags).err


def test_without_pytorch_no_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise UserError("got an installation without torch")

    monkeypatch.setattr(sweep, "require_training", missing)
    assert "without torch" in assert_refused(beft("sweep", "--out", tmp_path / "out"))
    monkeypatch.undo()
    table = ["--train-file", tmp_path / "none.csv", "--text", "a", "--label", "b"]
    assert "does not exist" in assert_refused(beft("sweep", "--out", tmp_path / "out", *table))
    assert not (tmp_path / "out").exists()


def test_a_table_over_seeds_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    table = make_results(tasks=("rte",), regimes=("low",), lrs=(1e-2,), trains=("v", "q", "all"))
    table.loc[(table["trains"] == "q") & (table["seed"] == 2), ["state", "value"]] = ["failed", None]
    sweep._print(table)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {line[2]: line for line in lines if line[:1] == ["rte"]}
    examples = f"{table['n_train'].iloc[0]:.0f}"
    assert rows["v"] == ["rte", examples, "v", "0.01", "3", "accuracy", "81.0", "1.0", "–"]
    assert rows["q"][4:] == ["2", "(1", "failed)", "accuracy", "70.5", "0.7", "–"]
    assert rows["all"][-1] == "v"


def test_why_fine_tunes_failed_and_how_they_are_tried_again_is_said(tmp_path: Path) -> None:
    table = make_results(tasks=("rte",), regimes=("low",), lrs=(1e-2,), trains=("v", "q", "all"))
    assert sweep._failures(table, SweepFolder(tmp_path)) == []
    table["failure"] = table["failure"].astype(object)
    for trains, reason in (("q", "memory ran out"), ("v", "the loss was not finite")):
        table.loc[table["trains"] == trains, ["state", "failure"]] = ["failed", reason]
    table.loc[(table["trains"] == "v") & (table["seed"] == 0), ["state", "failure"]] = ["done", None]
    first, second = sweep._failures(table, SweepFolder(tmp_path))
    assert first.startswith("3 fine-tunes failed, as rte, q, seed 0: memory ran out. Tried again by the same command")
    assert "--gradient-checkpointing" in first and "removed" not in first
    run = table[(table["trains"] == "v") & (table["seed"] == 1)]["run"].iloc[0]
    assert second.startswith("2 fine-tunes failed, as rte, v, seed 1: the loss was not finite. Tried again once")
    assert f"{tmp_path / 'rows' / run}.json is removed" in second
    table.loc[table["trains"] == "all", "state"] = "failed"
    table.loc[table["trains"] == "all", "failure"] = ["one", "two", "three"]
    assert len(sweep._failures(table, SweepFolder(tmp_path))) == sweep.MOST_REASONS


def test_records_leave_out_what_is_empty() -> None:
    table = make_results(tasks=("rte",), regimes=("low",), lrs=(1e-2,), seeds=(0,), trains=("v",))
    (record,) = sweep._records(table)
    assert record["trains"] == "v" and "selected.fisher" not in record and "failure" not in record
    assert all(value is not None and value == value for value in record.values())


def test_whole_numbers_and_default_names() -> None:
    assert sweep._whole("--n-train", ["300,1e3"]) == (300, 1000)
    assert sweep._whole("--n-train", None) == ()
    assert sweep._default_name(SweepSpec(tasks=("sst2", "demo-sentiment"))) == "sweep-sst2-demo-sentiment"


def test_a_default_folder_goes_on_with_its_own_grid_and_takes_no_other(folder: Path) -> None:
    one = SweepSpec(("sst2",), terms=("v",), n_train=(20,), seeds=2)
    assert sweep._default_folder(one) == "sweep-sst2"
    SweepFolder(Path("sweep-sst2")).begin(one)
    larger, other = SweepSpec(("sst2",), terms=("v", "q"), n_train=(20,), seeds=3), SweepSpec(("sst2",), terms=("k",))
    assert sweep._default_folder(one) == sweep._default_folder(larger) == "sweep-sst2"
    assert sweep._default_folder(other) == "sweep-sst2-2"
    Path("sweep-sst2-2").mkdir()
    (Path("sweep-sst2-2") / "thesis.txt").write_text("two years of work")
    assert sweep._default_folder(other) == "sweep-sst2-3"


def test_a_file_may_say_where_and_how_besides_the_grid(folder: Path) -> None:
    Path("s.yaml").write_text("terms: [q+v]\nseeds: 2\nout: there\nbank_size: 3\nno_snapshots: true\nlr: 1\n")
    assert "lrs" in assert_refused(beft("sweep", "--config", "s.yaml"))
    Path("s.yaml").write_text("terms: [q+v]\nseeds: 2\nout: there\nbank_size: 3\nno_snapshots: true\n")
    printed = yaml.safe_load(beft("sweep", "--config", "s.yaml", "--bank-size", "4", "--print-config").out)
    assert (printed["out"], printed["bank_size"], printed["no_snapshots"]) == ("there", 4, True)
    assert printed["terms"] == ["q+v"] and printed["seeds"] == [0, 1]
    Path("s.yaml").write_text("bank_size: many\n")
    assert "bank_size" in assert_refused(beft("sweep", "--config", "s.yaml"))
    assert not Path("there").exists()


def test_a_dry_run_says_what_it_will_take_and_makes_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_HOME", str(folder / "home"))
    words = ("sweep", "--n-train", "40", "--seeds", "2", "--terms", "v", "head", "--out", "here", "--dry-run")
    before = beft(*words)
    assert before.status == 0 and not (folder / "here").exists()
    assert before.out.splitlines()[0] == "4 fine-tunes, in about 1 pass" and "not known before" in before.out
    runs = SweepSpec(n_train=(40,), seeds=(0, 1), terms=("v", "head")).runs()
    sweep.learned(runs, 7200.0)
    after = beft(*words, "--cost-per-hour", "3", "--json").json
    assert (after["fine_tunes"], after["to_do"], after["passes"]) == (4, 4, 1)
    assert after["seconds"] == pytest.approx(7200.0) and after["cost"] == pytest.approx(6.0)
    done = SweepFolder(folder / "here")
    done.begin(SweepSpec(n_train=(40,), seeds=(0, 1), terms=("v", "head")))
    done.save({"run": sweep.identity(runs[0])}, None)
    kept = beft(*words, "--no-snapshots")
    assert "4 fine-tunes, of which 1 are finished" in kept.out and "again" not in kept.err
    wanted = beft(*words)
    assert wanted.out.splitlines()[0] == "4 fine-tunes, in about 1 pass"
    assert "1 finished fine-tune will be trained again: its snapshot was not kept (1); with --no-snapsh" in wanted.err
    assert not done.marked_again(), "nothing is written"
    failed = {**plan_columns(runs[1]), "state": "failed", "failure": MEMORY_RAN_OUT}
    done.save(failed, None)
    assert beft(*words, "--no-snapshots", "--json").json["to_do"] == 3


def test_a_finished_sweep_is_told_without_work_and_what_is_missing_of_it_is_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, folder = SweepSpec(n_train=(40,), terms=("v", "q")), SweepFolder(tmp_path / "here")
    folder.begin(spec)
    for run in spec.runs():
        folder.save({**plan_columns(run), "state": "done"}, None)
    asked: list[list[str]] = []

    def work(_: object, there: SweepFolder, *rest: Any) -> dict[str, Any]:
        asked.append(list(rest[-1].reasons.values()))
        return {"runs": 2, "trained": 0, "failed": 0, "banks": 0, "seconds": 0.0, "stopped": True}

    monkeypatch.setattr(sweep, "_work", work)
    words = ("sweep", "--n-train", "40", "--terms", "v", "q", "--out", str(folder.path))
    assert "2 were there already" in beft(*words, "--no-snapshots").out and not asked
    folder.mark_again([sweep.identity(run) for run in spec.runs()])  # by a start that wanted snapshots
    assert "2 were there already" in beft(*words, "--no-snapshots").out and not asked and not folder.marked_again()
    beft(*words)
    assert asked == [[NOT_KEPT, NOT_KEPT]]
