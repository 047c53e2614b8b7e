"""The list of runs in process: empty, filtered, live; comparing; names, tags, deleting and taking back; being told."""

from __future__ import annotations

import io
import os
import signal
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dashboard_tools import begin, button, charts, opened, sound, wait
from fake_worker import small_snapshot
from streamlit.testing.v1 import AppTest

from beft_core.config import RunConfig
from beft_core.runs import about
from beft_core.runs.archive import zip_of
from beft_core.runs.overview import overview, overviews
from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import write_snapshot
from dashboard.app_pages.runs import table as run_table
from dashboard.app_pages.runs.compare import labels

pytestmark = pytest.mark.usefixtures("lab")


def ended(state: str = "done", value: float = 0.8, snapshot: bool = True, **config: Any) -> Run:
    """A run of the past, with curves."""
    run = Run.create("train", RunConfig(**{"task": "demo-sentiment", "n_train": 300, **config}).to_dict())
    lines = [f'{{"type": "step", "step": {s}, "total": 40, "loss": [{1 / s}]}}\n' for s in range(1, 41)]
    lines.append(f'{{"type": "epoch", "run": 0, "epoch": 1, "step": 40, "train_loss": 0.5, "accuracy": {value}}}\n')
    run.metrics.write_text("".join(lines))
    if snapshot:
        write_snapshot(run.snapshot, small_snapshot(1))
    now = time.time()
    message = None if state == "done" else "Memory ran out."
    run.write_status(Status(state, created=now - 60, began=now - 50, ended=now - 10, message=message))
    return run


def label(run: Run) -> str:
    return overview(run).label


def listed(at: AppTest) -> Any:
    return at.dataframe[0].value


def tick(at: AppTest, *runs: Run) -> AppTest:
    return sound(at.multiselect(key="runs").set_value([label(run) for run in runs]).run())


def test_empty_says_how_to_begin() -> None:
    at = opened("runs")
    assert "No run yet" in "".join(m.value for m in at.markdown) and not at.dataframe
    assert at.get("page_link")[0].proto.label == "Start a fine-tune"


def test_all_runs_are_listed_with_what_matters() -> None:
    done, failed = ended(value=0.75), ended("failed", snapshot=False, terms=("q", "v"))
    about.rename(done, "baseline")
    about.set_tags(done, ["paper"])
    table = listed(opened("runs"))
    assert list(table["id"]) == [failed.id, done.id]
    assert list(table["run"]) == [failed.id[-6:], f"{done.id[-6:]} baseline"]
    assert list(table["trains"]) == ["b_q, b_v on demo-sentiment, seed 0", "b_v on demo-sentiment, seed 0"]
    assert [list(state) for state in table["state"]] == [["failed"], ["done"]]
    assert table["value"][1] == 0.75 and table["metric"][1] == "accuracy" and table["seconds"][1] == 40
    assert table["now"][0] == "Memory ran out" and table["now"][1] == "took 40 s"
    assert table["value"].dtype == "Float64"  # sorted as a number
    assert list(table["tags"][1]) == ["paper"]


def test_filters_stand_in_the_link() -> None:
    one, two = ended(seed=1), ended("failed", task="demo-similarity", lr=0.123)
    about.set_tags(one, ["paper"])
    for query, expected in (
        ({}, [two, one]),
        ({"state": "failed"}, [two]),
        ({"on": "demo-sentiment"}, [one]),
        ({"tag": "paper"}, [one]),
        ({"find": "seed=1 paper"}, [one]),
        ({"find": "0.123"}, [two]),
        ({"state": "dancing"}, [two, one]),
    ):
        assert list(listed(opened("runs", **query))["id"]) == [run.id for run in expected], query
    lora = ended(mode="lora", terms=(), rank=4)
    table = listed(opened("runs", method="LoRA"))
    assert list(table["id"]) == [lora.id] and list(table["method"]) == ["LoRA"]
    assert list(table["trains"]) == ["LoRA, rank 4 on demo-sentiment, seed 0"]
    assert list(listed(opened("runs", method="bias terms"))["id"]) == [two.id, one.id]
    for words in ("nothing like it", "seed=1 demo-similarity"):  # each of these two is in one of the runs
        at = opened("runs", find=words)
        assert not at.dataframe and "No run passes" in at.info[0].value


