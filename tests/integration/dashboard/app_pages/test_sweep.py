"""The page Sweep in process: form and link, what is wrong, launch, watching, the end, cancelled, failed, locked."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from dashboard_tools import button, charts, command, metrics, opened, sound, wait
from example_decoder import write_copa, write_decoder
from streamlit.testing.v1 import AppTest

from beft_core import extras
from beft_core.cli.command_line import sweep_command
from beft_core.config import RunConfig
from beft_core.execution.clusters import slurm
from beft_core.execution.start import launch, start_worker
from beft_core.runs.archive import bytes_of, zip_of
from beft_core.runs.overview import overview
from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.sweeps.spec import SweepSpec, read_spec
from beft_core.sweeps.table import read_table, write_table
from dashboard.app_pages.sweep import results
from dashboard.shared.sources import run_title

pytestmark = pytest.mark.usefixtures("lab")

START = "Start the sweep"
DEFAULT = SweepSpec(terms=("v", "q", "k", "head", "all"), n_train=(200,), seeds=(0, 1))
SMALL = SweepSpec(terms=("v", "head"), n_train=(16,), seeds=(0, 1))


def said(at: AppTest) -> str:
    return " ".join(m.value for m in (*at.markdown, *at.caption)).replace("\\", "")


def table(at: AppTest) -> Any:
    return at.dataframe[0].value


def started(spec: SweepSpec = SMALL, **fields: Any) -> Run:
    """A sweep whose worker behaves as the fields say."""
    run = Run.create("sweep", spec.to_dict() | fields)
    start_worker(run)
    return run


def ended(spec: SweepSpec = SMALL, **fields: Any) -> Run:
    run = started(spec, **fields)
    wait(lambda: not run.status().active)
    return run


# --- the form ------------------------------------------------------------------------------------------------------


def test_opens_ready_to_start_and_counts() -> None:
    at = opened("sweep")
    assert metrics(at)["Fine-tunes"] == "10" and metrics(at)["Steps"] == f"{10 * 6 * 13:,}"
    assert not button(at, START).disabled and not at.error and not at.warning and not charts(at)
    assert command(at) == (
        "beft sweep --tasks demo-sentiment --n-train 200 --terms v q k head all --seeds 2 --out sweep-demo-sentiment"
    )
    assert "can change nothing in this model" in said(at)


def test_a_link_restores_every_choice() -> None:
    wanted = {
        "sw_tasks": ["demo-similarity", "demo-sentiment"],
        "sw_regimes": ["low", "all"],
        "sw_n": "16 40",
        "sw_terms": ["v", "q+v", "all"],
        "sw_lrs": "2e-3, 1e-2",
        "sw_probe_lrs": "1e-4",
        "sw_seeds": "3",
        "sw_epochs": "2",
        "sw_preset": "paper",
        "sw_device": "cpu",
        "sw_precision": "bfloat16",
        "sw_eps": "1e-7",
        "sw_eps_at": "after",
        "sw_plain": "true",
    }
    at = opened("sweep", **wanted)
    assert command(at) == (
        "beft sweep --tasks demo-similarity demo-sentiment --regimes low all --n-train 16 40 --terms v q+v all "
        "--lrs 0.002 0.01 --probe-lrs 0.0001 --seeds 3 --preset paper --epochs 2 --adam-epsilon 1e-07 "
        "--adam-epsilon-at after --precision bfloat16 --device cpu --plain --out sweep-demo-similarity-demo-sentiment"
    )
    assert metrics(at)["Fine-tunes"] == f"{2 * 4 * (2 + 2 + 1) * 3}"
    assert "demo-sentiment: low 300, all" in said(at)
    assert "demo-sentiment 2 epochs; AdamW's epsilon 1e-07 after the bias correction" in said(at)


def test_other_methods_stand_beside_terms_with_settings_that_are_typed() -> None:
    at = opened("sweep", sw_terms=["v"], sw_methods=["ia3", "fish"])
    assert command(at).startswith(
        "beft sweep --tasks demo-sentiment --n-train 200 --terms v --methods ia3 fish --seeds"
    )
    assert metrics(at)["Fine-tunes"] == "6" and not at.warning
    typed = "lora rank=4 targets=q,k lrs=5e-4,2e-3"
    at = opened("sweep", sw_terms=[""], sw_methods=["ia3", typed])
    assert at.multiselect(key="sw_methods").value == ["ia3", typed] and metrics(at)["Fine-tunes"] == "6"
    (file,) = [code.value for code in at.code if not code.value.startswith("beft ")]
    wanted = {"terms": [], "methods": ["ia3", typed], "n_train": 200, "seeds": 2}
    assert SweepSpec.from_dict(yaml.safe_load(file)) == SweepSpec.from_dict(wanted)
    for strange, words in (
        ("lora rank=0", "got --rank 0"),
        ("lorra", "try lora"),
        ("ia3 targets=ln1", "--targets ln1"),
    ):
        at = opened("sweep", sw_methods=[strange])
        assert words in at.warning[0].value.replace("\\", "") and button(at, START).disabled


def test_prompted_tasks_of_a_language_model_that_is_given_biases(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_copa(lab / "superglue")
    monkeypatch.setenv("BEFT_SUPERGLUE_DIR", str(lab / "superglue"))
    tiny = str(write_decoder(lab / "tiny"))
    link = {"sw_model": tiny, "sw_tasks": ["prompt-copa"], "sw_n": "4"}
    at = opened("sweep", **link, sw_terms=["v", "q+o"], sw_methods=["lora", "none"])
    assert not at.warning and not at.error and metrics(at)["Fine-tunes"] == "8"
    assert "--tasks prompt-copa" in command(at) and "--add-bias v q o" in command(at)
    assert "This model has no $b_v$" in said(at)
    at = opened("sweep", **link, sw_terms=[""], sw_methods=["lora"])
    (file,) = [yaml.safe_load(code.value) for code in at.code if not code.value.startswith("beft ")]
    assert file["settings"]["add_bias"] == ["q", "k", "v"] and file["terms"] == []
    at = opened("sweep", **link)  # the first choice, of which a head is left out
    assert not at.warning and metrics(at)["Fine-tunes"] == "8" and "*head* is left out" in said(at)
    assert "--terms v q k all " in command(at)
    at = opened("sweep", **link, sw_terms=["v", "head"])  # which is asked for, and cannot be trained
    assert "without a trained head" in at.warning[0].value and "left out" not in said(at)
    at = opened("sweep", sw_tasks=["prompt-copa"], sw_n="4", sw_terms=["v"])
    assert "bert, which is no language model" in at.warning[0].value and "--add-bias" not in str(at.code)


def test_methods_that_cannot_train_here_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("sweep", sw_methods=["none"])
    assert "whose answers a head gives that must be trained" in at.warning[0].value.replace("\\", "")
    monkeypatch.setattr(extras, "METHODS", ("a_library_that_nobody_has",))
    at = opened("sweep", sw_methods=["lora"])
    assert "pip install 'beft-lab[methods]'" in at.warning[0].value.replace("\\", "") and button(at, START).disabled
    assert not opened("sweep", sw_methods=["fish"]).warning


def test_joined_terms_in_an_address_that_was_typed_by_hand() -> None:
    assert "--terms v q+v --seeds" in command(opened("sweep", sw_terms=["v", "q v"]))


def test_the_paper_preset_fills_in_epochs_by_task() -> None:
    at = opened("sweep", sw_preset="paper", sw_tasks=["demo-similarity", "demo-sentiment"])
    assert (
        "demo-similarity 30 epochs, demo-sentiment 30 epochs; AdamW's epsilon 1e-06 before the bias correction; the "
        "seed draws examples as the authors' does."
    ) in said(at)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sw_lrs", "fast", "positive numbers"),
        ("sw_lrs", "-1e-3", "positive numbers"),
        ("sw_n", "1.5", "whole numbers"),
        ("sw_n", "100000", "at most"),
        ("sw_probe_lrs", "nan", "positive numbers"),
        ("sw_model", "/nowhere", "folder"),
        ("sw_lrs", " ".join(f"{i}e-6" for i in range(1, 1500)), "on this page"),
    ],
)
def test_wrong_input_is_told_and_loses_nothing(key: str, value: str, words: str) -> None:
    at = opened("sweep", sw_seeds="7")
    at.text_input(key=key).input(value).run()
    assert words in sound(at).warning[0].value.replace("\\", "") and button(at, START).disabled
    assert at.number_input(key="sw_seeds").value == 7 and not at.metric


@pytest.mark.parametrize(
    ("key", "values", "words"),
    [("sw_terms", ["v", "w"], "got --terms w"), ("sw_terms", [], "at least one"), ("sw_tasks", [], "got no task")],
)
def test_a_choice_that_cannot_be_is_told(key: str, values: list[str], words: str) -> None:
    at = opened("sweep")
    at.multiselect(key=key).set_value(values).run()
    assert words in sound(at).warning[0].value.replace("\\", "") and button(at, START).disabled


def test_a_regime_that_a_task_does_not_have_is_told() -> None:
    at = opened("sweep", sw_tasks="wic", sw_regimes="high")
    assert "does not define for wic" in sound(at).warning[0].value.replace("\\", "") and "no high" in said(at)


# --- from the launch to the end ------------------------------------------------------------------------------------


def test_started_watched_and_done() -> None:
    at = opened("sweep")
    at.text_input(key="sw_n").input("16").run()
    button(at, START).click().run()
    (run,) = list_runs()
    assert sound(at).query_params["sweep_run"] == run.id
    kind, fields = run.config()
    assert kind == "sweep" and SweepSpec.from_dict(fields) == SweepSpec.from_dict({**DEFAULT.to_dict(), "n_train": 16})
    wait(lambda: run.status().state == "done")
    at = opened("sweep", sweep_run=run.id)  # as after F5
    assert charts(at) == 2 and "is done after" in said(at) and "10 fine-tunes." in said(at)
    assert "On demo-sentiment, **what is trained** explains" in said(at) and "over 10 fine-tunes" in said(at)
    means = table(at)
    assert list(means["trains"]) == ["v", "q", "k", "head", "all"] and list(means["seeds"]) == [2] * 5
    assert means["mean, %"][0] == pytest.approx(80.5) and means["mean, %"][1] == pytest.approx(60.5)
    assert means["selects"][4] == "v" and "failed" not in means
    at.segmented_control(key="sweep_rows").select("every fine-tune").run()
    assert len(table(sound(at))) == 10 and "seed" in table(at)
    link = next(e.proto for e in at.get("page_link") if e.proto.label == "Beside the paper's")
    assert "evaluation" in link.page and f"Run+{run.id[-6:]}" in link.query_string.replace("%20", "+")
    button(at, "Dismiss").click().run()
    assert "sweep_run" not in sound(at).query_params and not charts(at)
    other = at.selectbox(key="sweep_earlier")
    other.select(other.options[0]).run()
    assert sound(at).query_params["sweep_run"] == run.id and charts(at) == 2


def test_one_at_work_is_found_watched_cancelled_and_gone_on_with() -> None:
    run = started(SweepSpec(terms=("v", "head"), n_train=(16,), seeds=tuple(range(6))), pause=0.02)
    wait(lambda: run.status().stage == "train")
    at = opened("sweep")  # no ?sweep_run= in its URL
    assert at.query_params["sweep_run"] == run.id and at.get("progress")
    assert "The first results come" in said(at) and "4 fine-tunes in one pass" in said(at)
    wait(lambda: (run.sweep / "results.parquet").is_file())
    at = opened("sweep")
    assert charts(at) == 1 and re.search("[48] of 12 fine-tunes", said(at)) and not button(at, START).disabled
    button(at, "Cancel").click().run()
    wait(lambda: not run.status().active)
    at = opened("sweep", sweep_run=run.id)
    assert run.status().state == "cancelled" and "of 12 fine-tunes are finished" in at.info[0].value
    button(at, "Resume").click().run()
    assert not sound(at).error and at.query_params["sweep_run"] == run.id
    wait(lambda: run.status().state == "done")
    assert len(read_table(run.sweep)) == 12


def test_what_is_not_finished_has_its_place_in_the_picture() -> None:
    run = ended()
    done = read_table(run.sweep)
    last = done[(done["trains"] == "v") & (done["seed"] == 1)]
    write_table(pd.concat([last, done[(done["trains"] == "head") & (done["seed"] == 0)]]), run.sweep)
    at = opened("sweep", sweep_run=run.id)
    assert "2 of 4 fine-tunes" in said(at)
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    (v,), (head,) = (next(t["x"] for t in figure["data"] if t["name"] == name) for name in ("v", "head"))
    first, second = figure["layout"]["xaxis"]["tickvals"]
    assert v > first and head < second  # the second of two seeds stands right of its rate, the first left of it


def test_a_large_table_is_filtered_before_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousandth of the limits: 4 fine-tunes are a large sweep, 2 rows all that the browser gets."""
    run = ended()
    monkeypatch.setattr(results, "LARGE", 3)
    monkeypatch.setattr(results, "ROWS_SENT", 2)
    at = opened("sweep", sweep_run=run.id, sweep_rows=results.ALL)
    assert len(table(at)) == 2 and "The first 2 of 4 rows" in said(at)
    sound(at.selectbox(key="rows_trained").select("head").run())
    assert set(table(at)["trains"]) == {"head"} and "The first" not in said(at)
    assert {trace["name"] for trace in json.loads(at.get("plotly_chart")[0].proto.spec)["data"]} == {
        "head",
        "mean head",
    }
    linked = opened("sweep", sweep_run=run.id, sweep_rows=results.ALL, rows_trained="v")
    assert set(table(linked)["trains"]) == {"v"}
    other = opened("sweep", sweep_run=run.id, rows_trained="none-such")
    assert other.selectbox(key="rows_trained").value == results.EVERY, "what another sweep had"


