"""One file of a prompted task: read whole or split by record, and what is no such file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.tasks.load import load_task
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources import prompt_files
from beft_core.tasks.sources.prompt_files import read_json, read_split, read_whole

SQUAD, DROP, RECORD = TASKS["prompt-squad"], TASKS["prompt-drop"], TASKS["prompt-record"]


def article(number: int, questions: int = 2) -> dict[str, Any]:
    qas = [{"question": f"Q{i}", "answers": [{"text": f"A{number}"}]} for i in range(questions)]
    return {"title": f"T{number}", "paragraphs": [{"context": f"C{number}", "qas": qas}]}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_file_is_split_by_article_and_always_in_the_same_way(tmp_path: Path) -> None:
    file = write(tmp_path / "xquad.json", {"data": [article(n, 1 + n % 3) for n in range(7)], "version": "1.1"})
    train, held = read_split(SQUAD, file)
    of_train, of_held = ({text.split("\n")[0] for text in part.text} for part in (train, held))
    assert len(of_train) == 4 and len(of_held) == 3 and not of_train & of_held
    assert len(train) + len(held) == len(read_whole(SQUAD, file)) == sum(1 + n % 3 for n in range(7))
    assert read_split(SQUAD, file)[0].text == train.text
    data = load_task("prompt-squad", folder=file)
    assert data.train.text == train.text and data.source.startswith("xquad.json, half of its records for training")


def test_files_in_drops_format_and_lines_of_superglue(tmp_path: Path) -> None:
    pairs = [{"question": "How many?", "answer": {"number": "2", "spans": [], "date": {}}}]
    drop = write(tmp_path / "drop.json", {f"nfl_{n}": {"passage": f"P{n}", "qa_pairs": pairs} for n in range(2)})
    assert [len(part) for part in read_split(DROP, drop)] == [1, 1]
    line = {
        "passage": {"text": "Amy met Bob.", "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 10}]},
        "qas": [{"query": "@placeholder left", "answers": [{"text": "Bob"}]}],
    }
    lines = tmp_path / "record.jsonl"
    lines.write_text(f"{json.dumps(line)}\n\n{json.dumps(line)}\n", encoding="utf-8")
    train, held = read_split(RECORD, lines)
    assert train.golds == held.golds == [(1,)]
    assert len(read_whole(RECORD, write(tmp_path / "record.json", {"version": "1.0", "data": [line]}))) == 1


def test_the_official_layout_of_questions_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SQuAD").mkdir()
    write(tmp_path / "SQuAD" / "train-v1.1.json", {"data": [article(1)]})
    write(tmp_path / "SQuAD" / "dev-v1.1.json", {"data": [article(2)]})
    monkeypatch.setenv("BEFT_QA_DIR", str(tmp_path))
    data = load_task("prompt-squad")
    assert data.train.answers == [("A1",)] * 2 and data.evals["validation"].answers == [("A2",)] * 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"without SQuAD/dev-v1.1.json"):
        load_task("prompt-squad", folder=tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "got no JSON"),
        (b"[]", "got no list 'data'"),
        (b'{"data": []}', "got no records"),
        (b'{"data": [{}]}', "got 1 record; expected two or more"),
        (b'{"data": [1, 2]}', "article 1: got no 'paragraphs'"),
        (b'{"data": "\xff"}', "got bytes that are not UTF-8"),
        (b"[" * 100_000, "got numbers or lists that are too long or too deep"),
        (b'{"data": ' + b"9" * 5000 + b"}", "got numbers or lists that are too long"),
    ],
)
def test_what_is_no_such_file(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_split(SQUAD, file)
    assert str(error.value).startswith("bad.json") and told in str(error.value)


def test_errors_name_article_and_question(tmp_path: Path) -> None:
    bad = article(2)
    bad["paragraphs"][0]["qas"][1]["answers"] = []
    file = write(tmp_path / "bad.json", {"data": [article(1), bad]})
    with pytest.raises(UserError, match=r"^bad.json, article 2, paragraph 1, question 2: got no answers"):
        read_whole(SQUAD, file)
    with pytest.raises(UserError, match="which does not exist"):
        read_whole(SQUAD, tmp_path / "gone.json")
    drop = write(tmp_path / "drop.json", {"nfl_1": {"passage": " ", "qa_pairs": []}})
    with pytest.raises(UserError, match=r"^drop.json, passage nfl_1: got an empty 'passage'"):
        read_whole(DROP, drop)


def test_work_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.json", {"data": [[[]]]})
    monkeypatch.setattr(prompt_files, "MAX_NESTED", 3)
    with pytest.raises(UserError, match="more than 3 lists and objects"):
        read_json(file)
    monkeypatch.setattr(prompt_files, "MAX_BYTES", 5)
    with pytest.raises(UserError, match="at most 0 MB"):
        read_json(file)
