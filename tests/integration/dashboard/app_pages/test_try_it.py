"""The page Try it in process, on the real samples: it answers without a click, by link, and says what it cannot do."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from dashboard_tools import PlayedService, button, charts, opened, sound
from example_adapters import left
from streamlit.testing.v1 import AppTest

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.held import HeldFineTunes
from beft_core.reports.paired import match
from beft_core.runs.predictions import read_predictions
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import adapter_beside, read_snapshot, write_snapshot
from beft_core.tasks.load import load_task
from beft_core.tasks.predictions import Predictions
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.training.evaluate import evaluate
from dashboard.app_pages.try_it import examples
from dashboard.app_pages.try_it.setup import DEFAULT, FIRST, Setup
from dashboard.figures.parts.style import TERM_COLOURS
from dashboard.shared import model_service
from dashboard.shared.picker import TRY_EXAMPLES as EXAMPLES
from dashboard.shared.sources import run_title

SAMPLES = Path(__file__).parents[4] / "sample_snapshots"
HELD = HeldFineTunes()


class InProcess(PlayedService):
    """A desk that is this process."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.refusal: UserError | None = None

    def ask(self, question: str, timeout: float = 0, **fields: Any) -> Any:
        self.asked.append(fields)
        if self.refusal is not None:
            raise self.refusal
        return scored(**fields) if question == "score" else getattr(HELD, question)(**fields)


LOGITS: dict[tuple[Any, ...], Any] = {}
"""What fine-tunes make of whole validation sets: several tests want those of the same two."""