def test_a_second_one_waits_and_says_so() -> None:
    first = started(pause=0.05)
    wait(lambda: first.status().stage == "train")
    second = started()
    wait(lambda: second.status().position == 1)
    at = opened("sweep", sweep_run=second.id)
    assert "second in the queue of" in said(at)
    assert any("sweep of v, head" in option for option in at.selectbox(key="sweep_earlier").options)


def test_a_fine_tune_that_failed_is_counted_and_told() -> None:
    run = ended(fails=["head"])
    at = opened("sweep", sweep_run=run.id)
    assert "4 fine-tunes, 2 failed" in said(at)
    assert list(table(at)["failed"].fillna(0)) == [0, 2]
    at = opened("sweep", sweep_run=run.id, sweep_rows="every fine-tune")
    assert list(table(at)["failure"].dropna()) == ["the loss is not a number"] * 2
    everything = ended(fails=["head", "v"])
    at = opened("sweep", sweep_run=everything.id)
    assert not charts(at) and "4 fine-tunes, 4 failed" in said(at)


def test_a_sweep_that_is_done_tries_again_what_lacked_memory() -> None:
    run = ended(lacks=["head"])
    at = opened("sweep", sweep_run=run.id)
    assert "4 fine-tunes, 2 failed" in said(at)
    button(at, "Try 2 fine-tunes again that lacked memory").click().run()
    assert not sound(at).error
    wait(lambda: run.status().state == "done")
    assert set(read_table(run.sweep)["state"]) == {"done"}
    at = opened("sweep", sweep_run=run.id)
    assert "4 fine-tunes" in said(at) and not [one for one in at.button if "lacked memory" in one.label]


