"""Flat rows from records that nest them: SuperGLUE's WSC, MultiRC and ReCoRD, SQuAD's and DROP's files, and the same
on the Hub.

The columns are those of the Hub's data sets. A place is where in a record a row stands, in words, such as
``, question 2``; messages begin with it, or with a colon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from beft_core.errors import UserError
from beft_core.tasks.cells import kind_of
from beft_core.tasks.prompts.render import SPAN_SEPARATOR

Flat = Iterator[tuple[str, Mapping[str, Any]]]
"""Rows of a record: (place, cells)."""

_WORDS: dict[type, str] = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


def flat_rows(folder: str | None, record: Any) -> Flat:
    """Give the rows of a record of a task's official file: of a line, of an article of SQuAD, of a passage of DROP.

    ``folder``: of the task in the official download. Raises UserError, with the place: a key that is not there, or a
    value of another type.
    """
    return _OFFICIAL.get(folder or "", _as_it_is)(record)


def hub_rows(folder: str | None, name: str, records: Iterable[Any]) -> Flat:
    """Give (place, row) of the records of the Hub's data set of a task; places begin with ``name``.

    Raises UserError, with the place, as :func:`flat_rows`.
    """
    flat = _HUB.get(folder or "", dict)
    for number, record in enumerate(records, start=1):
        where = f"{name}, row {number}"
        try:
            yield where, flat(record)
        except UserError as error:
            raise UserError(f"{where}{error.got}", error.expected) from None


def _as_it_is(record: Any) -> Flat:
    yield "", record


def _wsc(record: Any) -> Flat:
    target = _member(record, "target", dict)
    names = {name: target[name] for name in ("span1_text", "span2_text") if name in target}
    yield "", {**record, **names}


def _multirc(record: Any) -> Flat:
    passage = _member(record, "passage", dict)
    text = _member(passage, "text", str)
    for number, question in enumerate(_member(passage, "questions", list), start=1):
        place = f", question {number}"
        asked = _member(question, "question", str, place)
        for answer_number, answer in enumerate(_member(question, "answers", list, place), start=1):
            where = f"{place}, answer {answer_number}"
            cells = {"answer": _member(answer, "text", str, where), "label": _member(answer, "label", int, where)}
            yield where, {"paragraph": text, "question": asked, **cells}


def _record(record: Any) -> Flat:
    passage = _member(record, "passage", dict)
    text = _member(passage, "text", str)
    entities = sorted({_entity(text, span) for span in _member(passage, "entities", list)})
    for number, question in enumerate(_member(record, "qas", list), start=1):
        place = f", query {number}"
        answers = _member(question, "answers", list, place)
        names = sorted({_member(answer, "text", str, place) for answer in answers})
        query = _member(question, "query", str, place)
        yield place, {"passage": text, "query": query, "entities": entities, "answers": names}


def _entity(text: str, span: Any) -> str:
    start, end = _member(span, "start", int), _member(span, "end", int)  # the end is the last character's number
    if not 0 <= start <= end < len(text):
        raise UserError(f": got an entity from {start} to {end} of a text of {len(text)} characters", "one inside it")
    return text[start : end + 1]


def _squad(article: Any) -> Flat:
    title = article.get("title", "") if isinstance(article, dict) else ""
    for of, paragraph in enumerate(_member(article, "paragraphs", list), start=1):
        here = f", paragraph {of}"
        context = _filled(paragraph, "context", here)
        for at, question in enumerate(_member(paragraph, "qas", list, here), start=1):
            where = f"{here}, question {at}"
            answers = [
                " ".join(_member(answer, "text", str, where).split())
                for answer in _member(question, "answers", list, where)
            ]
            if not answers:
                raise UserError(f"{where}: got no answers", "one or more for every question, as in SQuAD 1.1")
            asked = _filled(question, "question", where)
            yield where, {"title": title, "context": context, "question": asked, "answers": answers}


def _drop(passage: Any) -> Flat:
    text = _filled(passage, "passage", "")
    for at, question in enumerate(_member(passage, "qa_pairs", list), start=1):
        where = f", question {at}"
        also = question.get("validated_answers", []) if isinstance(question, dict) else []
        if not isinstance(also, list):
            raise UserError(f"{where}: got {kind_of(also)} as 'validated_answers'", "a list")
        answers = [_drop_answer(answer, where) for answer in (_member(question, "answer", dict, where), *also)]
        if not any(answers):
            raise UserError(f"{where}: got no answer", "a number, spans or a date")
        asked = _filled(question, "question", where)
        yield where, {"passage": text, "question": asked, "answers": [answer for answer in answers if answer]}


def _drop_answer(answer: Any, where: str) -> str:
    """Write an answer of DROP as one text: its number, its spans in lines of their own, or its date; empty without any.

    Raises UserError for other types.
    """
    if not isinstance(answer, dict):
        raise UserError(f"{where}: got {kind_of(answer)} as an answer", "an object with number, spans or date")
    number, spans, date = answer.get("number", ""), answer.get("spans") or [], answer.get("date") or {}
    if number not in ("", None):
        if not isinstance(number, str | int | float) or isinstance(number, bool):
            raise UserError(f"{where}: got {kind_of(number)} as 'number'", "text")
        return str(number)[:300]
    if not isinstance(spans, list) or not all(isinstance(span, str) for span in spans):
        raise UserError(f"{where}: got other 'spans'", "a list of texts")
    if spans:
        return SPAN_SEPARATOR.join(" ".join(span.split()) for span in spans)
    if not isinstance(date, dict):
        raise UserError(f"{where}: got {kind_of(date)} as 'date'", "an object")
    parts = [date.get(part) or "" for part in ("day", "month", "year")]
    if not all(isinstance(part, str) for part in parts):
        raise UserError(f"{where}: got other parts of a date", "texts")
    return " ".join(part for part in parts if part)


def _hub_squad(record: Mapping[str, Any]) -> Mapping[str, Any]:
    texts = _member(_member(record, "answers", dict), "text", list)
    return {**record, "answers": [" ".join(text.split()) for text in texts if isinstance(text, str)]}


def _hub_drop(record: Mapping[str, Any]) -> Mapping[str, Any]:
    also = record.get("validated_answers") or {}  # columns of equally long lists, one item per answer
    count = len(also.get("number") or ())
    others = [{part: also[part][at] for part in ("number", "date", "spans") if part in also} for at in range(count)]
    found = [_drop_answer(answer, "") for answer in (_member(record, "answer", dict), *others)]
    return {**record, "answers": [answer for answer in found if answer]}


def _member(record: Any, key: str, kind: type, where: str = "") -> Any:
    """Value of a key of a record, of the type that is wanted; true and false count as whole numbers."""
    place = f"{where}: "
    if not isinstance(record, Mapping) or key not in record:
        have = f", only {', '.join(map(str, list(record)[:10]))}" if isinstance(record, Mapping) else ""
        raise UserError(f"{place}got no {key!r}{have}", f"an object with {key!r}")
    value = record[key]
    if not isinstance(value, kind):
        raise UserError(f"{place}got {kind_of(value)} as {key!r}", _WORDS[kind])
    return value


def _filled(record: Any, key: str, where: str) -> str:
    value: str = _member(record, key, str, where)
    if not value.strip():
        raise UserError(f"{where}: got an empty {key!r}", "text")
    return value


_OFFICIAL: dict[str, Callable[[Any], Flat]] = {
    "WSC": _wsc,
    "MultiRC": _multirc,
    "ReCoRD": _record,
    "SQuAD": _squad,
    "DROP": _drop,
}
"""Readers of a record by the task's folder; records of other tasks are rows."""
_HUB: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {"SQuAD": _hub_squad, "DROP": _hub_drop}
"""Readers of a record of the Hub, likewise."""
