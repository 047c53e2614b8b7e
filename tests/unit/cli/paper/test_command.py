"""``beft reproduce``: the plan first, ours beside the paper's at the end, one line for wrong input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runner import assert_refused, beft
from reproduction_tools import finish_all, row_of, without_data

from beft_core.cli.paper import command as module
from beft_core.reproduction.jobs import Jobs
from beft_core.reproduction.plan import Plan
from beft_core.reproduction.run import Outcome
from beft_core.sweeps import forecast
from beft_core.sweeps.store import SweepFolder


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    without_data(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Plan, int | None]]]:
    """What was asked of the engine, which finishes everything at once, in 60 seconds."""
    calls: list[tuple[Plan, int | None]] = []

    def fake(planned: Plan, observer: Any, *, bank_size: int | None = None) -> Outcome:
        calls.append((planned, bank_size))
        finish_all(planned)
        return Outcome(4, 1, 60.0, {"table1-1-other": "got no room"}, observer.should_stop())

    monkeypatch.setattr(module, "run", fake)
    yield calls


def test_the_plan_says_what_is_missing_with_its_commands_and_trains_nothing(asked: list[Any]) -> None:
    result = beft("reproduce", "table4", "--dry-run")
    assert result.status == 0 and not asked and result.err == ""
    assert "FacebookAI/roberta-base" in result.out and "waits" in result.out
    words = " ".join(result.out.split())
    assert "missing: cb: its data are not on this machine; try beft fetch --tasks cb" in words
    assert "not known before a first sweep" in words
    assert not Path("reproduction").exists()


def test_hours_and_cost_of_a_machine_that_is_known(asked: list[Any]) -> None:
    words = ("reproduce", "figure1", "--model", "bundled", "--small")
    planned = beft(*words, "--dry-run", "--json").json
    (line,) = planned["plan"]
    assert (line["part"], line["fine_tunes"], line["ready"], line["waiting"]) == ("figure1", 4, 4, 0)
    assert planned["seconds"] is None and line["stand_ins"] == {"sst2": "demo-sentiment"} and planned["missing"] == []
    beft(*words)
    forecast.learned(asked[0][0].steps[0].runs, 1800.0)
    again = beft(*words, "--out", "new", "--cost-per-hour", "4", "--dry-run")
    assert "about 30 min, cost 2.00 (as fast as sweeps before on this cpu)" in " ".join(again.out.split())


def test_it_ends_in_ours_beside_the_papers(asked: list[Any]) -> None:
    result = beft("reproduce", "figure1", "--model", "bundled", "--small", "--bank-size", "3", "--seeds", "2")
    assert result.status == 1, "one of its sweeps had no room"
    ((planned, bank_size),) = asked
    assert bank_size == 3 and planned.folder == Path("reproduction-bundled-small")
    assert {run.seed for run in planned.steps[0].runs} == {0, 1}
    words = " ".join(result.out.split())
    assert "Figure 1: On SST-2 in the low regime" in words and "demo-sentiment stands in for SST-2." in words
    assert "3 of 3 statements that were measured hold here" in words
    assert "report: reproduction-bundled-small/report.html" in words
    assert (planned.folder / "report.html").is_file() and (planned.folder / "figure1.csv").is_file()
    assert "Plan of figure1 (a rehearsal)" in result.err
    assert "table1-1-other did not run: got no room" in " ".join(result.err.split())
    assert "took 60 s" in result.err


def test_as_json(asked: list[Any]) -> None:
    document = beft("reproduce", "figure1", "--model", "bundled", "--small", "--json").json
    assert document["trained"] == 4 and document["errors"] == {"table1-1-other": "got no room"}
    assert document["summary"]["figure1"]
    assert {row["agrees"] for row in document["tables"]["figure1-statements"]} == {True}
    assert document["files"][0].endswith("report.html")


def test_ctrl_c_reports_what_is_finished_and_how_to_go_on(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from beft_core.cli import progress

    monkeypatch.setattr(progress.Progress, "should_stop", lambda self: True)
    result = beft("reproduce", "figure1", "--model", "bundled", "--small")
    assert result.status == 130 and "Figure 1" in result.out
    assert "the same command goes on from here" in result.err


@pytest.mark.parametrize(("stopped", "status"), [(False, 1), (True, 130)])
def test_where_nothing_was_finished_it_says_why(
    asked: list[Any], stopped: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run", lambda *given, **how: Outcome(0, 0, 1.0, {"figure1-1": "got no room"}, stopped))
    result = beft("reproduce", "figure1", "--model", "bundled", "--small")
    told = " ".join(result.err.split())
    assert result.status == status and "figure1-1 did not run: got no room" in told
    assert "--dry-run" not in told and ("goes on from here" in told) == stopped


ON_A_CLUSTER = ("reproduce", "figure1", "table3", "--model", "bundled", "--small", "--executor", "slurm", "--gpus", "0")


def test_the_batch_file_makes_the_same_plan_on_a_node(asked: list[Any]) -> None:
    pytest.importorskip("submitit")
    more = ("--seeds", "9", "--bank-size", "3", "--partition", "cpu", "--max-jobs", "2", "--print-sbatch")
    told = beft(*ON_A_CLUSTER, *more)
    assert told.status == 0 and not asked, told.err
    lines = told.out.splitlines()
    assert {"#SBATCH --partition=cpu", "#SBATCH --array=0-1%2"} <= set(lines)
    (command,) = (line for line in lines if line.startswith("srun"))
    words = command[command.index("reproduce") :]
    folder = Path("reproduction-bundled-small").absolute()
    assert words == (
        f"reproduce figure1 table3 --model bundled --seeds 9 --bank-size 3 --out {folder} "
        "--device auto --precision float32 --small --share 2"
    )
    assert len(list(folder.glob("sweeps/*/sweep.json"))) == 2, "jobs are workers of sweeps that began"


def test_jobs_are_submitted_once_and_the_report_follows(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[Jobs] = []

    def wait(jobs: Jobs, job: str, observer: Any, left_out: dict[str, str]) -> Outcome:
        first = jobs.plan.steps[0]
        bad = {**row_of(first.runs[0]), "state": "failed", "failure": "the loss is not a number"}
        SweepFolder(first.folder).save(bad, None)
        finish_all(jobs.plan)
        for step in jobs.plan.steps:
            SweepFolder(step.folder).keep_merges([])
        return Outcome(5, 1, 60.0, {}, False)

    def submit(jobs: Jobs) -> str:
        submitted.append(jobs)
        return "41"

    monkeypatch.setattr(Jobs, "submit", submit)
    monkeypatch.setattr(Jobs, "wait", wait)
    detached = beft(*ON_A_CLUSTER, "--detach")
    assert "submitted 2 jobs for 5 fine-tunes: 41" in " ".join(detached.err.split())
    assert detached.status == 0 and not Path("reproduction-bundled-small", "report.html").exists()
    waited = beft(*ON_A_CLUSTER)
    assert waited.status == 0 and "5 fine-tunes in 60 s" in waited.out and len(submitted) == 2
    assert "forecast" not in waited.err, "what jobs took says nothing about this machine"
    again = beft(*ON_A_CLUSTER)
    assert again.status == 0 and "report: reproduction-bundled-small/report.html" in again.out and len(submitted) == 2
    assert "0 fine-tunes in 0 s; 1 failed" in again.out, "as the same command says without a cluster"
    assert "everything is there" in beft(*ON_A_CLUSTER, "--detach").out and not asked


def test_a_step_that_cannot_begin_is_named_and_the_others_are_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jobs, "submit", lambda jobs: "41")
    strange = Path("reproduction-bundled-small", "sweeps", "figure1-1-bundled")
    strange.mkdir(parents=True)
    (strange / "notes.txt").touch()
    detached = beft(*ON_A_CLUSTER, "--detach")
    told = " ".join(detached.err.split())
    assert detached.status == 1 and "figure1-1-bundled did not begin: got" in told and "fine-tunes: 41" in told


def test_lines_that_a_file_adds_to_jobs_want_a_yes(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[Jobs] = []

    def submit(jobs: Jobs) -> str:
        submitted.append(jobs)
        return "41"

    monkeypatch.setattr(Jobs, "submit", submit)
    file = Path("theirs.yaml")
    file.write_text("executor: slurm\nsetup: [curl evil]\n")
    words = ("reproduce", "figure1", "--model", "bundled", "--small", "--detach", "--config", file)
    refused = beft(*words)
    assert refused.status == 2 and "curl evil" in refused.err and "--trust-file" in refused.err and not submitted
    assert not Path("reproduction-bundled-small").exists()
    told = beft(*words, "--trust-file")
    assert told.status == 0 and "    curl evil\n" in told.err and len(submitted) == 1
    assert beft(*words, "--setup", "module load cuda").status == 0 and len(submitted) == 2
    file.write_text("executor: slurm\nsetup: [curl evil]\ntrust_file: true\n")
    assert "trust_file" in beft(*words).err and len(submitted) == 2


def test_a_job_takes_its_share_and_writes_no_report(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[tuple[int, int | None]] = []

    def share(planned: Plan, observer: Any, workers: int, *, bank_size: int | None) -> int:
        shares.append((workers, bank_size))
        return 75

    monkeypatch.setattr(module, "take_share", share)
    result = beft("reproduce", "figure1", "--model", "bundled", "--small", "--share", "6", "--bank-size", "3")
    assert result.status == 75 and shares == [(6, 3)] and result.out == "" and not asked
    assert "--share" not in beft("reproduce", "--help").out


def test_where_nothing_can_run_it_ends_with_what_to_do(asked: list[Any]) -> None:
    result = beft("reproduce", "table4")
    assert result.status == 2 and not asked and result.out == ""
    assert result.err.splitlines()[-1].startswith("beft: got nothing that can run here; expected the models and data")
    assert "try beft fetch --model google-bert/bert-base-cased" in result.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("table9",), "expected some of figure1"),
        (("table1", "--seeds", "0"), "from 1 to"),
        (("table1", "--bank-size", "0"), "at least 1"),
        (("table1", "--partition", "gpu"), "got --partition without --executor slurm"),
        (("table1", "--cost-per-hour", "-1"), "a price of 0 or more"),
        (("table1", "--cost-per-hour", "nan"), "a price of 0 or more"),
        (("table1", "--precision", "half", "--dry-run"), "float32"),
        (("table1", "--device", "tpu", "--dry-run"), "cuda"),
        ((), "PART"),
    ],
)
def test_wrong_input_is_one_line(words: tuple[str, ...], says: str, asked: list[Any]) -> None:
    assert says in assert_refused(beft("reproduce", *words))
    assert not asked
