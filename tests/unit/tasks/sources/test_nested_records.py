"""Nested records become flat rows, and what is nested otherwise is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.tasks.sources.nested_records import flat_rows, hub_rows

MULTIRC = {
    "passage": {
        "text": "A force.",
        "questions": [
            {"question": "What?", "answers": [{"text": "Nothing", "label": 0}, {"text": "A force", "label": 1}]},
            {"question": "Why?", "answers": [{"text": "Because", "label": 1}]},
        ],
    }
}
RECORD = {
    "passage": {
        "text": "Amy met Bob. Amy left.",
        "entities": [{"start": 8, "end": 10}, {"start": 0, "end": 2}, {"start": 13, "end": 15}],
    },
    "qas": [{"query": "@placeholder left", "answers": [{"text": "Amy", "start": 0}, {"text": "Amy", "start": 13}]}],
}
SQUAD = {
    "title": "T",
    "paragraphs": [{"context": "C", "qas": [{"question": "Q", "answers": [{"text": "a  b"}, {"text": "c"}]}]}],
}
DROP = {
    "passage": "P",
    "qa_pairs": [
        {
            "question": "Q",
            "answer": {"number": "", "date": {"day": "", "month": "", "year": ""}, "spans": ["x", "y z"]},
            "validated_answers": [
                {"number": 2, "date": {}, "spans": []},
                {"number": "", "date": {"day": "3", "month": "May", "year": "1611"}, "spans": []},
                {"number": "", "date": {}, "spans": []},
            ],
        }
    ],
}


def test_superglues_nested_records() -> None:
    wsc = {"text": "t", "target": {"span1_text": "a", "span2_text": "b", "span1_index": 0}, "label": True}
    [(place, row)] = flat_rows("WSC", wsc)
    assert (place, row["span1_text"], row["span2_text"], row["label"]) == ("", "a", "b", True)
    rows = list(flat_rows("MultiRC", MULTIRC))
    assert [place for place, _ in rows] == [
        ", question 1, answer 1",
        ", question 1, answer 2",
        ", question 2, answer 1",
    ]
    assert rows[1][1] == {"paragraph": "A force.", "question": "What?", "answer": "A force", "label": 1}
    [(_, row)] = flat_rows("ReCoRD", RECORD)
    assert row["entities"] == ["Amy", "Bob"] and row["answers"] == ["Amy"]  # each once, in the alphabet's order
    assert list(flat_rows("SST-2", {"sentence": "a"})) == [("", {"sentence": "a"})]


def test_questions_with_free_answers() -> None:
    [(place, row)] = flat_rows("SQuAD", SQUAD)
    assert place == ", paragraph 1, question 1"
    assert row == {"title": "T", "context": "C", "question": "Q", "answers": ["a b", "c"]}
    [(place, row)] = flat_rows("DROP", DROP)
    assert place == ", question 1"
    assert row == {"passage": "P", "question": "Q", "answers": ["x\ny z", "2", "3 May 1611"]}


def test_the_hub_has_columns_where_files_nest() -> None:
    squad = {"context": "C", "answers": {"text": ["a  b", "c"], "answer_start": [0, 1]}}
    assert list(hub_rows("SQuAD", "prompt-squad", [squad])) == [
        ("prompt-squad, row 1", {"context": "C", "answers": ["a b", "c"]})
    ]
    main, *also = (DROP["qa_pairs"][0]["answer"], *DROP["qa_pairs"][0]["validated_answers"])  # type: ignore[index]
    columns = {part: [answer[part] for answer in also] for part in ("number", "date", "spans")}
    [(_, row)] = hub_rows("DROP", "d", [{"passage": "P", "answer": main, "validated_answers": columns}])
    assert row["answers"] == ["x\ny z", "2", "3 May 1611"]
    assert list(hub_rows("BoolQ", "b", [{"label": 1}])) == [("b, row 1", {"label": 1})]
    with pytest.raises(UserError, match=r"^d, row 1: got no 'answer', only passage"):
        list(hub_rows("DROP", "d", [{"passage": "P"}]))


def changed(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with one value changed; None for a key that goes."""
    if not path:
        return value
    copy = list(record) if isinstance(record, list) else dict(record)
    if len(path) == 1 and value is None:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


QA = ("paragraphs", 0, "qas", 0)


@pytest.mark.parametrize(
    ("folder", "record", "told"),
    [
        ("WSC", {"text": "t"}, ": got no 'target', only text; expected an object with 'target'"),
        ("WSC", {"target": "x"}, ": got text as 'target'; expected an object"),
        ("MultiRC", [], ": got no 'passage'"),
        ("MultiRC", changed(MULTIRC, ("passage", "questions"), {}), ": got an object as 'questions'; expected a list"),
        (
            "MultiRC",
            changed(MULTIRC, ("passage", "questions", 1, "answers", 0, "label"), None),
            ", question 2, answer 1: got no 'label'",
        ),
        (
            "ReCoRD",
            changed(RECORD, ("passage", "entities", 0, "end"), 99),
            ": got an entity from 8 to 99 of a text of 22 characters",
        ),
        ("ReCoRD", changed(RECORD, ("passage", "entities", 0, "start"), -1), ": got an entity from -1"),
        ("ReCoRD", changed(RECORD, ("qas", 0, "query"), 5), ", query 1: got a number as 'query'; expected text"),
        ("SQuAD", 5, ": got no 'paragraphs'"),
        ("SQuAD", changed(SQUAD, (*QA, "answers"), []), ", paragraph 1, question 1: got no answers"),
        ("SQuAD", changed(SQUAD, (*QA, "answers"), None), ", paragraph 1, question 1: got no 'answers'"),
        ("SQuAD", changed(SQUAD, (*QA, "question"), " "), ", paragraph 1, question 1: got an empty 'question'"),
        ("SQuAD", changed(SQUAD, ("paragraphs", 0, "context"), ""), ", paragraph 1: got an empty 'context'"),
        ("DROP", changed(DROP, ("passage",), ""), ": got an empty 'passage'"),
        ("DROP", changed(DROP, ("qa_pairs", 0, "answer"), "x"), ", question 1: got text as 'answer'"),
        ("DROP", changed(DROP, ("qa_pairs", 0, "answer", "spans"), [1]), ", question 1: got other 'spans'"),
        ("DROP", changed(DROP, ("qa_pairs", 0, "answer", "number"), [1]), ", question 1: got a list as 'number'"),
        ("DROP", changed(DROP, ("qa_pairs", 0, "validated_answers"), "x"), ", question 1: got text as 'validated"),
        (
            "DROP",
            {"passage": "P", "qa_pairs": [{"question": "Q", "answer": {}}]},
            ", question 1: got no answer; expected a number, spans or a date",
        ),
    ],
)
def test_what_is_nested_otherwise(folder: str, record: Any, told: str) -> None:
    with pytest.raises(UserError) as error:
        list(flat_rows(folder, record))
    assert str(error.value).startswith(told)  # the place comes first: a caller puts the file before it