@pytest.mark.parametrize(("act", "words"), [("crash", "ZeroDivisionError"), ("memory", "Memory ran out")])
def test_why_a_sweep_failed_is_told(act: str, words: str) -> None:
    run = ended(act=act)
    at = opened("sweep", sweep_run=run.id)
    assert words in at.error[0].value and not charts(at) and not button(at, "Resume").disabled
    assert any("Traceback" in code.value for code in at.code)


def test_damage_is_told() -> None:
    run = ended()
    (run.sweep / "results.parquet").write_bytes(b"PAR1 junk")
    assert not charts(opened("sweep", sweep_run=run.id))
    other = Run.create("train", {"task": "sst2"})
    assert "sweep_run" not in opened("sweep", sweep_run=other.id).query_params
    assert "sweep_run" not in opened("sweep", sweep_run="../../x").query_params
    (other.path / "config.json").write_text("{")
    assert "sweep_run" not in opened("sweep", sweep_run=other.id).query_params


def test_a_locked_page_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert button(opened("sweep", present="true"), START).disabled
    run = ended(act="crash")
    at, old = opened("sweep"), opened("sweep", sweep_run=run.id)
    monkeypatch.setenv("BEFT_READ_ONLY", "1")
    button(at, START).click().run()
    button(old, "Resume").click().run()
    for page in (at, old):
        assert any("read-only" in box.value.replace("\\", "") for box in sound(page).error)
    assert list_runs() == [run] and run.status().state == "failed"
    at = opened("sweep", sweep_run=run.id)
    assert button(at, START).disabled and button(at, "Resume").disabled


