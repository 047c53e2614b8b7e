from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hostile_data import GOOD, hostile_tables

from beft_core.errors import UserError
from beft_core.tasks.sources import user_files
from beft_core.tasks.sources.user_files import OwnTable, ScoredTable, load_files, read_table, scored_from

WORDS = ["fine", "poor", 'he said "no"', "a, b and c", "naïve café 電影"]


def table(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows with the library that users are likely to use."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            path.write_text(
                "\n".join("\t".join(map(str, row)) for row in [list(frame), *frame.values.tolist()]),
                encoding="utf-8",
            )
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
        case ".parquet":
            frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_examples(tmp_path: Path, suffix: str) -> None:
    rows: list[dict[str, object]] = [
        {"extra": i, "s": WORDS[i % 5], "t": f"second {i}", "y": ("no", "yes", "perhaps")[i % 3]} for i in range(30)
    ]
    file = table(tmp_path / f"My Table{suffix}", rows)
    data = load_files(file, file, text="s", text_pair="t", label="y")
    assert data.train.text == [row["s"] for row in rows]
    assert data.train.text_pair == [row["t"] for row in rows]
    assert data.spec.labels == ("no", "perhaps", "yes")
    assert data.train.labels.dtype == np.int64
    assert [data.spec.labels[i] for i in data.train.labels] == [row["y"] for row in rows]
    assert data.spec.name == "file-my-table"
    assert data.spec.metrics == ("accuracy", "f1_macro")
    assert list(data.evals) == ["validation"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_whole_numbers_are_classes_and_fractions_a_regression(tmp_path: Path, suffix: str) -> None:
    rows: list[dict[str, object]] = [{"s": "fine", "y": (10, 9, -1)[i % 3], "z": i / 4} for i in range(12)]
    file = table(tmp_path / f"numbers{suffix}", rows)
    classes = load_files(file, file, text="s", label="y")
    assert classes.spec.labels == ("-1", "9", "10")
    assert classes.train.labels.tolist() == [2, 1, 0] * 4
    values = load_files(file, file, text="s", label="z")
    assert values.spec.labels is None
    assert values.spec.metrics == ("spearman", "pearson")
    assert values.train.labels.dtype == np.float32
    assert values.train.labels.tolist() == [i / 4 for i in range(12)]
    told = load_files(file, file, text="s", label="y", problem="regression")
    assert told.train.labels.tolist() == [10, 9, -1] * 4


def test_floats_are_classes_when_told(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", [{"s": "fine", "y": float(i % 2)} for i in range(12)])
    assert load_files(file, file, text="s", label="y").spec.labels is None
    assert load_files(file, file, text="s", label="y", problem="classification").spec.labels == ("0.0", "1.0")


def test_true_and_false_are_classes(tmp_path: Path) -> None:
    file = table(tmp_path / "a.jsonl", [{"s": "fine", "y": i % 2 == 0} for i in range(12)])
    assert load_files(file, file, text="s", label="y").spec.labels == ("false", "true")


def test_class_names_that_datasets_wrote_into_parquet(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"s": datasets.Value("string"), "y": datasets.ClassLabel(names=["neg", "pos"])})
    file = tmp_path / "a.parquet"
    made = datasets.Dataset.from_dict({"s": ["fine"] * 6, "y": [1, 0, 1, 1, 0, 0]}, features=features)
    made.to_parquet(file)
    data = load_files(file, file, text="s", label="y")
    assert data.spec.labels == ("neg", "pos")
    assert data.train.labels.tolist() == [1, 0, 1, 1, 0, 0]
    hidden = datasets.Dataset.from_dict({"s": ["fine"] * 6, "y": [-1] * 6}, features=features)
    hidden.to_parquet(file)
    with pytest.raises(UserError, match="row 1: got no 'y'"):
        load_files(file, None, text="s", label="y")


def test_split_is_by_class_disjoint_and_always_the_same(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"s": f"text {i}", "y": "rare" if i % 10 == 0 else "common"} for i in range(100)]
    file = table(tmp_path / "a.csv", rows)
    first, second = (load_files(file, None, text="s", label="y") for _ in range(2))
    train, validation = first.train, first.evals["validation"]
    assert (len(train), len(validation)) == (80, 20)
    assert np.bincount(validation.labels).tolist() == [18, 2]
    assert not set(train.text) & set(validation.text)
    assert validation.text == second.evals["validation"].text
    assert "80 training and 20 validation" in first.source


