"""Prompted tasks as Markdown, made from the registry, for the documentation: a table of them, and their prompts."""

from __future__ import annotations

from beft_core.tasks.prompts.tasks import PROMPTED
from beft_core.tasks.spec import TaskSpec

HEADINGS = ("task", "answers", "trained by", "metric", "paper's rate")


def markdown() -> str:
    """Write a table with a row for each task, and the prompts below it, their newlines as ``\\n``.

    Prompts stand in lines of their own: a terminal would cut them in a column.
    """
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *map(_row, PROMPTED)]
    table = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([*table, "", *map(_prompt, PROMPTED)])


def _row(spec: TaskSpec) -> tuple[str, ...]:
    prompt = spec.prompt
    assert prompt is not None
    own = " and ".join(prompt.candidate_columns)
    answers = ", ".join(prompt.candidates) or (f"those in {own}" if own else "free text")
    return spec.name, answers, prompt.trained_by.replace("_", " "), spec.metrics[0], f"{spec.lr:g}"


def _prompt(spec: TaskSpec) -> str:
    prompt = spec.prompt
    assert prompt is not None
    text = prompt.template.replace("\n", "\\n")
    follows = "" if prompt.continuation == "{candidate}" else f", then `{prompt.continuation}`"
    return f"- **{spec.name}**: `{text}`{follows}"
