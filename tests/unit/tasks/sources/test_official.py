"""Official GLUE and SuperGLUE layouts, rebuilt in miniature with their quirks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.tasks.load import load_task

PAIRS = "index\tsentence1\tsentence2\tlabel\n{}"
TABLES = {
    "sst2": ("SST-2", "sentence\tlabel\n{}", ['a " quoted film \t1', "it 's dull \t0"], [1, 0]),
    "cola": ("CoLA", "{}", ["gj04\t1\t\tFine it is.", "gj04\t0\t*\tIt is are."], [1, 0]),
    "mrpc": (
        "MRPC",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n{}",
        ['1\t7\t8\t" He left .\tHe " left "', "0\t9\t3\tA\tB"],
        [1, 0],
    ),
    "rte": ("RTE", PAIRS, ["0\tA\tB\tnot_entailment", "1\tC\tD\tentailment"], [1, 0]),
    "qnli": (
        "QNLI",
        "index\tquestion\tsentence\tlabel\n{}",
        ["0\tWho?\tHe.\tentailment", "1\tC\tD\tnot_entailment"],
        [0, 1],
    ),
    "wnli": ("WNLI", PAIRS, ["0\tA\tB\t1", "1\tC\tD\t0"], [1, 0]),
    "qqp": (
        "QQP",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n{}",
        ["0\t1\t2\tA?\tB?\t1", "1\t3\t4\tcut short", "2\t5\t6\tC?\tD?\t0"],
        [1, 0],
    ),
    "stsb": (
        "STS-B",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n{}",
        ['0\tmain\tf\t2012\t1\tnone\tnone\tA "man".\tB\t4.750', "1\tmain\tf\t2012\t1\tnone\tnone\tC\tD\t0"],
        [4.75, 0.0],
    ),
}


def write(root: Path, task: str, rows: list[str] | None = None) -> Path:
    folder, frame, good, _ = TABLES[task]
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev"):
        (root / folder / f"{name}.tsv").write_text(frame.format("\n".join(rows or good)) + "\n\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("task", TABLES)
def test_glue_layouts(tmp_path: Path, task: str) -> None:
    data = load_task(task, folder=write(tmp_path, task))
    expected = TABLES[task][3]
    assert data.train.labels.tolist() == expected == data.evals["validation"].labels.tolist()
    assert data.train.labels.dtype == (np.float32 if task == "stsb" else np.int64)
    assert (data.train.text_pair is None) == (task in ("sst2", "cola"))


@pytest.mark.parametrize(
    ("task", "rows", "groups"),
    [
        ("rte", ["0\tA\tB\tnot_entailment", "1\tC\tB\tentailment", "2\tA\tD\tentailment"], [0, 1, 0]),
        ("qnli", ["0\tWho?\tHe.\tentailment", "1\tWhen?\tHe.\tentailment", "2\tWho?\tC\tentailment"], [0, 0, 1]),
        ("mrpc", ["1\t7\t8\tA\tB", "0\t9\t3\tA\tC"], None),
    ],
)
def test_pairs_that_share_a_premise_are_a_group(
    tmp_path: Path, task: str, rows: list[str], groups: list[int] | None
) -> None:
    data = load_task(task, folder=write(tmp_path, task, rows))
    assert data.train.groups == groups == data.evals["validation"].groups


def test_quotes_stay_in_the_text(tmp_path: Path) -> None:
    train = load_task("mrpc", folder=write(tmp_path, "mrpc")).train
    assert (train.text[0], train.text_pair[0]) == ('" He left .', 'He " left "')
    assert load_task("sst2", folder=write(tmp_path, "sst2")).train.text[0] == 'a " quoted film '


def test_an_empty_cell_at_either_end_of_a_row_is_a_cell(tmp_path: Path) -> None:
    train = load_task("cola", folder=write(tmp_path, "cola", ["\t1\t\tFine it is.", "gj04\t0\t*\t"])).train
    assert (train.text, train.labels.tolist()) == (["Fine it is.", ""], [1, 0])


def test_mnli_has_two_validation_sets(tmp_path: Path) -> None:
    (tmp_path / "MNLI").mkdir()
    for name, labels in (
        ("train", "label1"),
        ("dev_matched", "label1\tlabel2"),
        ("dev_mismatched", "label1\tlabel2"),
    ):
        middle = "\t".join("neutral" for _ in labels.split("\t"))
        lines = [f"index\tsentence1\tsentence2\t{labels}\tgold_label"]
        lines += [f"{i}\tA {name}\tB\t{middle}\t{gold}" for i, gold in enumerate(("contradiction", "entailment"))]
        (tmp_path / "MNLI" / f"{name}.tsv").write_text("\n".join(lines))
    data = load_task("mnli", folder=tmp_path)
    assert set(data.evals) == {"matched", "mismatched"}
    assert data.evals["mismatched"].text == ["A dev_mismatched"] * 2
    assert data.train.labels.tolist() == [2, 0]


def test_superglue_layouts(tmp_path: Path) -> None:
    rows = {
        "CB": [{"premise": "P", "hypothesis": "H", "label": "neutral", "idx": 0}],
        "BoolQ": [{"question": "q", "passage": "p\u2028p", "label": True, "idx": 0}],
        "WiC": [{"word": "run", "sentence1": "I run.", "sentence2": "A run.", "label": False, "version": 1.1}],
    }
    for folder, lines in rows.items():
        (tmp_path / folder).mkdir()
        for name in ("train", "val"):
            text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
            (tmp_path / folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    assert load_task("cb", folder=tmp_path).train.labels.tolist() == [2]
    boolq = load_task("boolq", folder=tmp_path).train
    assert (boolq.text, boolq.text_pair, boolq.labels.tolist()) == (["q"], ["p\u2028p"], [1])
    wic = load_task("wic", folder=tmp_path).train
    assert (wic.text, wic.text_pair, wic.labels.tolist()) == (["run: I run."], ["A run."], [0])


def test_order_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, explicit = tmp_path / "environment", tmp_path / "explicit"
    write(environment, "sst2", ["from the environment\t1"])
    write(explicit, "sst2", ["explicit\t1"])
    monkeypatch.setenv("BEFT_GLUE_DIR", str(environment))
    assert load_task("sst2").train.text == ["from the environment"]
    assert load_task("sst2", folder=explicit).train.text == ["explicit"]
    assert load_task("sst2", folder=explicit / "SST-2").train.text == ["explicit"]
    monkeypatch.setenv("BEFT_GLUE_DIR", str(environment / "SST-2"))
    assert load_task("sst2").train.text == ["from the environment"]


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        (
            "sst2",
            ["fine\t1", "three\t1\tcells"],
            "row 3: got 3 columns; expected 2: sentence, label",
        ),
        ("sst2", ["fine\t1", "", "no label"], "train.tsv, row 4: got 1 columns"),
        (
            "sst2",
            ["fine\tgood"],
            "row 2: got the label 'good'; expected one of negative, positive",
        ),
        ("stsb", ["0\tm\tf\t1\t1\tn\tn\tA\tB\tnan"], "row 2: got the label 'nan'; expected a number"),
        ("cola", ["gj04\t2\t\tX"], "train.tsv, row 1: got the label '2'"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, task: str, rows: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        load_task(task, folder=write(tmp_path, task, rows))
    assert message in str(error.value)


def test_wrong_headers_and_encodings_are_named(tmp_path: Path) -> None:
    write(tmp_path, "sst2")
    (tmp_path / "SST-2" / "train.tsv").write_text("text\tlabel\nfine\t1\n")
    with pytest.raises(UserError, match=r"row 2: got no 'sentence', only text, label"):
        load_task("sst2", folder=tmp_path)
    (tmp_path / "SST-2" / "train.tsv").write_bytes("sentence\tlabel\nfine\t1\ncafé\t1\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"train.tsv, row 3: got bytes that are not UTF-8"):
        load_task("sst2", folder=tmp_path)
    (tmp_path / "SST-2" / "dev.tsv").unlink()
    with pytest.raises(UserError, match=r"without SST-2/dev.tsv"):
        load_task("sst2", folder=tmp_path)
    with pytest.raises(UserError, match=r"is no folder"):
        load_task("sst2", folder=tmp_path / "nowhere")


def test_the_folder_of_another_task_with_the_same_columns_is_refused(tmp_path: Path) -> None:
    write(write(tmp_path, "rte"), "wnli")
    assert len(load_task("rte", folder=tmp_path / "RTE").train) == 2
    for task, folder in (("wnli", "RTE"), ("rte", "WNLI")):  # both have premises, hypotheses and the same labels
        with pytest.raises(UserError, match=f"{folder}, the folder of {folder}: .* for {task}; .* try --data-dir "):
            load_task(task, folder=tmp_path / folder)
    (tmp_path / "RTE").rename(tmp_path / "mine")
    assert len(load_task("rte", folder=tmp_path / "mine").train) == 2