def test_validation_follows_the_classes_of_training(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", [{"s": "x", "y": i % 3} for i in range(12)])
    other = table(tmp_path / "b.jsonl", [{"s": "x", "y": 2}, {"s": "x", "y": 0}])
    data = load_files(train, other, text="s", label="y")
    assert data.evals["validation"].labels.tolist() == [2, 0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_byte_order_mark_windows_lines_and_blank_lines(tmp_path: Path, suffix: str) -> None:
    text = GOOD.replace(",", "," if suffix == ".csv" else "\t").replace("\n", "\r\n") + "\r\n"
    file = tmp_path / f"a{suffix}"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    examples, labels = read_table(file, "text", None, "label")
    assert len(examples) == 12
    assert labels == ("bad", "good")
    assert examples.text[0] == "film number 0"


def test_quotation_marks_in_csv_and_tsv(tmp_path: Path) -> None:
    csv_file, tsv_file = tmp_path / "a.csv", tmp_path / "a.tsv"
    csv_file.write_text('s,y\n"two\nlines, ""quoted""",a\nplain,b\n', encoding="utf-8")
    assert read_table(csv_file, "s", None, "y")[0].text == ['two\nlines, "quoted"', "plain"]
    tsv_file.write_text('s\ty\n"an open quote\ta\nplain\tb\n', encoding="utf-8")
    assert read_table(tsv_file, "s", None, "y")[0].text == ['"an open quote', "plain"]


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("s,y\nok,a\nok,b\n,a\n", 4),
        ("s,y\nok,a\n\n\nok,\n", 5),
        ('s,y\n"two\nlines",a\nok\n', 4),
        ('s,y\nok,a\n"open,b\nok,a\n', 3),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, content: str, row: int) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"^a.csv, row {row}: "):
        read_table(file, "s", None, "y")


def test_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("s,y\nok,a\nok,b\ncafé,a\n".encode("latin-1"))
    with pytest.raises(UserError, match="row 4: got bytes that are not UTF-8"):
        read_table(file, "s", None, "y")


def test_missing_column_lists_the_columns(tmp_path: Path) -> None:
    for suffix in (".csv", ".tsv", ".jsonl", ".parquet"):
        file = table(tmp_path / f"a{suffix}", [{"first": "x", "second": "a"}, {"first": "x", "second": "b"}])
        with pytest.raises(UserError, match="got no column 's'; expected one of its columns: first, second"):
            read_table(file, "s", None, "second")


def test_missing_labels_of_a_parquet_file_name_the_row(tmp_path: Path) -> None:
    file = table(tmp_path / "a.parquet", [{"s": "x", "y": 0.5}, {"s": "x", "y": None}, {"s": "x", "y": 1.5}])
    with pytest.raises(UserError, match="row 2: got no 'y'"):
        read_table(file, "s", None, "y")


