"""Tables in memory become tasks by the rules that hold for files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.tasks.own_table import (
    Columns,
    RawTable,
    answers_the_same,
    checked_name,
    collect,
    columns_of,
    default_name,
    encode,
    make_task,
    scored_task,
)

COLUMNS = Columns("text", None, "label")
PAIRS = Columns("a", "b", "same")


def rows(labels: list[Any], columns: Columns = COLUMNS, where: str = "mine") -> RawTable:
    """A table with these labels."""
    cells = [[f"text {i}", label, f"second {i}"][: len(columns.wanted)] for i, label in enumerate(labels)]
    return collect(where, columns, enumerate(cells, 1))


def test_text_label_and_second_text_come_in_the_order_of_the_columns() -> None:
    assert PAIRS.wanted == ["a", "same", "b"] and COLUMNS.wanted == ["text", "label"]
    table = rows(["yes", "no"], PAIRS)
    assert (table.text, table.text_pair, table.label) == (["text 0", "text 1"], ["second 0", "second 1"], ["yes", "no"])
    assert list(table.rows) == [1, 2] and len(table) == 2


@pytest.mark.parametrize("columns", [("t", None, "t"), ("t", "l", "l"), ("t" * 301, None, "l"), ("a\nb", None, "l")])
def test_columns_that_nothing_could_record(columns: tuple[str, str | None, str]) -> None:
    with pytest.raises(UserError, match="got the column"):
        Columns(*columns)


@pytest.mark.parametrize(
    ("labels", "problem", "classes", "encoded"),
    [
        ([5, 1, 3, 5, 1], None, ("1", "3", "5"), [2, 0, 1, 2, 0]),
        ([5, 1, 3, 5, 1], "regression", None, [5, 1, 3, 5, 1]),
        ([0.5, 1, 3, 5, 1], None, None, [0.5, 1, 3, 5, 1]),
        ([0.5, 1.0, 0.5, 1.0, 1.0], "classification", ("0.5", "1.0"), [0, 1, 0, 1, 1]),
        (list(np.array([10, 9, 10, 9, 9])), None, ("9", "10"), [1, 0, 1, 0, 0]),
        (list(np.array([True, False] * 2)), None, ("false", "true"), [1, 0, 1, 0]),
        (list(np.array([0.5, 1, 2, 3], dtype=np.float32)), None, None, [0.5, 1, 2, 3]),
    ],
)
def test_labels_are_classes_or_numbers(
    labels: list[Any], problem: str | None, classes: tuple[str, ...] | None, encoded: list[float]
) -> None:
    examples, found = encode(rows(labels), problem=problem)
    assert found == classes and examples.labels.tolist() == encoded
    assert examples.labels.dtype == (np.float32 if classes is None else np.int64)


def test_words_are_no_regression() -> None:
    with pytest.raises(UserError, match="mine, row 2: got the label 'good'; expected a finite number"):
        encode(rows([1, "good", 3, 4]), problem="regression")


@pytest.mark.parametrize("cells", [[None, "a"], [" ", "a"], [3, "a"], ["x", None], ["x", float("nan")], ["x", ["a"]]])
def test_a_wrong_cell_names_its_row(cells: list[Any]) -> None:
    with pytest.raises(UserError, match=r"^frame, row 7: got"):
        collect("frame", COLUMNS, [(6, ["fine", "a"]), (7, cells)])


def test_a_task_of_one_table_holds_a_fifth_out_and_of_two_tables_none() -> None:
    table = rows(["good", "bad"] * 20, where="films.csv")
    one = make_task(table, None, COLUMNS, name="films")
    assert (one.spec.name, one.spec.title, one.spec.labels) == ("films", "films.csv", ("bad", "good"))
    assert (len(one.train), len(one.evals["validation"])) == (32, 8)
    two = make_task(table, rows(["good", "good"], where="more.csv"), COLUMNS, name="films")
    assert (len(two.train), two.evals["validation"].labels.tolist()) == (40, [1, 1])
    assert two.spec.title == "films.csv and more.csv"


def test_a_head_is_scored_on_all_rows_by_the_classes_that_it_knows() -> None:
    labels = ("good", "bad", "so so")  # not in the order of the alphabet
    task = scored_task(rows(["bad", "good", "bad"], where="test.csv"), COLUMNS, name="films", labels=labels)
    assert len(task.train) == 0 and task.evals["validation"].labels.tolist() == [1, 0, 1]
    assert (task.spec.labels, task.spec.metrics[0], task.source) == (labels, "accuracy", "test.csv")
    with pytest.raises(UserError, match=r"row 2: got the label 'ugly'; expected one of the labels that the head films"):
        scored_task(rows(["bad", "ugly"]), COLUMNS, name="films", labels=labels)
    number = scored_task(rows([1, 2, 3]), COLUMNS, name="films", labels=None)
    assert number.spec.labels is None and number.evals["validation"].labels.tolist() == [1, 2, 3]
    with pytest.raises(UserError, match="expected a finite number"):
        scored_task(rows(["bad", "good"]), COLUMNS, name="films", labels=None)


@pytest.mark.parametrize("known", [("false", "true"), ("False", "True"), ("TRUE", "FALSE")])
def test_truth_values_are_two_classes_however_a_file_writes_them(known: tuple[str, str]) -> None:
    """A head trained on bools in memory is scored on the CSV that pandas makes of such, and the other way round."""
    yes = [label.lower() for label in known].index("true")
    for table in (rows([True, False, True]), rows(["True", "False", "True"]), rows(["true", "FALSE", "true"])):
        task = scored_task(table, COLUMNS, name="films", labels=known)
        assert task.evals["validation"].labels.tolist() == [yes, 1 - yes, yes]
        assert task.spec.labels == known
    with pytest.raises(UserError, match="got the label 'maybe'"):
        scored_task(rows([True, "maybe"]), COLUMNS, name="films", labels=known)
    with pytest.raises(UserError, match="got the label 'GOOD'"):
        scored_task(rows(["good", "GOOD"]), COLUMNS, name="films", labels=("bad", "good"))


def test_names() -> None:
    assert default_name("My films (2)") == "file-my-films-2" and default_name("電影") == "file-table"
    assert checked_name("Reviews_2") == "Reviews_2"
    for name in ("", "a.b", "a b", "-a", "x" * 81, "sst2", "SST2"):
        with pytest.raises(UserError, match="got --name"):
            checked_name(name)


def test_columns_of_a_head() -> None:
    assert columns_of({"kind": "classification"}) is None
    assert columns_of({"columns": {"text": "a", "text_pair": "b", "label": "same"}}) == PAIRS


def test_heads_of_truth_values_answer_the_same_however_their_files_wrote_them() -> None:
    def head(*labels: str) -> dict[str, object]:
        return {"kind": "classification", "labels": list(labels)}

    assert answers_the_same(head("False", "True"), head("false", "true"))
    assert not answers_the_same(head("False", "True"), head("true", "false")), "in another order"
    assert not answers_the_same(head("No", "Yes"), head("no", "yes")), "of other words nobody knows"
    assert not answers_the_same(head("False", "True"), {"kind": "classification", "labels": None})