# --- other pages ---------------------------------------------------------------------------------------------------


def test_the_evaluation_opens_on_it() -> None:
    run = ended(DEFAULT)
    at = opened("evaluation", results=f"Run {run.id[-6:]}: sweep")
    assert at.selectbox(key="results").value == f"Run {run.id[-6:]}: sweep" and "10 fine-tunes" in said(at)


@pytest.mark.parametrize("page", ["fine_tune", "importance", "start", "merge", "geometry", "compare"])
def test_a_sweep_at_work_disturbs_no_other_page(page: str) -> None:
    run = started(pause=0.05)
    wait(lambda: run.status().stage == "train")
    at = opened(page, run=run.id, merge_run=run.id)
    assert not at.error
    if page == "start":
        (link,) = [e.proto for e in at.get("page_link") if run.id[-6:] in e.proto.label]
        assert "sweep" in link.page and run.id in link.query_string
    if page == "fine_tune":
        assert "run" not in at.query_params and not button(at, "Start").disabled


def fine_tune() -> Run:
    """A fine-tune of the past, with a curve."""
    run = Run.create("train", RunConfig(task="demo-similarity").to_dict())
    run.metrics.write_text(
        '{"type": "step", "step": 1, "total": 1, "loss": [0.5]}\n'
        '{"type": "epoch", "run": 0, "epoch": 1, "step": 1, "train_loss": 0.5, "spearman": 0.7}\n'
    )
    run.write_status(Status("done", created=time.time(), began=time.time(), ended=time.time()))
    return run