def test_metric_can_be_chosen(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(GOOD, encoding="utf-8")
    data = load_files(file, None, text="text", label="label", metric="mcc")
    assert data.spec.metrics == ("mcc", "accuracy", "f1_macro")
    with pytest.raises(UserError, match="got the metric 'pearson'"):
        load_files(file, None, text="text", label="label", metric="pearson")
    assert load_files(file, None, text="text", label="label", metric="f1").spec.metrics[0] == "f1"
    three = table(tmp_path / "three.csv", [{"s": "fine", "y": "abc"[i % 3]} for i in range(12)])
    with pytest.raises(UserError, match="got the metric 'f1'"):  # of which class?
        load_files(three, None, text="s", label="y", metric="f1")


def test_size_limit_is_checked_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.csv"
    file.write_text(GOOD, encoding="utf-8")
    monkeypatch.setattr(user_files, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="at most"):
        read_table(file, "text", None, "label")


def test_hostile_tables_are_refused_in_one_line(tmp_path: Path) -> None:
    cases = hostile_tables(tmp_path)
    assert len(cases) >= 25
    accepted = []
    for name, arguments in cases:
        try:
            load_files(**arguments)
        except UserError as error:
            message = str(error)
            assert message and "\n" not in message and len(message) < 1300, name
        else:
            accepted.append(name)
    assert accepted == []


def films(folder: Path, name: str = "films.csv", label: str = "label") -> Path:
    file = folder / name
    file.write_text(GOOD.replace("label", label), encoding="utf-8")
    return file


def test_a_table_is_bound_to_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, more = films(tmp_path), films(tmp_path, "more.csv")
    monkeypatch.chdir(tmp_path)
    table = OwnTable("films.csv", "text", "label", eval_file="more.csv", name="films")
    pinned = table.pinned()
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (film, more)]
    assert (pinned.train_file, pinned.eval_file) == (str(film), str(more)) and pinned.sha256 == "+".join(hashes)
    assert pinned.pinned() is pinned and OwnTable.from_dict(pinned.to_dict()) == pinned
    assert pinned.load().spec.name == pinned.task == "films"
    assert OwnTable("My films.csv", "text", "label").task == "file-my-films"
    more.write_text(GOOD + "one more,good\n", encoding="utf-8")
    assert len(table.load().evals["validation"]) == 13
    with pytest.raises(UserError, match=r"got .*more\.csv, which has changed since"):
        pinned.load()


def test_labels_are_what_the_table_says(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", [{"s": "fine", "y": i % 3} for i in range(12)])
    assert OwnTable(str(file), "s", "y").load().spec.labels == ("0", "1", "2")
    assert OwnTable(str(file), "s", "y", problem="regression").load().spec.labels is None


HEAD = {
    "kind": "classification",
    "labels": ["good", "bad"],
    "columns": {"text": "text", "text_pair": None, "label": "label"},
}


def test_a_head_is_scored_on_a_file_by_its_columns_or_by_those_that_are_named(tmp_path: Path) -> None:
    file = films(tmp_path)
    data = ScoredTable(str(file)).load("films", HEAD)
    assert data.spec.name == "films" and len(data.evals["validation"]) == 12 and len(data.train) == 0
    assert [HEAD["labels"][i] for i in data.evals["validation"].labels[:2]] == [
        line.rpartition(",")[2] for line in GOOD.splitlines()[1:3]
    ]
    other = films(tmp_path, "other.csv", label="verdict")
    with pytest.raises(UserError, match="got no column 'label'"):
        ScoredTable(str(other)).load("films", HEAD)
    assert len(ScoredTable(str(other), label="verdict").load("films", HEAD).evals["validation"]) == 12
    old = {"kind": "classification", "labels": ["bad", "good"]}
    with pytest.raises(UserError, match="does not record its columns; expected their names; try --text"):
        ScoredTable(str(file)).load("films", old)
    assert len(ScoredTable(str(file), "text", label="label").load("films", old).evals["validation"]) == 12
    with pytest.raises(UserError, match="does not record the names of its classes"):
        ScoredTable(str(file), "text", label="label").load("films", {"kind": "classification", "labels": None})


@pytest.mark.parametrize("fields", [{"file": "a.csv", "labels": "x"}, {"file": 3}, {"train_file": "a.csv"}, {}])
def test_what_a_head_is_scored_on_is_checked(fields: dict[str, object]) -> None:
    with pytest.raises(UserError):
        scored_from(fields, "films", HEAD)
