"""A reproduction goes from sweep to sweep: nothing twice, and what cannot run stops nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from reproduction_tools import finish, finish_comparison, replace, row_of, without_data

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.reproduction import run as module
from beft_core.reproduction.plan import Plan, Step, plan
from beft_core.reproduction.run import run
from beft_core.sweeps.planning import rates
from beft_core.sweeps.spec import identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch, tmp_path)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int | None, list[str]]]]:
    """What was trained: (experiment, bank size, runs); each takes a hundred seconds."""
    calls: list[tuple[str, int | None, list[str]]] = []

    def sweep(step: Step, folder: SweepFolder, observer: Observer, bank_size: int | None) -> Any:
        done = folder.finished(step.runs)
        todo = [one for one in step.runs if identity(one) not in done]
        calls.append((step.experiment, bank_size, [identity(one) for one in todo]))
        folder.begin(step.spec)
        for one in todo:
            folder.save(row_of(one), None)
        return SimpleNamespace(trained=len(todo), seconds=100.0, stopped=observer.should_stop())

    monkeypatch.setattr(module, "_sweep", sweep)
    yield calls


def small(tmp_path: Path, *names: str, **more: Any) -> Plan:
    return plan(names, tmp_path / "out", models=["bundled"], small=True, **more)


def test_every_fine_tune_is_trained_once(tmp_path: Path, trained: list[Any]) -> None:
    planned = small(tmp_path, "figure1", "figure4", "table1")
    done = run(planned, Observer(), bank_size=3)
    names = [name for _, _, runs in trained for name in runs]
    assert len(names) == len(set(names)) == done.trained == sum(len(line.ready) for line in small_lines(planned))
    assert [(what, size) for what, size, _ in trained] == [("figure1", 3), ("figure4", 3), ("table1", 3)]
    for step in planned.steps:
        assert len(SweepFolder(step.folder).finished(step.runs)) == len(step.runs), "each folder is whole by itself"
    assert done.seconds == 300.0 and done.errors == {} and not done.stopped
    again = run(planned, Observer())
    assert (again.trained, again.seconds, len(trained)) == (0, 0.0, 3)


def small_lines(planned: Plan) -> list[Any]:
    """The plan as it was before anything ran."""
    return Plan(
        planned.experiments,
        planned.folder,
        tuple(_elsewhere(step) for step in planned.steps),
        planned.small,
    ).lines()


def _elsewhere(step: Step) -> Step:
    import dataclasses

    return dataclasses.replace(step, folder=step.folder.with_name(step.folder.name + "-fresh"))


def test_snapshots_come_along_and_stay_when_the_first_folder_goes(tmp_path: Path, trained: list[Any]) -> None:
    planned = small(tmp_path, "figure1", "table3")
    first, second = planned.steps
    finish(first)
    shared = next(one for one in first.runs if one.terms == ("v",))
    source = SweepFolder(first.folder).snapshot(identity(shared))
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(b"a snapshot")
    run(planned, Observer())
    source.unlink()
    assert SweepFolder(second.folder).snapshot(identity(shared)).read_bytes() == b"a snapshot"


def test_those_that_are_timed_alone_are_neither_given_nor_taken(tmp_path: Path, trained: list[Any]) -> None:
    planned = small(tmp_path, "table2", "table4", seeds=1)
    run(planned, Observer(), bank_size=8)
    assert [(what, size) for what, size, _ in trained][:2] == [("table2", 1), ("table4", 8)]
    assert set(trained[0][2]) & set(trained[1][2])


def test_a_comparison_is_made_once(tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    planned = small(tmp_path, "table5")
    made: list[str] = []

    def compare(spec: Any, folder: Path, observer: Observer, bank_size: int | None) -> Any:
        made.append(spec.task_name)
        finish_comparison(next(step for step in planned.steps if step.folder == folder))
        return SimpleNamespace(trained=20, stopped=False)

    monkeypatch.setattr(module, "compare_methods", compare)
    assert run(planned, Observer()).trained == 40 and made == ["demo-sentiment", "demo-entailment"]
    assert run(planned, Observer()).trained == 0 and len(made) == 2 and trained == []
    run(small(tmp_path, "table5", seeds=2), Observer())
    assert len(made) == 4, "other settings are another comparison"


def test_a_failed_fine_tune_is_not_handed_on(tmp_path: Path, trained: list[Any]) -> None:
    planned = small(tmp_path, "figure1", "figure4")
    first = planned.steps[0]
    finish(first)
    bad = first.runs[0]
    replace(first, {**row_of(bad), "state": "failed", "failure": "the loss is not a number"})
    done = run(planned, Observer())
    assert identity(bad) in trained[-1][2] and done.failed == 1


def test_one_that_cannot_run_stops_no_other(
    tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = module._sweep

    def broken(step: Step, *more: Any) -> Any:
        if step.experiment == "figure1":
            raise UserError("got a sweep that is at work here")
        return sweep(step, *more)

    monkeypatch.setattr(module, "_sweep", broken)
    planned = small(tmp_path, "figure1", "table3")
    done = run(planned, Observer())
    assert done.errors == {planned.steps[0].folder.name: "got a sweep that is at work here"}
    assert [what for what, *_ in trained] == ["table3"]


def test_ctrl_c_ends_after_the_sweep_that_heard_it(tmp_path: Path, trained: list[Any]) -> None:
    class Stopping(Observer):
        def should_stop(self) -> bool:
            return True

    done = run(small(tmp_path, "figure1", "table3"), Stopping())
    assert done.stopped and [what for what, *_ in trained] == ["figure1"]


def test_ctrl_c_before_anything_is_trained_is_a_stop_and_a_second_one_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Observer):
        def should_stop(self) -> bool:
            return True

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_sweep", interrupted)
    done = run(small(tmp_path, "figure1", "table3"), Observer())
    assert done.stopped and done.trained == 0 and done.errors == {}
    with pytest.raises(KeyboardInterrupt):
        run(small(tmp_path, "figure1", "table3"), Asked())


def test_the_machine_is_remembered_but_not_of_fine_tunes_alone(tmp_path: Path, trained: list[Any]) -> None:
    run(small(tmp_path, "table2"), Observer())
    config = RunConfig()
    machine = rates.Machine.of(config.device, config.precision, "bundled")
    assert rates.known(machine) is None
    planned = small(tmp_path, "figure1")
    run(planned, Observer())
    again = small(tmp_path / "again", "figure1").lines()[0].hours()
    assert again.seconds == pytest.approx(100.0)


def test_nothing_is_learned_from_a_sweep_that_others_helped_with(
    tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = module._sweep

    def helped(*given: Any) -> Any:
        done = alone(*given)
        done.trained -= 1
        return done

    monkeypatch.setattr(module, "_sweep", helped)
    run(small(tmp_path, "figure1"), Observer())
    config = RunConfig()
    assert rates.known(rates.Machine.of(config.device, config.precision, "bundled")) is None
