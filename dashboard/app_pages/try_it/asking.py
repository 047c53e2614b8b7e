"""Questions to the process that holds the model: what the chosen fine-tunes say, grouped by their base model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beft_core.inference.answers import Answer
from beft_core.inference.sending import by_content, by_file
from dashboard.app_pages.try_it.setup import Chosen, Setup
from dashboard.shared.model_service import ask


def answers(setup: Setup, texts: list[str], pairs: list[str] | None, apart: int) -> tuple[list[Answer], float]:
    """Ask all fine-tunes about all sentences; of one, number ``apart``, also layer by layer.

    Returns the answers in the order of the fine-tunes, and the seconds that the model took (0 where it was asked
    before).

    Raises:
        UserError: what the engine refuses, or no process to ask.
    """
    found: dict[str, Answer] = {}
    seconds = 0.0
    for model in dict.fromkeys(run.model for run in setup.runs):
        runs = [run for run in setup.runs if run.model == model]
        result = ask(
            "answer",
            "Asking the fine-tunes",
            runs=sent(runs),
            texts=texts,
            text_pairs=pairs,
            task=setup.task,
            apart=[apart],
            model=model,
        )
        seconds += result["seconds"]
        found |= {one["name"]: Answer.from_dict(one) for one in result["answers"]}
    return [found[run.name] for run in setup.runs], seconds


def sent(runs: Sequence[Chosen]) -> list[dict[str, Any]]:
    """Describe fine-tunes as that process reads them."""
    return [
        by_content(run.name, run.source.read()) if run.source.path is None else by_file(run.name, run.source.path)
        for run in runs
    ]
