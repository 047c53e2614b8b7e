"""Questions to the process that holds the model: what the chosen fine-tunes say, grouped by their base model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from beft_core.errors import UserError
from beft_core.inference.answers import Answer
from beft_core.inference.sending import by_content, by_file
from dashboard.app_pages.try_it.setup import Chosen, Setup
from dashboard.shared import model_service, page
from dashboard.shared.model_service import ask


def answers(
    setup: Setup, texts: list[str], pairs: list[str] | None, apart: int, candidates: list[str] | None = None
) -> tuple[list[Answer], float]:
    """Ask all fine-tunes about all sentences; of one, number ``apart``, also layer by layer.

    ``candidates``: answers to texts that are prompts; None: a head answers.

    Returns the answers in the order of the fine-tunes, and the seconds that the model took (0 where it was asked
    before).

    Raises:
        UserError: what the engine refuses, or no process to ask.
    """
    found: dict[str, Answer] = {}
    seconds = 0.0
    for model in dict.fromkeys(run.model for run in setup.runs):
        runs = [run for run in setup.runs if run.model == model]
        about: dict[str, Any] = {"texts": texts, "text_pairs": pairs}
        if candidates is not None:
            about = {"prompts": texts, "candidates": candidates}
        result = ask(
            "answer" if candidates is None else "ask",
            "Asking the fine-tunes",
            runs=sent(runs),
            task=setup.task,
            apart=[apart],
            model=model,
            **about,
        )
        seconds += result["seconds"]
        found |= {one["name"]: Answer.from_dict(one) for one in result["answers"]}
    return [found[run.name] for run in setup.runs], seconds


def write_on(
    setup: Setup,
    prompt: str,
    factors: list[float],
    tokens: list[list[int]],
    ended: list[int | None],
    seconds: float,
) -> dict[str, Any]:
    """Go on with the texts of the base model and the fine-tunes after a prompt, for so many seconds.

    Everything is as :meth:`beft_core.inference.held.HeldFineTunes.write` has it; nothing is remembered.

    Raises:
        UserError: fine-tunes of several base models, what the engine refuses, or no process to ask.
    """
    models = list(dict.fromkeys(run.model for run in setup.runs))
    if len(models) > 1:
        raise UserError("got fine-tunes of several base models", "those of one", "the others in another window")
    page.model_of_page(models[0])
    opens = not tokens or not model_service.service().running
    with model_service.waiting("Opening the model") if opens else nullcontext(), model_service.turn() as own:
        answer: dict[str, Any] = own.ask(
            "write",
            runs=sent(setup.runs),
            prompt=prompt,
            task=setup.task,
            model=models[0],
            factors=factors,
            tokens=tokens,
            ended=ended,
            seconds=seconds,
        )
    return answer


def sent(runs: Sequence[Chosen]) -> list[dict[str, Any]]:
    """Describe fine-tunes as that process reads them."""
    return [
        by_content(run.name, run.source.read()) if run.source.path is None else by_file(run.name, run.source.path)
        for run in runs
    ]
