"""Tasks from the Hub, with local Parquet files in the layouts of the real data sets in place of the download."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from beft_core.errors import UserError
from beft_core.tasks.load import load_task
from beft_core.tasks.registry import HUB_REVISIONS, TASKS
from beft_core.tasks.sources import hub


@pytest.fixture(autouse=True)
def nothing_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEFT_GLUE_DIR", raising=False)
    monkeypatch.delenv("BEFT_SUPERGLUE_DIR", raising=False)
    monkeypatch.delenv("BEFT_QA_DIR", raising=False)


def write(path: Path, labels: ClassLabel | Value, **columns: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    features = Features({name: labels if name == "label" else Value("string") for name in columns})
    Dataset.from_dict(columns, features=features).to_parquet(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for what the Hub's cache has of every data set."""
    asked = []

    def snapshot_download(dataset: str, *, repo_type: str, revision: str | None, **_: object) -> str:
        asked.append((dataset, repo_type, revision))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    yield tmp_path
    assert all(revision == HUB_REVISIONS[dataset] and kind == "dataset" for dataset, kind, revision in asked)
    assert asked


def test_glue_in_parquet(cache: Path) -> None:
    names = ClassLabel(names=["negative", "positive"])
    write(cache / "sst2/train-00000-of-00002.parquet", names, sentence=["fine ", "poor "], label=[1, 0])
    write(cache / "sst2/train-00001-of-00002.parquet", names, sentence=["nice "], label=[1])
    write(cache / "sst2/validation-00000-of-00001.parquet", names, sentence=["awful "], label=[0])
    write(cache / "sst2/test-00000-of-00001.parquet", names, sentence=["hidden "], label=[-1])
    data = load_task("sst2")
    assert data.train.text == ["fine ", "poor ", "nice "]
    assert data.train.labels.tolist() == [1, 0, 1]
    assert data.evals["validation"].text == ["awful "]
    assert "nyu-mll/glue" in data.source


def test_mnli_and_its_two_validation_sets(cache: Path) -> None:
    names = ClassLabel(names=["entailment", "neutral", "contradiction"])
    for i, split in enumerate(("train", "validation_matched", "validation_mismatched")):
        file = cache / f"mnli/{split}-00000-of-00001.parquet"
        write(file, names, premise=[f"{split} premise"], hypothesis=["hypothesis"], label=[i])
    data = load_task("mnli")
    assert data.evals["matched"].text == ["validation_matched premise"]
    assert data.evals["mismatched"].labels.tolist() == [2]


def test_a_regression(cache: Path) -> None:
    for split in ("train", "validation"):
        file = cache / f"stsb/{split}-00000-of-00001.parquet"
        write(file, Value("float32"), sentence1=["a"], sentence2=["b"], label=[3.5])
    train = load_task("stsb").train
    assert train.labels.dtype == np.float32 and train.labels.tolist() == [3.5]


@pytest.mark.parametrize("layout", ["wic/{}/0000.parquet", "wic/super_glue-{}.parquet"])
def test_superglue_in_its_conversions(cache: Path, layout: str) -> None:
    names = ClassLabel(names=["False", "True"])
    for split in ("train", "validation"):
        columns = {"word": ["run"], "sentence1": ["I run."], "sentence2": ["A run."], "label": [1]}
        write(cache / layout.format(split), names, **columns)
    train = load_task("wic").train
    assert (train.text, train.text_pair, train.labels.tolist()) == (["run: I run."], ["A run."], [1])


