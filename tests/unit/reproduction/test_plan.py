"""What a reproduction will do, before it does it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from reproduction_tools import finish, without_data

from beft_core.comparison.folder import ComparisonFolder
from beft_core.errors import UserError
from beft_core.reproduction.plan import plan
from beft_core.sweeps import forecast
from beft_core.sweeps.spec import identity


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch, tmp_path)


def test_without_weights_and_data_nothing_runs_and_everything_is_said(tmp_path: Path) -> None:
    planned = plan(["table4"], tmp_path)
    assert [step.spec for step in planned.steps] == [None] * 4
    missing = {one.what: one.command for one in planned.missing}
    assert missing["FacebookAI/roberta-base"] == "beft fetch --model FacebookAI/roberta-base"
    assert missing["cb"] == "beft fetch --tasks cb"
    assert len(missing) == 3 + 4
    lines = planned.lines()
    assert [line.fine_tunes for line in lines] == [12, 12, 12, 2]
    assert all(not line.ready for line in lines) and sum(len(line.waiting) for line in lines) == 38


def test_a_rehearsal_without_data_runs_on_stand_ins(tmp_path: Path) -> None:
    (step,) = plan(["figure4"], tmp_path, models=["bundled"], small=True).steps
    assert step.stand_ins == {"sst2": "demo-sentiment", "cola": "demo-acceptability", "stsb": "demo-similarity"}
    assert step.spec is not None and step.is_other_model and not step.missing
    assert set(step.spec.tasks) == set(step.stand_ins.values())
    assert step.regimes == {32: "low", 48: "medium", 64: "high", 96: "all"}


def test_without_small_nothing_stands_in(tmp_path: Path) -> None:
    (step,) = plan(["figure1"], tmp_path, models=["bundled"]).steps
    assert step.spec is None and [one.what for one in step.missing] == ["sst2"]


def test_data_that_are_too_few_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "glue" / "SST-2"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text("sentence\tlabel\n" + "fine\t1\npoor\t0\n" * 30)
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path / "glue"))
    (step,) = plan(["figure1"], tmp_path, models=["bundled"]).steps
    assert step.missing[0].why == "60 of 1,000 training examples are here (BEFT_GLUE_DIR)"
    (small,) = plan(["figure1"], tmp_path, models=["bundled"], small=True).steps
    assert small.spec is not None and small.spec.tasks == ("sst2",) and not small.stand_ins


def test_what_parts_share_is_trained_once_and_what_is_finished_not_again(tmp_path: Path) -> None:
    planned = plan(["figure1", "figure4", "table3"], tmp_path, models=["bundled"], small=True)
    first, second, third = planned.lines()
    assert (first.fine_tunes, first.shared, len(first.ready)) == (4, 0, 4)
    assert (second.fine_tunes, second.shared, len(second.ready)) == (48, 4, 44)
    assert (third.fine_tunes, third.shared, len(third.ready)) == (2, 1, 1)
    finish(planned.steps[0])
    again = planned.lines()
    assert (again[0].finished, again[0].ready) == (4, ()) and again[1].ready == second.ready


def test_fine_tunes_that_must_be_alone_are_shared_with_nobody(tmp_path: Path) -> None:
    planned = plan(["table2", "table4"], tmp_path, models=["bundled"], small=True, seeds=1)
    alone, *others = planned.lines()
    ids = {identity(run) for run in alone.ready}
    assert ids & {identity(run) for line in others for run in line.ready}, "the same configuration stands in both"
    assert all(line.shared == 0 for line in planned.lines()[:2])
    after = plan(["table1", "table2"], tmp_path, models=["bundled"], small=True, seeds=1).lines()[1]
    assert after.shared == 0 and len(after.ready) == 4, "what Table 1 has trained in a pass is trained alone again"


def test_hours_follow_the_rate_of_this_machine(tmp_path: Path) -> None:
    (line,) = plan(["figure1"], tmp_path, models=["bundled"], small=True).lines()
    assert line.hours().seconds is None
    forecast.learned(line.ready, 100.0)
    assert line.hours().seconds == pytest.approx(100.0)
    elsewhere = plan(["table4"], tmp_path).lines()
    times = [one.hours().seconds for one in elsewhere]
    assert None not in times and times[2] > 2 * times[0], "BERT-large, not here, takes longer than BERT-base"


def test_a_model_that_only_stands_in_is_not_taken_to_be_as_large_as_the_papers(tmp_path: Path) -> None:
    (here,) = plan(["figure1"], tmp_path, models=["bundled"], small=True).lines()
    forecast.learned(here.ready, 100.0)
    (line,) = plan(["figure1"], tmp_path, models=["org/a-large-one"]).lines()
    assert line.waiting and line.hours().seconds is None
    assert dataclasses.replace(line, waiting=()).hours().seconds == 0


def test_models_of_nearly_the_same_name_have_folders_of_their_own(tmp_path: Path) -> None:
    names = ["org/a.b", "org/a-b", "org/c", f"x/{'y' * 60}", f"z/{'y' * 60}"]
    folders = [step.folder.name for step in plan(["figure1"], tmp_path, models=names).steps]
    assert len(set(folders)) == 5 and folders[2] == "figure1-1-org-c"
    assert folders[0] != "figure1-1-org-a-b" != folders[1], "neither depends on which is named first"
    (alone,) = plan(["figure1"], tmp_path, models=["org/a.b"]).steps
    assert alone.folder.name == "figure1-1-org-a-b"


def test_the_paper_trains_larger_models_longer_and_the_plan_knows(tmp_path: Path) -> None:
    base, roberta, *_ = plan(["table4"], tmp_path).lines()
    epochs = [{run.task: run.epochs for run in line.waiting} for line in (base, roberta)]
    assert epochs == [{"sst2": 16, "rte": 30, "cb": 60, "wic": 16}, {"sst2": 30, "rte": 30, "cb": 60, "wic": 30}]


def test_prompts_need_a_language_model(tmp_path: Path) -> None:
    steps = plan(["table5"], tmp_path, models=["bundled"]).steps
    assert len(steps) == 11
    for step in steps:
        assert step.spec is None and step.missing[0].what == "bundled" and "language model" in step.missing[0].why
    sst2 = steps[0]
    # Five methods at five rates each, then at their best and at one for all, maybe the same; two train nothing.
    assert 5 * 5 + 5 + 2 <= len(sst2.wanted) <= 5 * 5 + 5 * 2 + 2


def test_an_encoder_rehearses_table_5_by_heads(tmp_path: Path) -> None:
    sst2, rte = plan(["table5"], tmp_path, models=["bundled"], small=True).steps
    assert sst2.stand_ins == {"prompt-sst2": "demo-sentiment"} and sst2.comparison is not None
    assert sst2.comparison.task_name == "demo-sentiment" and rte.comparison is not None
    line, _ = plan(["table5"], tmp_path, models=["bundled"], small=True).lines()
    assert (line.fine_tunes, len(line.ready), line.finished) == (5 * 2 + 5 * 2, 20, 0)
    rows = ComparisonFolder(sst2.folder).trials.path / "rows"
    rows.mkdir(parents=True)
    for number in range(4):
        (rows / f"{number}.json").write_text("{}")
    assert plan(["table5"], tmp_path, models=["bundled"], small=True).lines()[0].finished == 4


def test_methods_of_others_need_their_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.extras.METHODS", ("no_such_library",))
    step, _ = plan(["table5"], tmp_path, models=["bundled"], small=True).steps
    assert step.spec is None and {one.what for one in step.missing} == {"the extra methods"}


def test_several_models_take_the_place_of_the_papers(tmp_path: Path) -> None:
    models = ["bundled", "google-bert/bert-large-cased"]
    steps = plan(["table4"], tmp_path, models=models).steps
    assert [(step.model, step.paper_model) for step in steps] == [
        ("bundled", "BERT-base"),
        ("google-bert/bert-large-cased", "BERT-large"),
        ("bundled", "BERT-base"),
        ("google-bert/bert-large-cased", "BERT-base"),
    ]
    assert len({step.folder for step in steps}) == 4


@pytest.mark.parametrize("model", ["../..", "a b", "no-such/../model"])
def test_a_model_that_cannot_be_is_missing_and_leaves_the_folder(model: str, tmp_path: Path) -> None:
    (step,) = plan(["figure1"], tmp_path, models=[model], small=True).steps
    assert step.spec is None and step.missing
    assert step.folder.parent == tmp_path / "sweeps" and ".." not in step.folder.name


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision"):
        plan(["figure1"], tmp_path, models=["bundled"], small=True, settings={"precision": "float8"})
