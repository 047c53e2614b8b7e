from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hostile_data import GOOD, hostile_tables

from beft_core.errors import UserError
from beft_core.tasks.sources import user_files
from beft_core.tasks.sources.user_files import load_files, read_table

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
