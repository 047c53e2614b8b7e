"""Table of the prompted tasks as Markdown, made from the registry, for the documentation."""

from __future__ import annotations

from beft_core.tasks.prompts.tasks import PROMPTED
from beft_core.tasks.spec import TaskSpec

HEADINGS = ("task", "prompt", "answers", "trained by", "metric", "paper's rate")


def markdown_table() -> str:
    """Write the table: a row for each task, with its prompt's newlines as ``\\n``."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *map(_row, PROMPTED)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _row(spec: TaskSpec) -> tuple[str, ...]:
    prompt = spec.prompt
    assert prompt is not None
    own = " and ".join(prompt.candidate_columns)
    answers = ", ".join(prompt.candidates) or (f"those in {own}" if own else "free text")
    text = prompt.template.replace("\n", "\\n").replace("|", "\\|")
    trained_by = prompt.trained_by.replace("_", " ")
    return f"`{spec.name}`", f"`{text}`", answers, trained_by, spec.metrics[0], f"{spec.lr:g}"
