"""Fine-tunes as runs of a tracker, with a tracker that only remembers."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweep_tables import EPOCHS, make_results

from beft_core.errors import UserError
from beft_core.sweeps import tracking
from beft_core.training.observer import Observer

RESULTS = make_results(
    ("sst2",), ("low",), (1e-3,), (0, 1), trains=("v", "all"), failed=lambda run: run[2] == "v" and run[4] == 1
)


@pytest.fixture
def tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """trackio's functions, as far as they are used."""
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    runs: dict[str, dict[str, Any]] = {}

    def init(project: str, **asked: Any) -> Any:
        made = runs.setdefault(asked["name"], {"project": project, **asked, "logged": [], "finished": 0})

        def finish() -> None:
            made["finished"] += 1

        return SimpleNamespace(log=lambda metrics, step: made["logged"].append((step, metrics)), finish=finish)

    def of_project(project: str) -> list[SimpleNamespace]:
        if not runs:
            raise ValueError(project)
        return [SimpleNamespace(name=name, delete=partial(runs.pop, name)) for name in runs]

    found = SimpleNamespace(init=init, Api=lambda: SimpleNamespace(runs=of_project), runs=runs)
    monkeypatch.setattr(tracking, "_trackio", lambda: found)
    return found


def test_finished_fine_tunes_with_curve_and_scores(tracker: SimpleNamespace) -> None:
    assert tracking.send(RESULTS, "group", Observer()) == 3
    assert len(tracker.runs) == 3 and all(run["finished"] == 1 for run in tracker.runs.values())
    name = next(name for name in tracker.runs if name.startswith("sst2-v-lr0.001-seed0-"))
    single = tracker.runs[name]
    assert single["config"]["lr"] == 1e-3 and single["config"]["n_train"] == 1000 and single["group"] == "sst2-v"
    assert "adam_epsilon" not in single["config"], "what the table does not know is left out"
    assert [step for step, _ in single["logged"]] == list(range(1, EPOCHS + 1))
    row = RESULTS[(RESULTS["trains"] == "v") & (RESULTS["seed"] == 0)].iloc[0]
    assert single["logged"][-1][1]["accuracy"] == pytest.approx(row["value"])
    assert "projection_ratio.v" not in single["logged"][-1][1] and single["logged"][-1][1]["seconds"] == row["seconds"]
    probe = next(run for name, run in tracker.runs.items() if "-all-" in name)
    assert probe["logged"][-1][1]["projection_ratio.v"] == 0.9 and probe["logged"][0][1].keys() == {"accuracy"}
    assert probe["logged"][-1][1]["selected.magnitude"] == "q"


@pytest.mark.parametrize(
    ("curve", "scored"),
    [("[null, null, 0.8]", {3: 0.8}), ("[0.5, null, 0.75]", {1: 0.5, 3: 0.75}), ("[null, null]", {})],
)
def test_epochs_that_were_not_scored_have_their_place(
    tracker: SimpleNamespace, curve: str, scored: dict[int, float]
) -> None:
    """With --evaluate last only the last one is, and it is not the first; what is logged once is at the last epoch."""
    tracking.send(RESULTS.assign(curve=curve), "group", Observer())
    for run in tracker.runs.values():
        found = {step: metrics["accuracy"] for step, metrics in run["logged"] if "accuracy" in metrics}
        assert found == scored
        step, metrics = run["logged"][-1]
        assert step == curve.count(",") + 1 and "seconds" in metrics


def test_what_is_there_is_not_sent_again(tracker: SimpleNamespace) -> None:
    tracking.send(RESULTS, "group", Observer())
    assert tracking.send(RESULTS, "group", Observer()) == 0
    assert all(run["finished"] == 1 for run in tracker.runs.values())
    other = make_results(("rte",), ("low",), (1e-3,), (0,), trains=("v",))
    assert tracking.send(other, "group", Observer()) == 1


def test_a_run_in_which_the_sender_was_killed_is_sent_anew(
    tracker: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tracker.init

    class Killed(BaseException):
        pass

    def init(project: str, **asked: Any) -> Any:
        run = made(project, **asked)
        if len(tracker.runs) < 2:
            return run

        def log(metrics: object, step: int) -> None:
            run.log(metrics, step)
            raise Killed

        return SimpleNamespace(log=log)

    monkeypatch.setattr(tracker, "init", init)
    with pytest.raises(Killed):
        tracking.send(RESULTS, "group", Observer())
    monkeypatch.setattr(tracker, "init", made)
    assert tracking.send(RESULTS, "group", Observer()) == 2
    assert [len(run["logged"]) for run in tracker.runs.values()] == [EPOCHS] * 3
    assert tracking.send(RESULTS, "group", Observer()) == 0


def test_two_do_not_send_to_a_project_at_once(tracker: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    made, refused = tracker.init, []

    def init(project: str, **asked: Any) -> Any:
        if not refused:
            with pytest.raises(UserError) as error:
                tracking.send(RESULTS, project, Observer())
            refused.append(str(error.value))
        return made(project, **asked)

    monkeypatch.setattr(tracker, "init", init)
    assert tracking.send(RESULTS, "group", Observer()) == 3
    assert "the project group is in use by process" in refused[0]
    assert [run["finished"] for run in tracker.runs.values()] == [1] * 3


def test_a_home_that_cannot_be_written_is_no_reason_not_to_send(
    tracker: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_HOME", "/proc/no home")
    assert tracking.send(RESULTS, "group", Observer()) == 3


def test_a_space_is_named(tracker: SimpleNamespace) -> None:
    tracking.send(RESULTS, "group", Observer(), "org/space")
    assert {(run["space_id"], run["private"]) for run in tracker.runs.values()} == {("org/space", True)}


@pytest.mark.parametrize("name", tracking.ELSEWHERE)
def test_nothing_leaves_this_machine_by_a_variable_alone(
    tracker: SimpleNamespace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "org/space")
    with pytest.raises(UserError, match=name):
        tracking.send(RESULTS, "group", Observer())
    assert not tracker.runs
    assert tracking.send(RESULTS, "group", Observer(), "org/space") == 3


def test_what_the_tracker_prints_is_no_result_and_what_it_raises_one_line(
    tracker: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tracker.init

    def init(project: str, **asked: Any) -> Any:
        sys.stdout.write("* Trackio project initialized\n")
        if tracker.runs:
            raise OSError("no token")
        return made(project, **asked)

    monkeypatch.setattr(tracker, "init", init)
    with pytest.raises(UserError, match=r"no token\); 1 of 3 were sent"):
        tracking.send(RESULTS, "group", Observer())
    told = capsys.readouterr()
    assert told.out == "" and "initialized" in told.err


def test_ctrl_c_ends_after_the_run(tracker: SimpleNamespace) -> None:
    class Stopping(Observer):
        def should_stop(self) -> bool:
            return bool(tracker.runs)

    assert tracking.send(RESULTS, "group", Stopping()) == 1


def test_wrong_names_and_curves_are_refused(tracker: SimpleNamespace) -> None:
    for project in ("", " ", "a/b", "x" * 101):
        with pytest.raises(UserError, match="a name without slashes"):
            tracking.send(RESULTS, project, Observer())
    with pytest.raises(UserError, match="a JSON list"):
        tracking.send(RESULTS.assign(curve="{"), "group", Observer())
    with pytest.raises(UserError, match="a JSON list"):
        tracking.send(RESULTS.assign(curve="[" * 100_000), "group", Observer())
    assert not tracker.runs
