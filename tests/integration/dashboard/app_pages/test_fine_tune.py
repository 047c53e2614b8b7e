"""The page Fine-tune in process: form and link, tables good and hostile, check, launch, watch, cancel, fail, resume."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from dashboard_tools import PlayedService, begin, button, captions, charts, command, metrics, opened, sound, wait
from gguf_files import whole
from streamlit.testing.v1 import AppTest

from beft_core import config, extras
from beft_core.adapter_methods import ADAPTERS
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.methods import METHODS
from beft_core.runs import about
from beft_core.runs.run import Run, list_runs
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot
from beft_core.training.estimate.count import count_parameters, layout_of
from dashboard.app_pages.fine_tune import methods
from dashboard.figures.parts.labels import method_name
from dashboard.shared import model_service

pytestmark = pytest.mark.usefixtures("lab")

REVIEWS = "review,stars,verdict\n" + "".join(
    f'"the {i}. film was {word}, all of it",{i},{"pos" if word == "good" else "neg"}\n'
    for i, word in enumerate(["good", "bad"] * 12)
)
ANSWER = {
    "trainable": 2304,
    "total": 22713216,
    "frozen": [],
    "examples": 300,
    "evaluated": 500,
    "steps": 114,
    "seconds": 41.0,
    "parts": {"train": 30.0, "evaluate": 11.0},
    "bytes": 800_000_000,
    "memory": 8_000_000_000,
    "step_ms": 260.0,
    "spread": 0.1,
    "timed_steps": 5,
    "load": 0.2,
    "device": "cpu",
    "how": "5 steps were timed",
}


def test_opens_ready_to_start_and_counts_without_measuring() -> None:
    at = opened("fine_tune")
    counted = count_parameters(RunConfig().probe())
    assert metrics(at)["Trained parameters"] == f"{counted.trainable:,}"
    share = next(metric.delta for metric in at.metric if metric.label == "Trained parameters")
    assert float(share.split(" % of ")[0]) == pytest.approx(100 * counted.trainable / counted.total, rel=5e-3)
    assert metrics(at)["Steps"] == "114" and metrics(at)["Time and memory"] == "not measured"
    assert not button(at, "Start").disabled and not at.error and not at.warning
    assert command(at) == "beft select --regime low --trajectory-every 4 --evaluate epoch"


def test_a_link_restores_every_choice() -> None:
    wanted = {
        "ft_do": "train",
        "ft_task": "sst2",
        "ft_regime": "medium",
        "ft_terms": ["q", "k"],
        "ft_layers": "3-5",
        "ft_preset": "paper",
        "ft_lr": "0.003",
        "ft_epochs": "2",
        "ft_schedule": "linear",
        "ft_batch": "8",
        "ft_length": "64",
        "ft_seed": "7",
        "ft_precision": "bfloat16",
        "ft_device": "cpu",
        "ft_dropout": "false",
        "ft_eps": "1e-7",
        "ft_eps_at": "after",
        "ft_null": "true",
        "ft_plain": "true",
        "ft_play": "false",
        "ft_fisher": "true",
        "ft_fisher_tuned": "true",
    }
    at = opened("fine_tune", **wanted)
    for word in (
        "beft train",
        "--task sst2",
        "--regime medium",
        "--terms q k",
        "--layers 3-5",
        "--preset paper",
        "--lr 0.003",
        "--epochs 2",
        "--schedule linear",
        "--batch-size 8",
        "--max-length 64",
        "--seed 7",
        "--precision bfloat16",
        "--device cpu",
        "--no-dropout",
        "--train-null",
        "--plain",
        "--fisher ",
        "--fisher-tuned",
        "--adam-epsilon 1e-07",
        "--adam-epsilon-at after",
    ):
        assert word in command(at), word
    assert "trajectory" not in command(at)
    assert any("rounding noise" in box.value for box in at.warning)
    assert metrics(at)["Trained parameters"] == f"{2 * 3 * 384:,}" and metrics(at)["Steps"] == "1,250"


def test_fisher_at_the_fine_tuned_model_is_offered_where_bias_terms_are_trained() -> None:
    for link in ({"ft_do": "select"}, {"ft_do": "train"}, {"ft_do": "train", "ft_mode": "all"}):
        at = opened("fine_tune", **link)
        assert "--fisher-tuned" not in command(at)
        at.toggle(key="ft_fisher_tuned").set_value(True).run()
        assert "--fisher-tuned" in command(at) and sound(at).query_params["ft_fisher_tuned"] == "true"
    for mode in ("head", "full", "random"):  # the command refuses it there
        at = opened("fine_tune", ft_do="train", ft_mode=mode, ft_fisher_tuned="true")
        assert "--fisher-tuned" not in command(at) and not at.error
        assert "ft_fisher_tuned" not in [toggle.key for toggle in at.toggle]


def test_a_run_without_acceleration_is_chosen_in_the_form_and_recorded() -> None:
    at = opened("fine_tune", ft_do="train")
    assert "--plain" not in command(at)
    at.toggle(key="ft_plain").set_value(True).run()
    assert "--plain" in command(at) and sound(at).query_params["ft_plain"] == "true"
    button(at, "Start").click().run()
    (run,) = list_runs()
    assert run.config()[1]["plain"] is True


def test_the_preset_says_what_it_fills_in(monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("fine_tune")
    assert "epsilon 1e-08 after the bias correction" in captions(at)
    at = opened("fine_tune", ft_preset="paper", ft_task="wic")
    said = captions(at)
    assert "Learning rate 0.001 (constant), 16 epochs, batches of 16, AdamW's epsilon 1e-06 before" in said
    assert "examples as the authors' does; the two sentences are read without the word" in said
    assert "Inputs: quick reads word: sentence1 and sentence2, paper sentence1 and sentence2 alone" in said
    assert command(at).startswith("beft select --task wic --regime low --preset paper")
    large = dataclasses.replace(layout_of("bundled"), layers=24, hidden_size=1024)
    monkeypatch.setattr(config, "layout_here", lambda model: large)
    assert "30 epochs" in captions(opened("fine_tune", ft_preset="paper", ft_task="sst2"))
    monkeypatch.setattr(config, "layout_here", lambda model: None)
    at = opened("fine_tune", ft_preset="paper", ft_task="sst2")
    assert "epochs by the model's size" in captions(at) and not at.exception


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("ft_model", "/nowhere", "not a folder"),
        ("ft_model", "../../etc", "folder"),
        ("ft_model", "a b", "model name"),
        ("ft_layers", "3-", "layer numbers"),
        ("ft_layers", "9", "0 to 5"),
    ],
)
def test_wrong_input_is_told_in_a_box_and_loses_nothing(key: str, value: str, words: str) -> None:
    at = opened("fine_tune", ft_seed="7")
    at.text_input(key=key).input(value).run()
    told = [box.value for box in [*at.error, *at.warning]]
    assert any(words in text for text in told), told
    assert at.number_input(key="ft_seed").value == 7


def test_a_learning_rate_of_full_fine_tuning_is_doubted_and_can_be_started() -> None:
    at = opened("fine_tune", ft_do="train", ft_lr="0.00002")
    assert "A learning rate of 2e-05 is one for full fine-tuning; for single bias terms" in at.warning[0].value
    assert not button(at, "Start").disabled and not opened("fine_tune", ft_do="train", ft_lr="0.003").warning


def test_every_method_is_a_choice_with_its_own_numbers_and_is_counted() -> None:
    at = opened("fine_tune", ft_do="train")
    assert set(at.selectbox(key="ft_mode").options) == {method_name(name) for name in METHODS}
    for method in ADAPTERS:
        at = opened("fine_tune", ft_do="train", ft_mode=method, ft_lr="0.003")
        counted = count_parameters(RunConfig(mode=method, terms=()))
        assert counted.trainable and metrics(at)["Trained parameters"] == f"{counted.trainable:,}", method
        assert f"--method {method} " in command(at) and "--rank" not in command(at) and not at.warning
        shown = {box.key for box in at.number_input if box.key in methods.NUMBERS.values()}
        assert shown == {methods.NUMBERS[one.field] for one in ADAPTERS[method].settings}
        assert ("ft_layers" in [box.key for box in at.text_input]) == ADAPTERS[method].wraps


def test_numbers_and_modules_of_a_method_are_in_the_link_and_in_the_command() -> None:
    link = {"ft_do": "train", "ft_mode": "lora", "ft_rank": "4", "ft_alpha": "0.5", "ft_targets": ["k", "o"]}
    at = opened("fine_tune", **link)
    for words in ("--method lora", "--targets k o", "--rank 4", "--alpha 0.5"):
        assert words in command(at), words
    assert metrics(at)["Trained parameters"] == f"{2 * 6 * 4 * (384 + 384):,}"
    at = sound(at.selectbox(key="ft_mode").select("vera").run())  # which has a rank, and no alpha
    assert "--rank 4" in command(at) and "--alpha" not in command(at)
    at = sound(at.selectbox(key="ft_mode").select("ln-tuning").run())  # which wraps none of these modules
    assert "--targets" not in command(at) and at.multiselect(key="ft_targets").value == []
    assert "ft_rank" not in at.query_params and not at.error and not at.warning
    at = opened("fine_tune", ft_do="train", ft_mode="prefix", ft_layers="3-5")  # its vectors are in every layer
    assert not at.warning and "--layers" not in command(at)


def test_a_method_whose_library_is_missing_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "METHODS", ("a_library_that_nobody_has",))
    at = opened("fine_tune", ft_do="train", ft_mode="lora")
    (said,) = [box.value.replace("\\", "") for box in at.warning]
    assert "without a_library_that_nobody_has" in said and "pip install 'beft-lab[methods]'" in said
    assert button(at, "Start").disabled and at.selectbox(key="ft_mode").value == "lora"
    assert not opened("fine_tune", ft_do="train", ft_mode="fish").warning


def test_a_model_of_the_hub_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard.app_pages.fine_tune import setup

    setup._hub_answers.clear()
    monkeypatch.setattr(setup, "hub_answers", lambda: False)
    at = opened("fine_tune", ft_model="somebody/something")
    assert "cannot be reached" in at.error[0].value
    setup._hub_answers.clear()
    monkeypatch.setattr(setup, "hub_answers", lambda: True)
    at = opened("fine_tune", ft_model="somebody/something")
    assert not at.error and "is downloaded" in at.info[0].value
    setup._hub_answers.clear()


def test_a_model_that_is_not_converted_yet_can_be_started(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(whole())
    at = opened("fine_tune", ft_model=str(file), ft_do="train")
    assert "it is converted, once" in at.info[0].value and not at.error
    assert not button(at, "Start").disabled and "--add-bias v" in command(at)
    at = sound(at.radio(key="ft_do").set_value("select").run())
    assert "--add-bias q k v" in command(at)


def test_the_null_term_is_explained() -> None:
    at = opened("fine_tune", ft_do="train", ft_terms=["k"])
    assert "adds the same number" in at.info[0].value and metrics(at)["Trained parameters"] == "the head only"
    at.toggle(key="ft_null").set_value(True).run()
    assert "rounding noise" in at.warning[0].value and metrics(at)["Trained parameters"] == "2,304"


def upload(at: AppTest, name: str, data: bytes) -> AppTest:
    return sound(at.file_uploader(key="ft_file").upload(name, data).run())


def test_a_table_is_previewed_and_stored_only_when_a_run_on_it_starts(lab: Path) -> None:
    at = opened("fine_tune", ft_task="own-table", ft_do="train")
    assert button(at, "Start").disabled and "no table yet" in at.warning[0].value
    upload(at, "../../re views.csv", REVIEWS.encode())
    assert at.selectbox(key="ft_text").value == "review" and at.selectbox(key="ft_label").value == "stars"
    assert "24 classes in 24 rows" in " ".join(box.value for box in at.error)
    at.selectbox(key="ft_label").select("verdict").run()
    assert not at.error and "2 classes: neg (10), pos (10)" in captions(at) and metrics(at)["Steps"] == "12"
    tables = lab / "home" / "tables"
    assert not tables.exists()
    button(at, "Start").click().run()
    (run,) = list_runs()
    (table,) = tables.iterdir()
    config = run.config()[1]
    assert config["train_file"] == str(table) and table.read_text() == REVIEWS and table.name.startswith("table-")
    assert (config["text"], config["text_pair"], config["label"]) == ("review", None, "verdict")
    assert (config["name"], config["problem"]) == ("re-views", None)
    assert config["table_sha256"] == hashlib.sha256(REVIEWS.encode()).hexdigest()
    assert about.about(run).name == "b_v on ../../re views.csv"
    assert sound(at).selectbox(key="ft_table").value == table.name  # which the browser puts into the URL
    again = opened("fine_tune", ft_task="own-table", ft_do="train", ft_table=table.name, ft_label="verdict")
    assert str(table) in command(again) and "--label verdict" in command(again)
    again.selectbox(key="ft_label").select("stars")
    sound(again.segmented_control(key="ft_problem").set_value("regression").run())
    assert "The labels are numbers" in captions(again) and "--label stars --problem regression" in command(again)


def test_no_more_examples_than_a_table_has_for_training() -> None:
    at = opened("fine_tune", ft_task="own-table", ft_do="train", ft_regime="number", ft_n="20", ft_label="verdict")
    upload(at, "reviews.csv", REVIEWS.encode())
    assert not button(at, "Start").disabled
    at.number_input(key="ft_n").set_value(21).run()
    assert "at most 20" in sound(at).warning[0].value and button(at, "Start").disabled


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b""),
        ("a.csv", b"\x00\xff" * 50),
        ("a.csv", b"one\n1\n"),
        ("a.jsonl", b"[1]\n"),
        ("a.parquet", b"PAR1junk"),
        ("a.tsv", b"x\tx\n1\t2\n"),
        ("a.csv", b'a,b\n"open,1\n'),
    ],
)
def test_hostile_tables_are_told_and_lose_nothing(name: str, data: bytes) -> None:
    at = upload(opened("fine_tune", ft_task="own-table", ft_seed="7"), name, data)
    assert at.error and name in at.error[0].value.replace("\\", "") and at.number_input(key="ft_seed").value == 7
    assert button(at, "Start").disabled


def test_check_first_and_the_estimate_stays_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Played(PlayedService):
        def ask(self, question: str, *timeout: float, **fields: Any) -> Any:
            asked.append({"question": question, **fields})
            return ANSWER

    model_service._remembered.clear()
    monkeypatch.setattr(model_service, "service", Played)
    at = opened("fine_tune", ft_do="train", ft_seed="11")
    button(at, "Check it first").click().run()
    assert asked[0]["question"] == "preflight" and asked[0]["config"]["seed"] == 11 and asked[0]["kind"] == "train"
    assert metrics(sound(at))["Time"] == "about 41 s" and metrics(at)["Memory"] == "800 MB"
    at.number_input(key="ft_seed").set_value(12).run()
    assert "Time" not in metrics(at)  # measured for another setup
    at.number_input(key="ft_seed").set_value(11).run()
    button(at, "Start").click().run()
    (run,) = list_runs()
    assert about.about(run).estimate == {"seconds": 41.0, "bytes": 800_000_000}
    wait(lambda: run.status().state == "done")
    at.run()
    told = " ".join(m.value for m in sound(at.run()).markdown)
    assert "Estimated 41 s, took" in told and "too long" in told


def test_a_check_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Played(PlayedService):
        def ask(self, question: str, *timeout: float, **fields: Any) -> Any:
            raise UserError("got <b>nothing</b>", "something")

    model_service._remembered.clear()
    monkeypatch.setattr(model_service, "service", Played)
    at = opened("fine_tune", ft_seed="13")
    button(at, "Check it first").click().run()
    assert "got \\<b\\>nothing" in sound(at).error[0].value and not button(at, "Start").disabled


@pytest.mark.parametrize("how", ["presenter", "read-only"])
def test_what_is_locked_cannot_be_started(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("fine_tune")
    assert not button(at, "Start").disabled
    if how == "read-only":
        monkeypatch.setenv("BEFT_READ_ONLY", "1")
        button(at, "Start").click().run()  # drawn before it was locked
        assert not list_runs() and "read-only" in sound(at).error[0].value.replace("\\", "")
        at = opened("fine_tune")
    else:
        at = opened("fine_tune", present="true")
    assert button(at, "Start").disabled
    assert button(at, "Check it first")


def write_records(run: Run, *records: dict[str, Any]) -> None:
    with run.metrics.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def curves(at: AppTest) -> list[Any]:
    return [one for one in at.get("bidi_component") if str(one.key).startswith("live-")]


def test_a_task_that_is_not_here_says_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BEFT_GLUE_DIR", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    told = " ".join(caption.value for caption in opened("fine_tune", ft_task="rte").caption)
    assert "Not on this machine" in told and "set BEFT\\_GLUE\\_DIR to a folder" in told


def test_the_list_marks_tasks_that_are_not_here_and_links_name_them_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "dev.tsv").write_text("index\n")
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path))
    monkeypatch.delenv("BEFT_SUPERGLUE_DIR", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    at = opened("fine_tune")
    shown = at.selectbox(key="ft_task").options
    assert "sst2 (not on this machine)" in shown and "cb (not on this machine)" in shown
    assert {"rte", "demo-sentiment", "own-table"} <= set(shown) and "ft_task" not in at.query_params
    at.selectbox(key="ft_task").select("sst2").run()
    assert sound(at).query_params["ft_task"] == "sst2" and "--task sst2" in command(at)
    at.selectbox(key="ft_task").select("demo-sentiment").run()
    assert "ft_task" not in sound(at).query_params  # the default does not stand there
    for task in ("sst2", "own-table"):
        assert opened("fine_tune", ft_task=task).selectbox(key="ft_task").value == task
    assert opened("fine_tune", ft_task="nonsense").selectbox(key="ft_task").value == "demo-sentiment"


def test_a_run_at_work_shows_its_curves_and_is_cancelled_from_a_new_session() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    write_records(
        run,
        {"type": "step", "seconds": 1, "step": 5, "total": 100, "loss": [0.5]},
        {"type": "epoch", "seconds": 1, "run": 0, "epoch": 1, "step": 5, "train_loss": 0.5, "accuracy": 0.7},
        {
            "type": "scores",
            "seconds": 1,
            "step": 5,
            "scores": {"v": {"projection_ratio": 0.3, "magnitude": 7.0, "magnitude_mean_abs": 0.1}},
        },
    )
    at = opened("fine_tune")  # no ?run= in its URL
    assert len(curves(at)) == 3 and at.get("progress") and not charts(at)
    assert len(curves(opened("fine_tune", ft_score="moved"))) == 3
    button(at, "Cancel").click().run()
    assert not [b for b in at.button if b.label == "Cancel" and not b.disabled]  # once is enough
    wait(lambda: run.status().state == "cancelled")
    at = opened("fine_tune", run=run.id)
    assert "kept" in at.info[0].value and charts(at) == 3


@pytest.mark.parametrize(("tuned", "words"), [(False, "to the end"), (True, "left in this stage")])
def test_training_is_not_the_end_of_a_run_that_measures_fisher_afterwards(tuned: bool, words: str) -> None:
    run = begin("train", steps=200, pause=0.05, fisher_tuned=tuned)
    wait(lambda: run.status().done >= 10)
    at = opened("fine_tune", run=run.id)
    (progress,) = at.get("progress")
    assert re.fullmatch(rf"train: \d+ of 200, about \d+ s {words}", progress.proto.text)
    button(at, "Cancel").click().run()


def test_how_a_run_ended_is_told_where_it_was_found_at_work() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    at = opened("fine_tune")  # no ?run= in its URL
    assert at.query_params["run"] == run.id
    button(at, "Cancel").click().run()
    wait(lambda: run.status().state == "cancelled")
    assert "kept" in sound(at.run()).info[0].value


def test_a_probe_that_learned_nothing_is_told_with_its_scores() -> None:
    run = begin("select", steps=3)
    wait(lambda: run.status().state == "done")
    probe = read_snapshot(run.snapshot)
    none_learned = dataclasses.replace(probe.meta, constant_answer={"value": 0.79, "examples": 100})
    terms = {key: (probe.pre(*key), probe.post(*key)) for key in probe.keys()}  # noqa: SIM118
    pre, post = ({key: pair[at] for key, pair in terms.items()} for at in (0, 1))
    write_snapshot(run.snapshot, Snapshot.build(none_learned, pre, post))
    lines = [one.value for one in opened("fine_tune", run=run.id).markdown]
    assert any("The probe did not beat a constant answer" in line and "scores say little" in line for line in lines)
    assert any("Projection ratio selects" in line for line in lines)


def test_runs_at_work_can_be_switched_between() -> None:
    first = begin("train", steps=10_000)
    wait(lambda: first.status().stage == "train")
    second = begin("train", steps=10_000)
    wait(lambda: second.status().position == 1)
    at = opened("fine_tune")
    assert "second in the queue of cpu" in " ".join(m.value for m in at.markdown)
    (switch,) = [group for group in at.segmented_control if "at work" in group.label]
    switch.select(next(option for option in switch.options if first.id[-6:] in option)).run()
    assert sound(at).query_params["run"] == first.id
    assert "running" in " ".join(m.value for m in at.markdown)


def test_a_killed_worker_is_told_with_its_log_and_resumed() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    run.log.write_text("last words\n")
    os.kill(run.recorded().process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    wait(lambda: not run.status().active)
    run.checkpoint.write_bytes(b"")
    at = opened("fine_tune", run=run.id)
    assert at.error[0].proto.title == rf"{run.id[-6:]} probe of all biases on demo\-sentiment lost its worker"
    assert "vanished" in at.error[0].value and any("last words" in code.value for code in at.code)
    button(at, "Resume from its checkpoint").click().run()
    assert not sound(at).error and run.status().active


def test_fewer_validation_examples_are_a_setting() -> None:
    at = opened("fine_tune", ft_n_eval="50")
    assert at.number_input(key="ft_n_eval").value == 50 and "--n-eval 50" in command(at)
