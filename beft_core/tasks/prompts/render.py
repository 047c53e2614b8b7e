"""Examples of a prompted task from the rows of a table, wherever these come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from beft_core.errors import UserError
from beft_core.tasks.cells import kind_of, text_of
from beft_core.tasks.examples import Examples
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.spec import TaskSpec

Row = Mapping[str, Any]
"""Cells of a row by column: texts; lists of texts for candidates and answers; labels."""

SPAN_SEPARATOR = "\n"
"""Separator of the spans of one answer: an answer ends at a newline, so that none stands in a span."""
MAX_MEMORY = 1024 * 2**20
"""Most characters of all prompts and candidates together."""


def examples_of(spec: TaskSpec, rows: Iterable[tuple[str, Row]], title: str) -> Examples:
    """Write the prompts, candidates and answers of a task's rows.

    ``rows``: (place of the row in words, such as ``val.jsonl, row 3``; its cells). ``title``: name of the table.

    Raises UserError, with the place: a column that is not there, another type, an empty prompt or candidate, equal
    candidates, a label or answer that is none of them; and for a table without rows.
    """
    prompt = spec.prompt
    assert prompt is not None
    examples: list[tuple[str, tuple[str, ...], tuple[int, ...], tuple[str, ...]]] = []
    about: dict[str, int] = {}
    groups: list[int] = []
    held = 0
    for where, row in rows:
        try:
            one = _example(spec, prompt, row)
        except UserError as error:
            raise UserError(f"{where}: {error.got}", error.expected, error.try_) from None
        held += len(one[0]) + sum(map(len, one[1]))
        if held > MAX_MEMORY:
            raise UserError(f"{where}: got more than {MAX_MEMORY:,} characters of prompts", "fewer", "a sample")
        examples.append(one)
        if prompt.about:
            groups.append(about.setdefault(text_of(_cell(row, prompt.about), prompt.about), len(about)))
    if not examples:
        raise UserError(f"{title}: got no examples", f"the examples of {spec.title}")
    texts, candidates, golds, answers = (list(column) for column in zip(*examples, strict=True))
    labels = spec.target.encode([gold[0] for gold in golds])
    right = answers if prompt.kind == "text" else None
    return Examples(texts, None, labels, candidates, golds, right, groups=groups if prompt.about else None)


def _example(
    spec: TaskSpec, prompt: PromptSpec, row: Row
) -> tuple[str, tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    """Write (prompt, continuations, numbers of the right ones, right texts) of a row."""
    cells = {column: text_of(_cell(row, column), column) for column in prompt.columns}
    text = prompt.prompt_of(cells)
    if prompt.kind == "text":
        answers = _answers(row, spec.label)
        return text, (prompt.answer(text, answers[0].split(SPAN_SEPARATOR)[0]),), (0,), answers
    candidates = prompt.candidates or _own_candidates(prompt, row)
    golds = _right_ones(row, spec.label, candidates) if prompt.kind == "choice" else (_class(spec, row),)
    return text, prompt.continuations(text, cells, candidates), golds, ()


def _cell(row: Row, column: str) -> Any:
    if column not in row:
        raise UserError(f"got no column {column!r}", f"one of its columns: {', '.join(list(row)[:20])}")
    return row[column]


def _texts(value: Any, column: str) -> list[str]:
    """Texts of a cell: one, or those of a list."""
    return [text_of(item, column) for item in (value if isinstance(value, list | tuple) else [value])]


def _own_candidates(prompt: PromptSpec, row: Row) -> tuple[str, ...]:
    if len(prompt.candidate_columns) == 1 and not isinstance(_cell(row, prompt.candidate_columns[0]), list | tuple):
        column = prompt.candidate_columns[0]
        raise UserError(
            f"got {kind_of(row[column])} in {column!r}", "a list of candidates, as JSON and Parquet have it"
        )
    found = [text for column in prompt.candidate_columns for text in _texts(_cell(row, column), column)]
    if not found:
        raise UserError(f"got no candidates in {prompt.candidate_columns[0]!r}", "one or more")
    return tuple(found)


def _class(spec: TaskSpec, row: Row) -> int:
    value = _cell(row, spec.label)
    text = str(value).lower() if isinstance(value, bool) else str(value)[:300]
    try:
        return int(spec.target.read(text))
    except ValueError:
        hint = "--candidates label=word for each, if labels are no candidates" if spec.source == "file" else ""
        raise UserError(f"got the label {text!r}", spec.target.expected, hint) from None


def _right_ones(row: Row, column: str, candidates: tuple[str, ...]) -> tuple[int, ...]:
    """Numbers of the right candidates: a cell has their texts, or the number of one, from 0."""
    value = _cell(row, column)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < len(candidates):
            raise UserError(f"got the candidate number {str(value)[:20]}", f"0 to {len(candidates) - 1}")
        return (value,)
    numbers = {text: number for number, text in enumerate(candidates)}
    found = []
    for text in _texts(value, column):
        if text in numbers:
            found.append(numbers[text])
        elif text.isascii() and text.isdigit() and len(text) < 5 and int(text) < len(candidates):
            found.append(int(text))
        else:
            shown = ", ".join(repr(candidate[:40]) for candidate in candidates[:6])
            raise UserError(f"got the answer {text[:60]!r}, which is no candidate", f"one of {shown}")
    if not found:
        raise UserError(f"got no answer in {column!r}", "one or more of the candidates")
    return tuple(dict.fromkeys(found))


def _answers(row: Row, column: str) -> tuple[str, ...]:
    """Right answers in free text, each once. White space within is one space, except between spans."""
    found = []
    for text in _texts(_cell(row, column), column):
        spans = [" ".join(span.split()) for span in text.split(SPAN_SEPARATOR)]
        found.append(SPAN_SEPARATOR.join(span for span in spans if span))
    answers = tuple(dict.fromkeys(text for text in found if text))
    if not answers:
        raise UserError(f"got no answer in {column!r}", "one or more texts", "removing the row")
    return answers
