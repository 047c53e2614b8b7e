"""Lists and tables in memory become the task that the same rows in a file would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.library.data import Given
from beft_core.tasks.sources.user_files import load_files

TEXTS = [f"text {n}" for n in range(20)]
NAMES = ["no", "yes"] * 10


def task(problem: str | None = None, name: str | None = None, **given: Any) -> Any:
    return Given(**given).task(name, problem)


def same(one: Any, other: Any) -> bool:
    """Whether two tasks have the same examples and classes."""
    pairs = [(one.train, other.train), (one.evals["validation"], other.evals["validation"])]
    return one.spec.labels == other.spec.labels and all(
        a.text == b.text and a.text_pair == b.text_pair and a.labels.tolist() == b.labels.tolist() for a, b in pairs
    )


@pytest.fixture
def from_file(tmp_path: Path) -> Any:
    """The task of the same rows in a file."""
    pd.DataFrame({"text": TEXTS, "label": NAMES}).to_csv(tmp_path / "t.csv", index=False)
    return load_files(tmp_path / "t.csv", None, text="text", label="label")


FRAME = pd.DataFrame({"text": TEXTS, "label": NAMES})


@pytest.mark.parametrize(
    "given",
    [
        {"texts": TEXTS, "labels": NAMES},
        {"texts": tuple(TEXTS), "labels": np.array(NAMES)},
        {"texts": FRAME["text"], "labels": pd.Categorical(NAMES)},
        {"data": FRAME},
        {"data": FRAME.rename(columns={"text": "review", "label": "stars"}), "text": "review", "label": "stars"},
        {"data": FRAME.astype("category")},
        {"data": FRAME.to_dict("list")},
        {"data": FRAME.to_dict("records")},
        {"data": datasets.Dataset.from_pandas(FRAME)},
        {"data": datasets.Dataset.from_pandas(FRAME).cast_column("label", datasets.ClassLabel(names=["no", "yes"]))},
    ],
    ids=["lists", "arrays", "columns", "frame", "named", "category", "dict", "rows", "dataset", "classes"],
)
def test_they_are_the_task_of_the_same_rows_in_a_file(given: dict[str, Any], from_file: Any) -> None:
    assert same(task(**given), from_file)
    assert "given in Python, split into 16 training and 4 validation examples" in task(**given).source


def test_validation_examples_and_pairs() -> None:
    lists = task(
        texts=TEXTS,
        text_pairs=TEXTS[::-1],
        labels=[n / 4 for n in range(20)],
        eval_texts=["a", "b"],
        eval_text_pairs=["c", "d"],
        eval_labels=[0.5, 1.5],
    )
    assert lists.spec.labels is None and len(lists.train) == 20
    assert lists.evals["validation"].text_pair == ["c", "d"]
    table = pd.DataFrame({"a": TEXTS, "b": TEXTS[::-1], "c": [n / 4 for n in range(20)]})
    own = task(data=table, eval_data=table[:5], text="a", text_pair="b", label="c")
    assert own.train.text_pair == lists.train.text_pair and len(own.evals["validation"]) == 5


def test_whole_numbers_are_classes_unless_the_problem_is_named() -> None:
    stars = [1, 2, 3, 4, 5] * 4
    assert task(texts=TEXTS, labels=stars).spec.labels == ("1", "2", "3", "4", "5")
    assert task(texts=TEXTS, labels=stars, problem="regression").spec.labels is None
    assert task(texts=TEXTS, labels=[True, False] * 10).spec.labels == ("false", "true")


def test_a_table_and_a_file_go_together(tmp_path: Path) -> None:
    FRAME[:6].to_csv(tmp_path / "dev.csv", index=False)
    given = Given(data=FRAME, eval_data=tmp_path / "dev.csv")
    assert not given.in_files and len(given.task(None, None).evals["validation"]) == 6


def test_files_are_left_to_the_engine(tmp_path: Path) -> None:
    given = Given(data=tmp_path / "t.csv", eval_data="~/dev.csv", text="review", label="stars")
    assert given.in_files
    assert given.fields() == {
        "train_file": str(tmp_path / "t.csv"),
        "eval_file": str(Path("~/dev.csv").expanduser()),
        "text": "review",
        "text_pair": None,
        "label": "stars",
    }


def test_names() -> None:
    assert task(texts=TEXTS, labels=NAMES).spec.name == "texts" and task(data=FRAME).spec.name == "table"
    assert task(data=FRAME, name="reviews").spec.name == "reviews"
    with pytest.raises(UserError, match="which is a task of the lab"):
        task(data=FRAME, name="sst2")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"texts": TEXTS}, "got texts without labels"),
        ({"labels": NAMES}, "got labels without texts"),
        ({"data": FRAME, "texts": TEXTS, "labels": NAMES}, "got both data and texts"),
        ({"eval_data": FRAME}, "got eval_data without data"),
        ({"texts": TEXTS, "labels": NAMES, "text": "review"}, "got text without data"),
        ({"label": "stars"}, "got label without data"),
        ({"texts": TEXTS, "labels": NAMES, "eval_texts": TEXTS}, "got one of eval_texts and eval_labels"),
        ({"texts": TEXTS, "labels": NAMES[:3]}, "got 3 labels for 20 texts"),
        ({"texts": "one text", "labels": NAMES}, "got texts = 'one text'; expected a list"),
        ({"texts": TEXTS, "labels": 1}, "got labels = '1'; expected a list"),
        ({"texts": [*TEXTS[:-1], ""], "labels": NAMES}, "texts given in Python, row 19: got an empty 'text'"),
        ({"texts": [*TEXTS[:-1], 3], "labels": NAMES}, "row 19: got a number in 'text'"),
        ({"texts": TEXTS, "labels": [*NAMES[:-1], None]}, "row 19: got no 'label'"),
        ({"texts": TEXTS, "labels": [*NAMES[:-1], float("nan")]}, "row 19: got no 'label'"),
        ({"texts": TEXTS, "labels": [[0]] * 20}, "row 0: got a list as 'label'"),
        ({"texts": [], "labels": []}, "got no rows"),
        ({"texts": TEXTS, "labels": ["one"] * 20}, "got one class only"),
        (
            {"data": FRAME, "text": "review"},
            "DataFrame: got no column 'review'; expected one of its columns: text, label",
        ),
        ({"data": FRAME, "text": "text", "label": "text"}, "got the column 'text' for 2 things"),
        ({"data": FRAME, "text": ["text"]}, "got text = .*; expected the name of a column"),
        ({"data": pd.DataFrame({"text": TEXTS, "label": [None, *NAMES[1:]]})}, "row 0: got no 'label'"),
        ({"data": 5}, "got a int for a table"),
        ({"data": TEXTS}, "got a list for a table"),
        ({"data": {"text": TEXTS, "label": NAMES[:2]}}, "got a dict that is no table"),
        ({"data": {"train": datasets.Dataset.from_pandas(FRAME)}}, "got a dict of the parts train.*try data.'train'."),
    ],
)
def test_what_is_wrong_is_told_with_the_row(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        task(**given)


def test_a_head_is_scored_by_its_own_classes_in_its_own_columns() -> None:
    head = {"kind": "classification", "labels": ["no", "yes"]}
    columns = {"columns": {"text": "review", "text_pair": None, "label": "stars"}}
    snapshot = example(full=True, task="films", heads={"films": {**head, **columns}})
    table = pd.DataFrame({"review": ["a", "b"], "stars": ["yes", "yes"]})
    made = Given(data=table).scored(snapshot, None)
    assert made.spec.name == "films" and made.evals["validation"].labels.tolist() == [1, 1] and len(made.train) == 0
    assert Given(texts=["a", "b"], labels=["yes", "no"]).scored(snapshot, "films").evals["validation"].labels[0] == 1
    for given, name, words in [
        ({"texts": ["a", "b"], "labels": ["yes", "maybe"]}, None, "row 1: got the label 'maybe'"),
        ({"data": table}, "sst2", "got the head 'sst2'; expected one of films"),
        ({"data": table, "text": "text", "label": "label"}, None, "got no column 'text'"),
    ]:
        with pytest.raises(UserError, match=words):
            Given(**given).scored(snapshot, name)  # type: ignore[arg-type]


def test_a_column_that_is_not_named_is_the_one_of_the_training() -> None:
    head = {"kind": "classification", "labels": ["no", "yes"]}
    columns = {"columns": {"text": "first", "text_pair": "second", "label": "verdict"}}
    snapshot = example(full=True, task="pairs", heads={"pairs": {**head, **columns}})
    table = {"first": ["a", "b"], "second": ["c", "d"], "other": ["e", "f"], "verdict": ["no", "yes"]}
    frame = pd.DataFrame({**table, "label": ["yes", "no"], "text": ["g", "h"], "judged": ["yes", "yes"]})
    for named, text, pair, labels in [
        ({}, "a", "c", [0, 1]),
        ({"text": "other"}, "e", "c", [0, 1]),
        ({"text_pair": "other"}, "a", "e", [0, 1]),
        ({"label": "judged"}, "a", "c", [1, 1]),
        ({"text": "first", "text_pair": "text"}, "a", "g", [0, 1]),
    ]:
        scored = Given(data=frame, **named).scored(snapshot, None).evals["validation"]
        assert scored.text_pair is not None
        assert (scored.text[0], scored.text_pair[0], scored.labels.tolist()) == (text, pair, labels)


def test_without_one_head_it_must_be_named() -> None:
    kinds = {name: {"kind": "regression", "labels": None} for name in ("a", "b")}
    with pytest.raises(UserError, match="got a snapshot with 2 heads; expected one of a, b"):
        Given(texts=["x", "y"], labels=[1, 2]).scored(example(heads=kinds), None)