def test_prompted_tasks_in_the_layouts_of_the_hub(cache: Path) -> None:
    texts, number = Value("string"), Value("int32")
    answer = {"number": texts, "date": dict.fromkeys(("day", "month", "year"), texts), "spans": [texts]}
    layouts: dict[str, tuple[str, dict, list[dict]]] = {
        "prompt-wsc": (
            "wsc.fixed/{}/0000.parquet",
            {"text": texts, "span1_text": texts, "span2_text": texts, "label": ClassLabel(names=["False", "True"])},
            [{"text": "Ann met Eve; she left.", "span1_text": "Eve", "span2_text": "She", "label": 1}],
        ),
        "prompt-copa": (
            "copa/{}/0000.parquet",
            {
                **dict.fromkeys(("premise", "choice1", "choice2", "question"), texts),
                "label": ClassLabel(names=["choice1", "choice2"]),
            },
            [{"premise": "It fell.", "choice1": "It broke.", "choice2": "It rose.", "question": "effect", "label": 0}],
        ),
        "prompt-record": (
            "record/{}/0000.parquet",
            {"passage": texts, "query": texts, "entities": [texts], "answers": [texts]},
            [{"passage": "A met B.", "query": "@placeholder left.", "entities": ["A", "B"], "answers": ["B"]}],
        ),
        "prompt-squad": (
            "plain_text/{}-00000-of-00001.parquet",
            {
                **dict.fromkeys(("title", "context", "question"), texts),
                "answers": {"text": [texts], "answer_start": [number]},
            },
            [{"title": "T", "context": "C", "question": "Q", "answers": {"text": ["a", "b"], "answer_start": [0, 1]}}],
        ),
        "prompt-drop": (
            "default/{}/0000.parquet",
            {
                "passage": texts,
                "question": texts,
                "answer": answer,
                "validated_answers": {name: [feature] for name, feature in answer.items()},
            },
            [
                {
                    "passage": "P",
                    "question": "Q",
                    "answer": {"number": "", "date": {}, "spans": ["x", "y"]},
                    "validated_answers": {"number": ["2"], "date": [{}], "spans": [[]]},
                }
            ],
        ),
    }
    found = {}
    for task, (layout, features, rows) in layouts.items():
        for split in ("train", "validation"):
            file = cache / layout.format(split)
            file.parent.mkdir(parents=True, exist_ok=True)
            Dataset.from_list(rows, features=Features(features)).to_parquet(file)
        found[task] = load_task(task).train
    assert found["prompt-wsc"].text[0].endswith('does the pronoun "she" refer to Eve? Yes or No?\n')
    assert found["prompt-copa"].candidates == [(" it broke.", " it rose.")] and found["prompt-copa"].golds == [(0,)]
    assert found["prompt-record"].candidates == [(" A left.", " B left.")] and found["prompt-record"].golds == [(1,)]
    assert found["prompt-squad"].answers == [("a", "b")]
    assert found["prompt-drop"].answers == [("x\ny", "2")] and found["prompt-drop"].candidates == [(" x\n",)]


def test_what_does_not_fit_is_refused(cache: Path) -> None:
    swapped = ClassLabel(names=["positive", "negative"])
    for split in ("train", "validation"):
        write(cache / f"sst2/{split}-0.parquet", swapped, sentence=["fine"], label=[0])
        write(cache / f"rte/{split}-0.parquet", Value("int64"), sentence1=["a"], sentence2=["b"], label=[-1])
        write(cache / f"cola/{split}-0.parquet", Value("int64"), words=["a"], label=[1])
    with pytest.raises(UserError, match="got the classes positive, negative"):
        load_task("sst2")
    with pytest.raises(UserError, match="row 1: got the label -1"):
        load_task("rte")
    with pytest.raises(UserError, match="no column 'sentence' for cola, only words, label"):
        load_task("cola")


def test_without_a_network_the_answer_is_quick_and_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A server that accepts and never answers is the slowest way in which a network can be missing.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        start = time.monotonic()
        with pytest.raises(UserError) as error:
            load_task("qnli")
        seconds = time.monotonic() - start
    assert seconds < 5
    for words in ("the Hub cannot be reached", "BEFT_GLUE_DIR", "QNLI/", "demo-sentiment"):
        assert words in str(error.value)
    (tmp_path / "SST-2").mkdir()
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path))
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    with pytest.raises(UserError, match=r"which BEFT_GLUE_DIR=.* lacks"):
        load_task("qnli")


def test_every_official_task_has_a_place_on_the_hub() -> None:
    assert {spec.hub[0] for spec in TASKS.values() if spec.hub} == set(HUB_REVISIONS)
