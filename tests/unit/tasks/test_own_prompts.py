"""Prompts over a user's own tables: candidates, labels, the split, and what a snapshot records of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.tasks.own_prompts import OwnPrompt, own_prompt_of, record_of
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.user_files import OwnTable, scored_from

PROMPT = "{review|strip} It was"


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
@pytest.mark.parametrize(
    ("candidates", "labels"),
    [
        (("terrible", "great"), ("terrible", "great")),  # the word itself
        (("terrible", "great"), ("0", "1")),  # its number
        (("neg=terrible", "pos=great"), ("neg", "pos")),
    ],
)
def test_fixed_candidates(tmp_path: Path, suffix: str, candidates: tuple[str, ...], labels: tuple[str, ...]) -> None:
    file = write(tmp_path / f"films{suffix}", [{"review": f"film {i} ", "y": labels[i % 2]} for i in range(10)])
    data = OwnTable(file, None, "y", prompt=PROMPT, candidates=candidates).load()
    held = data.evals["validation"]
    assert (len(data.train), len(held), data.spec.objective) == (8, 2, "candidates")
    assert set(data.train.candidates or ()) == {(" terrible", " great")}
    for part in (data.train, held):
        assert part.text == [f"film {text.split()[1]} It was" for text in part.text]
        assert part.labels.tolist() == [int(text.split()[1]) % 2 for text in part.text]
    assert data.spec.metrics == ("accuracy", "f1_macro") and "8 training and 2 validation" in data.source


def test_candidates_of_each_row_and_free_text(tmp_path: Path) -> None:
    rows = [{"q": f"Q{i}", "choices": [f"a{i}", f"b{i}", "c"][: 2 + i % 2], "right": f"b{i}"} for i in range(4)]
    file = write(tmp_path / "quiz.jsonl", rows)
    data = OwnTable(file, None, "right", eval_file=file, prompt="{q}\n", candidates_column="choices").load()
    assert data.train.candidates == [("a0", "b0"), ("a1", "b1", "c"), ("a2", "b2"), ("a3", "b3", "c")]
    assert data.train.golds == [(1,)] * 4 and data.spec.target.kind == "choice"
    free = OwnTable(file, None, "right", eval_file=file, prompt="{q} Answer:").load()
    assert free.train.answers == [(f"b{i}",) for i in range(4)] and free.spec.objective == "generation"
    assert free.train.candidates == [(f" b{i}\n",) for i in range(4)]


def test_a_snapshot_records_a_prompt_so_that_other_rows_can_be_scored(tmp_path: Path) -> None:
    file = write(tmp_path / "films.jsonl", [{"review": f"film {i}", "y": ("neg", "pos")[i % 2]} for i in range(10)])
    table = OwnTable(file, None, "y", name="films", prompt=PROMPT, candidates=("neg=terrible", "pos=great"))
    spec = table.load().spec
    head = {"kind": "classification", "labels": list(spec.labels or ()), **json.loads(json.dumps(record_of(spec)))}
    assert own_prompt_of(head) == table.own_prompt
    more = write(tmp_path / "more.jsonl", [{"review": "new", "stars": "pos"}, {"review": "old", "stars": "neg"}])
    scored = scored_from({"file": more, "label": "stars"}, "films", head)
    assert scored.evals["validation"].text == ["new It was", "old It was"] and len(scored.train) == 0
    assert scored.evals["validation"].labels.tolist() == [1, 0]
    with pytest.raises(UserError, match="got a column of the text for films, whose prompt names its columns"):
        scored_from({"file": more, "text": "review"}, "films", head)
    assert OwnTable.from_dict(json.loads(json.dumps(table.to_dict()))) == table
    for other in (OwnPrompt("{q}", "a", ("x", "y")), OwnPrompt("{q}", "a", (), "choices"), OwnPrompt("{q}", "a")):
        assert own_prompt_of(record_of(other.task("t", "t", "t"))) == other
    assert own_prompt_of({}) is None and record_of(TASKS["prompt-sst2"]) == {}
    for wrong in (
        "{q}",
        {"template": "{"},
        {"template": "{q}", "label": "a", "more": 1},
        {"template": 3, "label": "a"},
    ):
        with pytest.raises(UserError, match="got a snapshot with the prompt"):
            own_prompt_of({"prompt": wrong})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompt": "{text"}, "got a single {"),
        ({"prompt": "It was"}, "got the prompt 'It was' without a column"),
        ({"prompt": "{y}: {text}"}, "got the label 'y' in the prompt"),
        ({"prompt": "{text}", "candidates": ("a", "a")}, "got the candidate 'a' twice"),
        ({"prompt": "{text}", "candidates": ("x=a", "y=a")}, "got the candidate 'a' twice"),
        ({"prompt": "{text}", "candidates": ("a",)}, "got one candidate"),
        ({"prompt": "{text}", "candidates": ("a", "b"), "candidates_column": "c"}, "got candidates and columns"),
        ({"prompt": "{text}", "text": "text"}, "got a prompt with a column of the text"),
        ({"text": "text", "candidates": ("a", "b")}, "got candidates without a prompt"),
        ({"prompt": "{text}", "candidates": (1, 2)}, "got candidates = '(1, 2)' of a table; expected texts"),
    ],
)
def test_what_is_refused_before_the_table_is_read(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        OwnTable(**{"train_file": "gone.csv", "text": None, "label": "y", **fields})
    assert str(error.value).startswith(told)


@pytest.mark.parametrize(
    ("prompt", "rows", "told"),
    [
        (
            "{title} It was",
            [{"text": "a", "y": "bad"}],
            "films.jsonl, row 1: got no column 'title'; expected one of its",
        ),
        ("{text}", [{"text": " ", "y": "bad"}], "films.jsonl, row 1: got an empty prompt"),
        ("{text}", [{"text": "a", "y": "bad"}, {"text": "b", "y": "fair"}], "films.jsonl, row 2: got the label 'fair'"),
        ("{text}", [{"text": "a", "y": "bad"}], "films.jsonl: got 1 rows; expected at least 4"),
        ("{text}", [], "films.jsonl: got an empty file"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, prompt: str, rows: list[dict[str, Any]], told: str) -> None:
    file = write(tmp_path / "films.jsonl", rows)
    with pytest.raises(UserError) as error:
        OwnTable(file, None, "y", prompt=prompt, candidates=("bad", "good")).load()
    assert str(error.value).startswith(told)


def test_a_fine_tune_is_configured_by_a_prompt(tmp_path: Path) -> None:
    fields = {"train_file": "a.csv", "prompt": PROMPT, "candidates": ["bad", "good"], "label": "y"}
    config = RunConfig.from_dict(fields)
    assert config.table == OwnTable("a.csv", None, "y", prompt=PROMPT, candidates=("bad", "good"))
    assert (config.resolved().lr, config.resolved().epochs) == (1e-2, 3)
    assert RunConfig.from_dict(config.to_dict()) == config
    for wrong, told in (
        ({"prompt": PROMPT}, "got --prompt without --train-file"),
        ({"prompt": PROMPT, "train_file": "a.csv"}, "got --prompt without --label"),
        ({"demonstrations": -1}, "got --demonstrations -1; expected at least 0"),
    ):
        with pytest.raises(UserError, match=told):
            RunConfig(**wrong)