def test_the_list_of_runs_shows_it_beside_others() -> None:
    run, other = ended(SMALL, fails=["head"]), fine_tune()
    listed = table(opened("runs"))
    assert list(listed["id"]) == [other.id, run.id] and list(listed["now"])[1] == "4 fine-tunes, 2 failed"
    assert list(table(opened("runs", on="demo-sentiment"))["id"]) == [run.id]
    alone = opened("runs", runs=overview(run).label)
    assert not charts(alone) and [s.value for s in alone.subheader] == ["Results"]
    assert alone.dataframe[1].value["fine-tunes"][0] == "4 fine-tunes, 2 failed"
    (link,) = [e.proto for e in alone.get("page_link") if e.proto.label == "Sweep" and run.id in e.proto.query_string]
    assert "sweep" in link.page
    both = opened("runs", runs=[overview(run).label, overview(other).label])
    assert charts(both) == 2 and len(both.dataframe) == 3  # the fine-tune has curves, the sweep does not
    assert {"kind", "tasks", "terms"} <= set(both.dataframe[2].value.columns)


def test_two_near_rates_are_two_choices_of_the_filter() -> None:
    rates = [1.0000001e-3, 1e-3, 0.1]
    assert results.values_by_name(rates) == {"0.001": 1e-3, "0.0010000001": 1.0000001e-3, "0.1": 0.1}
    assert list(results.values_by_name(["v", "q"])) == ["q", "v"]