def test_a_link_restores_the_comparison() -> None:
    runs = [ended(seed=seed, value=0.7 + seed / 10) for seed in range(3)]
    at = opened("runs", runs=[label(run) for run in runs])
    assert charts(at) == 2
    headings = [s.value for s in at.subheader]
    assert headings == ["Results", "What differs between them", "Spread over seeds"]
    results, differing, spread = (frame.value for frame in at.dataframe[1:4])
    assert list(results["accuracy"]) == pytest.approx([0.7, 0.8, 0.9])
    assert list(differing.columns) == ["run", "seed"] and list(differing["seed"]) == ["0", "1", "2"]
    assert spread["mean"][0] == pytest.approx(0.8) and spread["std"][0] == pytest.approx(0.1) and spread["n"][0] == 3


def test_the_answer_is_first_and_groups_stand_in_the_link() -> None:
    for fields in (
        {"value": 0.7},
        {"seed": 1},
        {"value": 0.9, "terms": ("q",)},
        {"value": 0.3, "task": "demo-similarity"},
    ):
        ended(**fields)
    at = opened("runs")
    said = next(m.value for m in at.markdown if m.value.startswith("**4 fine"))
    assert said.startswith(r"**4 fine-tunes on 2 tasks.** Best on demo\-sentiment: :blue[$b_q$] 0.900 accuracy")
    assert "0.900 accuracy (mean of 3: 0.800); on demo\\-similarity: " in said
    assert len(at.dataframe) == 1
    grouped = opened("runs", group="What is trained", on="demo-sentiment")
    said = next(m.value for m in grouped.markdown if m.value.startswith("**3 fine"))
    assert said.startswith("**3 fine-tunes of 2 kinds on 1 task.** Highest mean on demo") and "0.900 accuracy." in said
    table = grouped.dataframe[0].value
    assert list(table["trained"]) == ["b_q", "b_v"] and list(table["runs"]) == [1, 2]
    assert list(table["mean"]) == pytest.approx([0.9, 0.75]) and list(table["averaged over"]) == ["", "seed"]
    assert list(opened("runs", group="Task").dataframe[0].value["mean"]) == pytest.approx([0.8, 0.3])


def test_two_tables_of_one_name_have_a_best_each() -> None:
    for folder, value in (("one", 0.9), ("one", 0.7), ("two", 0.6)):
        ended(value=value, train_file=f"/{folder}/data.csv", text="a", label="b", seed=round(100 * value))
    at = opened("runs")
    said = next(m.value for m in at.markdown if m.value.startswith("**3 fine")).replace("\\", "")
    assert said.startswith("**3 fine-tunes on 2 tasks.** Best on data.csv: ")
    assert "0.900 accuracy (mean of 2: 0.800); on data.csv: " in said and "0.600 accuracy." in said


def test_a_mean_over_several_base_models_says_so() -> None:
    for value, model in ((0.9, "bundled"), (0.7, "bundled"), (0.2, "org/other")):
        ended(value=value, model=model, seed=round(100 * value))
    said = next(m.value for m in opened("runs").markdown if m.value.startswith("**3 fine"))
    assert "0.900 accuracy (mean of 3 on 2 models: 0.600)." in said
    grouped = opened("runs", group="What is trained")
    assert "0.600 accuracy over 3 on 2 models, best 0.900." in next(
        m.value for m in grouped.markdown if m.value.startswith("**3 fine")
    )


