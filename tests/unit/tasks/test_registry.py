"""The registry says of every task what the benchmark and the paper say."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.tasks import metrics
from beft_core.tasks.answer_metrics import ANSWER_METRICS
from beft_core.tasks.registry import HEAD_TASKS, HUB_REVISIONS, REGIMES, TASKS, get_task

# Sizes, learning rates and epochs as the table in the authors' appendix has them, typed in a second time.
PAPER = {
    "cola": (7e-4, 16, 1710, 3420, 4275),
    "mnli": (1e-4, 30, 1000, 5000, 9000),
    "mrpc": (7e-4, 60, 367, 1191, 1835),
    "qnli": (1e-4, 30, 1000, 5000, 9000),
    "qqp": (4e-4, 30, 1000, 5000, 9000),
    "rte": (1e-3, 30, 300, 900, 1200),
    "sst2": (4e-4, 16, 1000, 5000, 11000),
    "stsb": (1e-4, 60, 287, 1150, 2300),
    "cb": (1e-3, 60, 250, None, None),
    "wic": (1e-3, 16, 1000, None, None),
}


def test_what_rows_are_about_is_one_of_their_texts() -> None:
    shared = {name: spec for name, spec in HEAD_TASKS.items() if spec.about}
    assert list(shared) == ["qnli", "rte", "mnli", "wnli", "cb", "boolq"]
    assert all(spec.about in (spec.text, spec.text_pair) for spec in shared.values())


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_settings(name: str) -> None:
    spec = TASKS[name]
    regimes = spec.regimes
    assert (spec.lr, spec.epochs, regimes["low"], regimes["medium"], regimes["high"]) == PAPER[name]
    assert regimes["all"] is None


def test_the_papers_settings_for_larger_models() -> None:
    assert {name: TASKS[name].epochs_larger or TASKS[name].epochs for name in ("rte", "sst2", "wic", "cb")} == {
        "rte": 30,
        "sst2": 30,
        "wic": 30,
        "cb": 60,
    }


def test_wic_says_what_is_fed() -> None:
    assert "word: sentence1" in TASKS["wic"].note and "paper sentence1 and sentence2 alone" in TASKS["wic"].note
    assert [name for name, spec in TASKS.items() if spec.note] == ["wic"]


@pytest.mark.parametrize("spec", TASKS.values(), ids=list(TASKS))
def test_every_row_is_complete(spec) -> None:
    assert set(spec.regimes) == set(REGIMES)
    free_text = spec.target.kind == "text"
    assert set(spec.metrics) <= set(ANSWER_METRICS if free_text else metrics.METRICS)
    assert spec.labels is None or len(spec.labels) == len(set(spec.labels)) >= 2
    assert (spec.target.kind == "regression") == (spec.metrics[0] == "spearman")
    assert 0 < spec.quick.lr <= 1e-2 and 0 < spec.quick.epochs <= 20
    if spec.source != "demo":
        assert spec.folder and spec.hub and spec.hub[0] in HUB_REVISIONS


def test_metrics_that_count() -> None:
    first = {name: TASKS[name].metrics[0] for name in TASKS}
    accuracy = {"sst2", "rte", "qnli", "mnli", "wnli", "wic", "boolq"}
    assert all(first[name] == "accuracy" for name in accuracy)
    assert (first["qqp"], first["mrpc"], first["cola"], first["stsb"], first["cb"]) == (
        "f1",
        "f1",
        "mcc",
        "spearman",
        "f1_macro",
    )
    assert set(TASKS["mnli"].evals) == {"matched", "mismatched"}


def test_classes_have_the_numbers_that_the_hub_gives_them() -> None:
    """The features of nyu-mll/glue and aps/super_glue, typed in a second time: class 0, class 1, class 2."""
    entailment = "entailment not_entailment"
    hub = {
        "sst2": "negative positive",
        "cola": "unacceptable acceptable",
        "mrpc": "not_equivalent equivalent",
        "qqp": "not_duplicate duplicate",
        "qnli": entailment,
        "rte": entailment,
        "wnli": "not_entailment entailment",
        "mnli": "entailment neutral contradiction",
        "cb": "entailment contradiction neutral",
        "wic": "false true",
        "boolq": "false true",
        "stsb": None,
    }
    assert {name: names and tuple(names.split()) for name, names in hub.items()} == {
        name: spec.labels for name, spec in HEAD_TASKS.items() if spec.source != "demo"
    }


def test_prompted_tasks_are_tasks_without_a_head() -> None:
    assert set(TASKS) - set(HEAD_TASKS) == {name for name in TASKS if name.startswith("prompt-")}
    assert all((spec.prompt is None) == (name in HEAD_TASKS) for name, spec in TASKS.items())
    assert get_task("PROMPT_SST2") is TASKS["prompt-sst2"]


@pytest.mark.parametrize("typed", ["sst2", "SST-2", "SST2", "sst-2", "sst_2"])
def test_spellings(typed: str) -> None:
    assert get_task(typed).name == "sst2"


def test_an_unknown_task_gets_the_list_and_a_proposal() -> None:
    with pytest.raises(UserError, match=r"'demo-sentimnt'.*cola.*try demo-sentiment"):
        get_task("demo-sentimnt")