def test_the_download_holds_its_table() -> None:
    run = ended()
    with zipfile.ZipFile(io.BytesIO(zip_of([overview(run)]))) as archive:
        names = {name.removeprefix(f"{run.id}/") for name in archive.namelist()}
        assert {"runs.csv", "config.json", "result.json", "sweep/results.csv", "sweep/results.parquet"} <= names
        assert archive.read(f"{run.id}/sweep/results.csv") == (run.sweep / "results.csv").read_bytes()
    assert bytes_of([overview(run)]) >= sum(
        (run.sweep / f"results.{kind}").stat().st_size for kind in ("csv", "parquet")
    )


def test_deleted_and_taken_back_and_resumed_in_the_list_of_runs() -> None:
    run = ended(act="crash")
    at = opened("runs", runs=overview(run).label)
    button(at, "Delete").click().run()
    assert list_runs() == []
    button(sound(at), "Undo").click().run()
    assert list_runs() == [run] and button(sound(at), "Start it again")
    run.sweep.mkdir()
    button(opened("runs", runs=overview(run).label), "Resume").click().run()
    wait(lambda: not run.status().active)


def test_it_is_called_by_its_tasks() -> None:
    run = ended(SweepSpec(("demo-sentiment", "demo-similarity"), n_train=(16,), terms=("v",)))
    assert run_title(run) == f"Run {run.id[-6:]}: sweep of v on demo-sentiment + demo-similarity"


def test_launch_takes_a_spec() -> None:
    run = launch("sweep", SMALL)
    assert sweep_command(SweepSpec.from_dict(run.config()[1])) == sweep_command(SMALL)