def test_equal_runs_are_named_by_the_setting_that_differs(lab: Path) -> None:
    runs = [overview(ended(lr=lr)) for lr in (0.01, 0.002)] + [overview(ended(lr=0.01))]
    assert labels(runs[:2]) == ["b_v, lr 0.01", "b_v, lr 0.002"]
    first, second, third = labels(runs)
    assert second == "b_v, lr 0.002" and first != third and third == f"b_v, lr 0.01 ({runs[2].id[-6:]})"


def test_ticks_in_the_table_follow_the_runs_when_a_new_one_arrives() -> None:
    old, other = ended(seed=1), ended(seed=2)
    at = tick(opened("runs"), old)
    assert at.session_state["runs-table"]["selection"]["rows"] == [1]
    new = ended(seed=3)
    sound(at.run())
    assert list(listed(at)["id"]) == [new.id, other.id, old.id]
    assert at.session_state["runs-table"]["selection"]["rows"] == [2]
    assert at.multiselect(key="runs").value == [label(old)]


def test_a_tick_by_row_means_the_run_that_was_drawn_there(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {
        "runs-drawn": ["a", "b", "c"],
        "runs": ["hidden by a filter", "a"],
        "runs-table": {"selection": {"rows": [2, 1]}},
    }
    monkeypatch.setattr(run_table.st, "session_state", state)
    run_table._tick()
    assert state["runs"] == ["hidden by a filter", "b", "c"]


def test_rename_and_tags_are_kept_on_disk() -> None:
    one, two = ended(seed=1), ended(seed=2)
    about.set_tags(two, ["old"])
    at = tick(opened("runs"), one)
    next(t for t in at.text_input if t.label == "Name").set_value(" My\n*run* ").run()
    assert about.about(one).name == "My *run*" and "My *run*" in listed(sound(at))["run"][1]
    at.text_area[0].set_value("<b>why</b>\nit [diverged](x)").run()
    assert about.about(one).note == "<b>why</b>\nit [diverged](x)" and about.about(one).name == "My *run*"
    assert any(r"\<b\>why" in m.value and r"  " + "\n" + r"it \[diverged\]\(x\)" in m.value for m in sound(at).markdown)
    assert list(listed(opened("runs", find="diverged"))["id"]) == [one.id]
    at = tick(at, one, two)
    assert not [t for t in at.text_input if t.label == "Name"]
    next(m for m in at.multiselect if m.label.startswith("Tags")).set_value(["new"]).run()
    assert about.about(one).tags == ("new",) and about.about(two).tags == ("old", "new")


def test_a_bad_tag_is_told_and_changes_nothing() -> None:
    run = ended()
    at = tick(opened("runs"), run)
    next(m for m in at.multiselect if m.label.startswith("Tags")).set_value(["x" * 50]).run()
    assert "50 characters" in sound(at).error[0].value and about.about(run).tags == ()


def test_deleting_can_be_taken_back_also_by_another_visitor() -> None:
    runs = [ended(seed=seed) for seed in range(3)]
    at = tick(opened("runs"), *runs[:2])
    button(at, "Delete").click().run()
    assert list_runs() == [runs[2]] and sound(at).multiselect(key="runs").value == []
    at.run()
    button(at, "Undo").click().run()
    assert len(list_runs()) == 3 and sorted(sound(at).multiselect(key="runs").value) == sorted(map(label, runs[:2]))
    button(at, "Delete").click().run()
    other = opened("runs", runs=label(runs[0]))  # a link to what is gone
    assert other.multiselect(key="runs").value == []
    next(b for b in other.button if b.key == f"restore-{runs[0].id}").click().run()
    assert {run.id for run in list_runs()} == {runs[0].id, runs[2].id}
    button(sound(other), "Remove all for good").click().run()
    assert about.deleted() == [] and not sound(other).error


def test_deleting_the_last_run_still_offers_the_way_back() -> None:
    run = ended()
    at = tick(opened("runs"), run)
    button(at, "Delete").click().run()
    assert "No run yet" in "".join(m.value for m in sound(at).markdown)
    button(at, "Undo").click().run()
    assert list_runs() == [run] and charts(sound(at)) == 2


@pytest.mark.parametrize("query", [{}, {"present": "true"}])
def test_a_locked_page_offers_no_change(query: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended("failed")
    if not query:
        monkeypatch.setenv("BEFT_READ_ONLY", "1")
    at = opened("runs", runs=label(run), **query)
    assert button(at, "Delete").disabled and button(at, "Start it again").disabled
    locked = {popover.proto.popover.label for popover in at.get("popover") if popover.proto.popover.disabled}
    assert locked == {"Rename", "Tags", "Note"}


@pytest.mark.parametrize("what", ["Delete", "Start it again", "Name", "Note on this run", "Tags of this run"])
def test_a_page_that_was_locked_meanwhile_changes_nothing(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended("failed")
    at = opened("runs", runs=label(run))
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    monkeypatch.setenv("BEFT_READ_ONLY", "1")
    if what == "Name":
        next(t for t in at.text_input if t.label == what).set_value("x").run()
    elif what.startswith("Note"):
        at.text_area[0].set_value("x").run()
    elif what.startswith("Tags"):
        next(m for m in at.multiselect if m.label == what).set_value(["x"]).run()
    else:
        button(at, what).click().run()
    assert "read-only" in sound(at).error[0].value
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before


def test_a_live_run_is_followed_and_cancelled() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    at = opened("runs", runs=label(run))
    assert [list(state) for state in listed(at)["state"]] == [["running"]] and "train" in listed(at)["now"][0]
    assert button(at, "Delete").disabled
    button(at, "Cancel").click().run()
    wait(lambda: not run.status().active)
    at.run()
    assert "was cancelled" in sound(at).info[0].proto.title or "kept" in at.info[0].value


@pytest.mark.parametrize(("act", "words"), [("crash", "ZeroDivisionError"), ("memory", "Memory ran out")])
def test_why_a_run_failed_is_told_with_its_log(act: str, words: str) -> None:
    run = begin(act)
    wait(lambda: not run.status().active)
    at = opened("runs", runs=label(run))
    assert words in at.error[0].value and any("Traceback" in code.value for code in at.code)


def test_a_killed_worker_is_told_and_resumed_from_its_checkpoint() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    os.kill(run.recorded().process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    wait(lambda: not run.status().active)
    run.checkpoint.write_bytes(b"")
    at = opened("runs", runs=label(run))
    assert "vanished" in at.error[0].value
    button(at, "Resume from its checkpoint").click().run()
    assert not sound(at).error and run.status().active


def test_the_download_holds_everything() -> None:
    run = ended(value=0.75)
    about.rename(run, "baseline")
    with zipfile.ZipFile(io.BytesIO(zip_of(overviews()))) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        folder = f"{run.id}/"
        assert {"runs.csv", folder + "config.json", folder + "loss.csv", folder + "metrics.csv"} <= names
        assert archive.read(folder + run.snapshot.name) == run.snapshot.read_bytes()
        assert archive.read(folder + "loss.csv").decode().splitlines()[:3] == ["step,loss", "1,1.0", "2,0.5"]
        assert archive.read(folder + "metrics.csv").decode().splitlines() == ["step,train_loss,accuracy", "40,0.5,0.75"]
        head, row = archive.read("runs.csv").decode().splitlines()
        assert head.startswith("run,name,tags,state,seconds,selected,accuracy,kind") and f"{run.id},baseline" in row


def test_a_damaged_run_is_a_row_like_any_other(lab: Path) -> None:
    run = ended()
    (run.path / "config.json").write_text("{")
    run.metrics.write_bytes(b'{"type": "epoch", \xff\n[]\n')
    at = opened("runs", runs=label(run))
    assert listed(at)["task"][0] == "?" and not at.error


@pytest.mark.parametrize("tags", [(), ("good",)])
def test_all_columns_fit_at_1400_pixels(tags: tuple[str, ...]) -> None:
    one = overview(Run.create("train", RunConfig(task="demo-sentiment", n_train=300).to_dict()))
    room = 1400 - 300 - 2 * 80 - 34  # less the sidebar, the page's margins and the boxes to tick
    for name in ("", "baseline"):
        row = replace(one, about=replace(one.about, tags=tags, name=name))
        order = [*run_table.SHOWN, *(["tags"] if tags else [])]
        columns = run_table._columns([row])
        assert sum(columns[name]["width"] for name in order) <= room
        assert set(order) <= {name for name, column in columns.items() if column is not None}


@pytest.mark.parametrize(
    ("fields", "kind", "row"),
    [
        ({"terms": ("q", "v"), "seed": 3}, "train", "b_q, b_v on demo-sentiment, seed 3"),
        ({"terms": ("q", "k", "v", "o")}, "train", "4 terms on demo-sentiment, seed 0"),
        ({"mode": "head"}, "train", "the head only on demo-sentiment, seed 0"),
        ({}, "select", "probe on demo-sentiment, seed 0"),
    ],
)
def test_a_row_says_what_is_trained_on_what_also_when_renamed(
    lab: Path, fields: dict[str, Any], kind: str, row: str
) -> None:
    run = Run.create(kind, RunConfig(**{"task": "demo-sentiment", "n_train": 300, **fields}).to_dict())
    for name in ("", "a name"):
        about.rename(run, name)
        assert run_table.frame([overview(run)], 0.0)["trains"][0] == row
    assert run.id[-6:] in run_table.frame([overview(run)], 0.0)["run"][0]


def test_a_row_of_many_tasks_or_of_a_long_file_name(lab: Path) -> None:
    many = ("q k v o i d ln1 ln2 all", "sweep of 9 kinds")
    for terms, row in (("v q k head all", "sweep of v, q, k, head, all"), many):
        sweep = Run.create("sweep", {"tasks": ["rte", "cb", "sst2"], "terms": terms.split()})
        assert run_table.frame([overview(sweep)], 0.0)["trains"][0] == f"{row} on 3 tasks"
    own = {"train_file": f"/x/{'long-' * 20}.csv", "text": "a", "label": "b"}
    table = Run.create("train", RunConfig(**own, seed=7).to_dict())
    said = run_table.frame([overview(table)], 0.0)["trains"][0]
    assert said.startswith("b_v on long-") and said.endswith("…, seed 7") and len(said) < 43


@pytest.mark.parametrize(
    ("status", "snapshot", "said"),
    [
        (Status("cancelled", 0, message="Cancelled before anything was trained."), False, "no snapshot"),
        (Status("cancelled", 0, message="Cancelled.", proposal="It can be resumed."), False, "can be resumed"),
        (Status("cancelled", 0, message="Cancelled; what was trained until then is kept."), True, "snapshot kept"),
        (Status("lost", 0, message="The worker vanished.", stage="train"), False, "its worker is gone (train)"),
        (Status("failed", 0, message="Memory ran out. Take less."), False, "Memory ran out"),
        (Status("failed", 0, message="got a model of " + "many words " * 20), False, "got a model of many words…"),
    ],
)
def test_outcomes_end_within_their_cell(lab: Path, status: Status, snapshot: bool, said: str) -> None:
    run = Run.create("train", RunConfig(task="demo-sentiment", n_train=300).to_dict())
    if snapshot:
        write_snapshot(run.snapshot, small_snapshot(1))
    about.rename(run, "named")
    one = replace(overview(run), status=status)
    assert run_table.frame([one], 0.0)["now"][0] == said


def test_a_damaged_run_names_its_damaged_files(lab: Path) -> None:
    run = ended()
    (run.path / "config.json").write_text("{")
    (run.path / "about.json").write_text("[")
    row = run_table.frame([overview(run)], 0.0).iloc[0]
    assert row["now"] == "config.json, about.json" and list(row["state"]) == ["damaged"]
    assert run_table.states_of(overview(run)) == ["done", "damaged"]  # the filter finds it by both