def scored(runs: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """Each fine-tune is read once, wherever its file lies."""
    found = []
    for run in runs:
        snapshot = HELD.snapshot(run)
        tensors = sorted((name, value.tobytes()) for name, value in snapshot.tensors().items())
        key = (*tensors, *sorted(map(repr, fields.items())), snapshot.meta.hyperparameters.get("max_length"))
        if key not in LOGITS:
            LOGITS[key] = HELD.score([run], **fields)["logits"][0]
        found.append(LOGITS[key])
    return {"logits": found, "seconds": 0.1}


@pytest.fixture(autouse=True)
def desk(lab: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    played = InProcess()
    monkeypatch.setattr(model_service, "service", lambda: played)
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(SAMPLES))
    st.cache_data.clear()
    return played


def words(at: AppTest) -> str:
    return " ".join(element.value for element in [*at.markdown, *at.caption, *at.info, *at.error])


def test_it_teaches_without_a_click(desk: InProcess) -> None:
    at = opened("try_it")
    assert at.multiselect(key="try").value == list(DEFAULT)
    verdict = next(m.value for m in at.markdown if m.value.startswith("####"))
    assert "$b_v$ turned 'positive' 0\\.74 into 'negative' 0\\.86; layers 1 and 2 made most of it" in verdict
    assert "$b_k$ \\(null\\) moved nothing" in words(at)  # the head alone
    assert charts(at) == 2
    table = at.dataframe[0].value
    assert table["fine-tune"].tolist() == ["b_v", "b_q", "b_k (null)"] and table["shift"][2] == 0
    (asked,) = desk.asked
    assert asked["texts"] == [FIRST] and asked["text_pairs"] is None and asked["model"] == "bundled"


def test_a_link_with_sentences_and_another_base(desk: InProcess) -> None:
    link = {"try": list(DEFAULT[:2]), "try_text": "a joy to watch\n\nutterly dull", "try_which": "2", "try_base": "b_q"}
    at = opened("try_it", **link)
    assert desk.asked[0]["texts"] == ["a joy to watch", "utterly dull"] and desk.asked[0]["apart"] == [1]
    table = at.dataframe[0].value
    assert len(table) == 4 and (table["shift"][table["fine-tune"] == "b_q"] == 0).all()
    assert "that of biases and head together" in words(at)
    at = sound(at.text_area(key="try_text").set_value("a joy to watch").run())
    assert len(at.dataframe[0].value) == 2


def test_pairs_have_a_value_on_the_scale_of_the_task(desk: InProcess) -> None:
    at = opened("try_it", **{"try": ["STS-B, low, b_v only", "STS-B, low, b_q only"]})
    assert "moved the value from" in words(at) and "value" in at.dataframe[0].value
    at = sound(at.text_area(key="try_pair").set_value("one\ntwo").run())
    assert "1 first and 2 second sentences" in words(at)


def test_an_adapter_is_asked_beside_biases_and_says_when_it_is_lost(desk: InProcess) -> None:
    run = Run.create("train", RunConfig(task="sst2", mode="lora", terms=(), rank=3, n_train=300).to_dict())
    file = left("lora", run.path)
    file.rename(run.snapshot)
    adapter_beside(file).rename(adapter_beside(run.snapshot))
    run.write_status(Status("done", created=1.0, began=2.0, ended=3.0))
    title = run_title(run)
    assert title.endswith(": LoRA, rank 3 on sst2")
    at = opened("try_it", **{"try": [DEFAULT[0], title]})
    table = at.dataframe[0].value
    assert table["fine-tune"].tolist() == ["b_v", "LoRA"] and abs(table["shift"][1]) > 1e-3
    assert "its adapter switched off" in words(at) and "put into the model one after the other" in words(at)
    colours = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert TERM_COLOURS["v"] in json.dumps(colours) and TERM_COLOURS["q"] not in json.dumps(colours)
    shutil.rmtree(adapter_beside(run.snapshot))
    at = opened("try_it", **{"try": [DEFAULT[0], title]})
    assert "its adapter is not beside it" in words(at) and at.dataframe[0].value["fine-tune"].tolist() == ["b_v"]


def test_fine_tunes_of_two_tasks_answer_by_one_head() -> None:
    at = opened("try_it", **{"try": ["SST-2, low, b_v only", "STS-B, low, b_v only"]})
    assert at.selectbox(key="try_task").value == "sst2"
    assert "They have no head for sst2" in words(at)


DEMOS = ["demo-sentiment, low, b_v only", "demo-sentiment, low, all-bias probe"]


def test_examples_of_a_task_one_by_one(desk: InProcess) -> None:
    at = opened("try_it", **{"try": DEMOS, "try_tab": EXAMPLES})
    verdict = next(m.value for m in at.markdown if m.value.startswith("####"))
    assert "is right where all biases is wrong" in verdict
    assert "A paired comparison: both answer the same 500 examples" in words(at)
    fixed = at.dataframe[0].value
    assert (fixed["gold"] == fixed["b_v"]).all() and (fixed["gold"] != fixed["all biases"]).all()
    assert fixed["text"].str.len().min() > 3
    at = sound(at.segmented_control(key="try_show").set_value("broken").run())
    broken = at.dataframe[0].value
    assert (broken["gold"] != broken["b_v"]).all() and (broken["gold"] == broken["all biases"]).all()
    assert f"{len(fixed):,} time" in verdict and f"{len(broken):,} time" in verdict


@pytest.mark.parametrize(
    ("prompt", "metrics"),
    [
        (PromptSpec("{text} It was", ("bad", "good")), ("accuracy", "f1_macro")),
        (PromptSpec("{ask}", candidate_columns=("answers",)), ("accuracy",)),  # the second of these is no class
        (None, ("accuracy", "f1_macro")),
    ],
)
def test_two_are_compared_by_the_metrics_that_their_own_task_has(
    prompt: PromptSpec | None, metrics: tuple[str, ...]
) -> None:
    one = Predictions("mine", np.arange(3), np.zeros(3), np.eye(3, 2, dtype=np.float32))
    assert examples._metrics(Setup((), "mine", False, prompt), match(one, one)) == metrics


def test_an_example_of_the_task_is_taken_into_the_field(desk: InProcess) -> None:
    at = opened("try_it", **{"try": DEMOS})
    texts = load_task("demo-sentiment").evals["validation"].text
    at = sound(button(at, "Take one of the task's examples").click().run())
    assert at.text_area(key="try_text").value in {" ".join(text.split()) for text in texts}
    assert desk.asked[-1]["texts"] == [at.text_area(key="try_text").value]


def test_predictions_of_a_run_are_read_once_and_kept(desk: InProcess) -> None:
    run = Run.create("train", RunConfig(task="demo-sentiment", n_train=300).to_dict())
    run.snapshot.write_bytes((SAMPLES / "demo-sentiment-low-seed0-v-only.beft.safetensors").read_bytes())
    run.write_status(Status("done", created=1.0, began=2.0, ended=3.0))
    link = {"try": [run_title(run), DEMOS[1]], "try_tab": EXAMPLES}
    opened("try_it", **link)
    (kept,) = read_predictions(run.predictions)
    assert len(kept) == 500 and kept.task == "demo-sentiment"
    st.cache_data.clear()
    desk.asked.clear()
    at = opened("try_it", **link)
    (asked,) = desk.asked
    assert [one["name"] for one in asked["runs"]] == ["all biases"]  # the other's lie beside its snapshot
    assert "is right where all biases is wrong" in words(at)


def test_each_is_read_as_long_as_its_own_training_had_it(desk: InProcess) -> None:
    """What is kept beside a run is what it would be scored by, whichever stood beside it on the page."""
    snapshot = read_snapshot(SAMPLES / "demo-sentiment-low-seed0-v-only.beft.safetensors")
    settings = {**snapshot.meta.hyperparameters, "max_length": 6}
    run = Run.create("train", RunConfig(task="demo-sentiment", n_train=300, max_length=6).to_dict())
    write_snapshot(run.snapshot, snapshot.with_meta(dataclasses.replace(snapshot.meta, hyperparameters=settings)))
    run.write_status(Status("done", created=1.0, began=2.0, ended=3.0))
    at = opened("try_it", **{"try": [run_title(run), DEMOS[1]], "try_tab": EXAMPLES})
    assert not at.error and [[one["name"] for one in asked["runs"]] for asked in desk.asked] == [
        ["b_v"],
        ["all biases"],
    ]
    (kept,) = read_predictions(run.predictions)
    accuracy = evaluate(read_snapshot(run.snapshot), RunConfig(task="demo-sentiment", max_length=6, device="cpu"))
    assert float((kept.predicted == kept.judged).mean()) == accuracy["accuracy"]


def test_what_nobody_stored_is_read_when_somebody_wants_it(desk: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_GLUE_DIR", str(SAMPLES))  # where no task is
    at = opened("try_it", try_tab=EXAMPLES)
    (error,) = at.error
    assert "try the tab Your sentences, which needs no data" in error.value and not desk.asked


def test_what_goes_wrong_is_told(desk: InProcess, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.refusal = UserError("no answer after 120 seconds")
    assert "no answer after 120 seconds" in words(opened("try_it")).replace("\\", "")
    assert "Type a sentence above" in words(opened("try_it", try_text=" "))
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(lab / "samples"))
    assert "None of these can be asked" in words(opened("try_it"))