def test_tasks_that_are_not_here_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "dev.tsv").write_text("index\n")
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path))
    monkeypatch.delenv("BEFT_SUPERGLUE_DIR", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    at = opened("sweep", sw_tasks=["rte", "sst2"])
    chosen = at.multiselect(key="sw_tasks")
    assert chosen.value == ["rte", "sst2"] and "--tasks rte sst2" in command(at)
    assert {"rte", "demo-sentiment", "sst2 (not on this machine)", "cb (not on this machine)"} <= set(chosen.options)
    told = next(caption.value for caption in at.caption if "Not on this machine" in caption.value)
    assert "sst2. To have them, set BEFT\\_GLUE\\_DIR" in told and "rte" not in told
    chosen.set_value(["cb", "demo-sentiment"]).run()
    assert sound(at).query_params["sw_tasks"] == ["cb", "demo-sentiment"]
    at.multiselect(key="sw_tasks").set_value([]).run()
    assert sound(at).query_params["sw_tasks"] == ""
    assert opened("sweep", sw_tasks="").multiselect(key="sw_tasks").value == []
    assert opened("sweep", sw_tasks=["nonsense", "cb"]).multiselect(key="sw_tasks").value == ["cb"]
    at.multiselect(key="sw_tasks").set_value(["demo-sentiment"]).run()
    assert "sw_tasks" not in sound(at).query_params  # the default does not stand there


def test_a_table_is_one_more_task_and_is_kept_when_the_sweep_starts(lab: Path) -> None:
    reviews = "review,stars\n" + "".join(f"the {i}. film was what it was,{i % 5 + 1}\n" for i in range(40))
    at = opened("sweep", sw_tasks=["demo-sentiment", "own-table"], sw_n="16", sw_terms=["v"])
    assert "no table yet" in at.warning[0].value and button(at, START).disabled
    sound(at.file_uploader(key="sw_file").upload("../My reviews.csv", reviews.encode()).run())
    assert at.text_input(key="sw_name").value == "my-reviews" and "5 classes" in said(at) and not at.error
    assert metrics(at)["Fine-tunes"] == "4" and metrics(at)["Steps"] == str(2 * (6 * 1 + 6 * 1))
    at.segmented_control(key="sw_problem").set_value("regression").run()
    assert "a regression" in said(at)
    line = command(sound(at))
    assert "--tasks demo-sentiment" in line and "--name my-reviews --train-file" in line
    assert "--text review --label stars --problem regression" in line
    assert not (lab / "home" / "tables").exists()
    button(at, START).click().run()
    (run,), (stored,) = list_runs(), (lab / "home" / "tables").iterdir()
    spec = SweepSpec.from_dict(run.config()[1])
    assert spec.tasks == ("demo-sentiment", "my-reviews") and stored.read_text() == reviews
    table = spec.tables["my-reviews"]
    assert (table.train_file, table.problem, table.sha256) == (str(stored), "regression", table.content())
    assert sound(at).selectbox(key="sw_table").value == stored.name  # which the browser puts into the URL


def test_several_tables_are_a_task_each_by_their_own_names(lab: Path, tmp_path: Path) -> None:
    stars = "review,stars\n" + "".join(f"the {i}. film was what it was,{i % 5 + 1}\n" for i in range(40))
    prices = "thing;price\n" + "".join(f"{i} of them;{i}.5\n" for i in range(40))
    at = opened("sweep", sw_tasks=["demo-sentiment", "own-table"], sw_tables="2", sw_n="16", sw_terms=["v"])
    sound(at.file_uploader(key="sw_file").upload("stars.csv", stars.encode()).run())
    assert "got no table yet" in at.warning[0].value and "table 2" in at.warning[0].value and button(at, START).disabled
    sound(at.file_uploader(key="sw2_file").upload("stars.tsv", prices.replace(";", "\t").encode()).run())
    assert "got two tables named stars" in at.warning[0].value
    at.text_input(key="sw2_name").input("prices").run()
    assert "5 classes" in said(sound(at)) and "a regression" in said(at) and not at.warning
    assert metrics(at)["Fine-tunes"] == "6"
    assert command(at) == "beft sweep --config sweep.yaml --out sweep-demo-sentiment-stars-prices"
    (tmp_path / "sweep.yaml").write_text(next(code.value for code in at.code if code.language == "yaml"))
    button(at, START).click().run()
    (run,) = list_runs()
    spec = SweepSpec.from_dict(run.config()[1])
    assert spec == SweepSpec.from_dict(read_spec(tmp_path / "sweep.yaml"))
    assert spec.tasks == ("demo-sentiment", "stars", "prices")
    held = {name: Path(table.train_file).read_text() for name, table in spec.tables.items()}
    assert held == {"stars": stars, "prices": prices.replace(";", "\t")}
    chosen = {name: str(sound(at).selectbox(key=f"{name}_table").value) for name in ("sw", "sw2")}
    link = {f"{name}_table": value for name, value in chosen.items()} | {"sw_name": "stars", "sw2_name": "prices"}
    again = opened("sweep", sw_tasks=["demo-sentiment", "own-table"], sw_tables="2", sw_n="16", sw_terms=["v"], **link)
    assert metrics(again)["Fine-tunes"] == "6" and command(again) == command(at)
    again.number_input(key="sw_tables").set_value(1).run()
    assert metrics(sound(again))["Fine-tunes"] == "4" and "--name stars --train-file" in command(again)


def test_fewer_validation_examples_are_a_setting_of_all() -> None:
    at = opened("sweep", sw_n_eval="50")
    assert at.number_input(key="sw_n_eval").value == 50 and "--n-eval 50" in command(at)


def test_on_a_login_node_a_sweep_is_started_by_a_profile_of_the_cluster(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = opened("sweep")
    assert "Where" not in [box.label for box in at.selectbox]
    (lab / "home" / "clusters").mkdir(parents=True)
    (lab / "home" / "clusters" / "lab.yaml").write_text("partition: gpu\nmax_jobs: 3\n")
    monkeypatch.setattr("dashboard.app_pages.sweep.run.is_here", lambda: True)
    submitted: list[tuple[list[str], int]] = []

    def submit(words: list[str], name: str, cluster: Any, folder: Path, jobs: int = 1) -> str:
        submitted.append((words, jobs))
        assert cluster.partition == "gpu"
        return str(40 + len(submitted))

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "_answer", lambda words: SimpleNamespace(returncode=0, stdout="PENDING", stderr=""))
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")
    at = opened("sweep")
    where = next(box for box in at.selectbox if box.label == "Where")
    assert list(where.options) == ["this machine", "lab"]
    where.select("lab").run()
    button(at, START).click().run()
    assert sound(at)
    (run,) = list_runs()
    assert (run.recorded().executor, run.recorded().job) == ("slurm", "41 42")
    assert run.status().state == "queued" and [jobs for _, jobs in submitted] == [1, 2]
