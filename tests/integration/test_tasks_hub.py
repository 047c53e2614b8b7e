"""The code around the Hub, with local Parquet files in its place."""

from __future__ import annotations

import dataclasses
import socket
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from beft_core import model_source
from beft_core.errors import UserError
from beft_core.tasks.data import load_task
from beft_core.tasks.hub import load_hub
from beft_core.tasks.registry import HUB_REVISIONS, TASKS, TaskSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setattr(model_source, "_hub_answers", lambda: True)
    for variable in ("BEFT_GLUE_DIR", "BEFT_SUPERGLUE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    return folder


def labels(*names: str) -> datasets.ClassLabel:
    return datasets.ClassLabel(names=list(names))


def publish(folder: Path, task: str, rows: dict[str, dict[str, list[Any]]], label: Any) -> TaskSpec:
    """A repository as the Hub has it: a card that lists the configurations, and a Parquet file per split."""
    spec = TASKS[task]
    assert spec.hub is not None
    config = spec.hub[1]
    card = f"---\nconfigs:\n- config_name: {config}\n  data_files:\n"
    for split, columns in rows.items():
        features = datasets.Features({name: datasets.Value("string") for name in columns} | {"label": label})
        (folder / config).mkdir(parents=True, exist_ok=True)
        made = datasets.Dataset.from_dict(columns, features=features)
        made.to_parquet(folder / config / f"{split}-00000-of-00001.parquet")
        card += f"  - split: {split}\n    path: {config}/{split}-*\n"
    (folder / "README.md").write_text(card + "---\n")
    return dataclasses.replace(spec, hub=(str(folder), config))


def test_names_of_classes_count_not_their_order(tmp_path: Path) -> None:
    split = {"sentence": ["fine", "poor"], "label": [0, 1]}
    spec = publish(tmp_path / "glue", "sst2", {"train": split, "validation": split}, labels("positive", "negative"))
    train, evals = load_hub(spec)
    assert train.text == ["fine", "poor"]
    assert train.text_pair is None
    assert train.labels.tolist() == [1, 0]
    assert train.labels.dtype == np.int64
    assert list(evals) == ["validation"]


def test_columns_with_other_names_and_two_validation_sets(tmp_path: Path) -> None:
    def split(word: str) -> dict[str, list[Any]]:
        return {"premise": [word, "P"], "hypothesis": ["H", "I"], "label": [2, 0]}

    rows = {name: split(name) for name in ("train", "validation_matched", "validation_mismatched")}
    spec = publish(tmp_path / "glue", "mnli", rows, labels("entailment", "neutral", "contradiction"))
    train, evals = load_hub(spec)
    assert (train.text, train.text_pair, train.labels.tolist()) == (["train", "P"], ["H", "I"], [2, 0])
    assert set(evals) == {"matched", "mismatched"}
    assert evals["mismatched"].text[0] == "validation_mismatched"


def test_regression_and_joined_columns(tmp_path: Path) -> None:
    split = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [4.75, 0.0]}
    spec = publish(tmp_path / "glue", "stsb", {"train": split, "validation": split}, datasets.Value("float32"))
    train, _ = load_hub(spec)
    assert train.labels.dtype == np.float32
    assert train.labels.tolist() == [4.75, 0.0]
    wic = {"word": ["run"], "sentence1": ["I run."], "sentence2": ["A run."], "label": [1]}
    spec = publish(tmp_path / "super_glue", "wic", {"train": wic, "validation": wic}, labels("False", "True"))
    train, _ = load_hub(spec)
    assert (train.text, train.text_pair, train.labels.tolist()) == (["run: I run."], ["A run."], [1])


def test_hidden_labels_missing_columns_and_splits_are_named(tmp_path: Path) -> None:
    good = {"sentence": ["fine", "poor"], "label": [0, 1]}
    kind = labels("negative", "positive")
    hidden = {"sentence": ["fine", "poor"], "label": [0, -1]}
    spec = publish(tmp_path / "a", "sst2", {"train": hidden, "validation": good}, kind)
    with pytest.raises(UserError, match="sst2, train, row 2: got the label -1"):
        load_hub(spec)
    renamed = {"text": ["fine", "poor"], "label": [0, 1]}
    spec = publish(tmp_path / "b", "sst2", {"train": renamed, "validation": good}, kind)
    with pytest.raises(UserError):
        load_hub(spec)
    spec = publish(tmp_path / "c", "sst2", {"train": good}, kind)
    with pytest.raises(UserError, match="got no such split, only train"):
        load_hub(spec)
    spec = publish(tmp_path / "d", "sst2", {"train": good}, kind)
    with pytest.raises(UserError, match="could not be read"):
        load_hub(dataclasses.replace(spec, hub=(str(tmp_path / "d"), "another")))


def test_what_was_downloaded_once_works_without_the_hub(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = {"sentence": ["fine", "poor"], "label": [1, 0]}
    rows = {"train": split, "validation": split}
    spec = publish(tmp_path / "glue", "sst2", rows, labels("negative", "positive"))
    expected, _ = load_hub(spec)
    # A local folder and the Hub's data set differ only in the name of their folder in the cache.
    (cache / "glue").rename(cache / "nyu-mll___glue")

    def refuse() -> bool:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(model_source, "_hub_answers", refuse)
    data = load_task("sst2")
    assert data.train.text == expected.text
    assert data.train.labels.tolist() == [1, 0]
    assert "the Hub" in data.source


def test_without_a_network_the_error_comes_soon_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real probe, against a resolver that never answers
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(60))
    monkeypatch.setattr(model_source, "HUB_PATIENCE", 0.2)
    monkeypatch.delenv("BEFT_GLUE_DIR", raising=False)
    with pytest.raises(UserError, match=r"nyu-mll/glue.*BEFT_GLUE_DIR=FOLDER with SST-2/.*demo-sentiment"):
        load_hub(TASKS["sst2"])
    with pytest.raises(UserError, match=r"aps/super_glue.*BEFT_SUPERGLUE_DIR=FOLDER with CB/"):
        load_hub(TASKS["cb"])


def test_revisions_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*arguments: Any, **more: Any) -> Any:
        asked.append((*arguments, more))
        raise ConnectionError("lost")

    monkeypatch.setattr(datasets, "load_dataset", load)
    for task in ("sst2", "boolq"):
        with pytest.raises(UserError, match=r"could not be read \(lost\)"):
            load_hub(TASKS[task])
    assert asked == [
        ("nyu-mll/glue", "sst2", {"revision": HUB_REVISIONS["nyu-mll/glue"]}),
        ("aps/super_glue", "boolq", {"revision": "refs/convert/parquet"}),
    ]
