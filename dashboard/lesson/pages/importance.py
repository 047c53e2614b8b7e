"""Page of a lesson on the scores: what each approach names, what training alone gave, and where in the model."""

from __future__ import annotations

from functools import partial
from typing import Any

from beft_core.scores.approaches import APPROACHES, Question, of_probes, questions
from dashboard.app_pages.importance.verdict import verdict
from dashboard.content import facts
from dashboard.content.answers import contest, heading, noise
from dashboard.content.places import PLACES
from dashboard.content.samples import Opened
from dashboard.figures.heatmaps import heatmaps
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import name_in_text
from dashboard.figures.ranking import ranking
from dashboard.lesson.charts import Chart, chart
from dashboard.lesson.page import Page
from dashboard.lesson.shelf import Shelf
from dashboard.shared.text import plain


def page(shelf: Shelf) -> Page:
    """Make the page with a section for each snapshot, and for each stack of one."""
    charts: list[Chart] = []
    sections = []
    for number, opened in enumerate(shelf.shown):
        stacks = opened.scores.stacks
        for stack in stacks:
            title = opened.title if len(stacks) == 1 else f"{opened.title}, {stack}"
            sections.append({"title": title, **_section(opened, stack, shelf, f"{number}-{stack}", charts)})
    return Page(
        name="importance",
        title="Which bias matters?",
        sentence=PLACES["importance"].help,
        teaser=PLACES["importance"].help,
        words={"sections": sections},
        data={},
        charts=charts,
    )


def _section(opened: Opened, stack: str, shelf: Shelf, key: str, charts: list[Chart]) -> dict[str, Any]:
    scores, selected = opened.scores, opened.selected(stack)
    asked = {question: variants[0].key for question, variants in questions([*of_probes(), *scores.approaches]).items()}
    approaches = list(asked.values())
    maps = []
    for approach in approaches:
        label = APPROACHES[approach].label
        if any(approach in row.scores for row in scores.rows(stack).values()):
            maps.append(
                chart(
                    f"map-{key}-{approach}",
                    f"{label} of every bias term in every layer",
                    partial(heatmaps, scores, [approach], selected, stack),
                )
            )
    cards = [_card(opened, stack, question, approach, key, charts) for question, approach in asked.items()]
    charts += maps
    return {
        "verdict": verdict(opened, stack, shelf.metas),
        "headline": facts.headline(opened),
        "shows": plain(opened.shows, 600),
        "cards": cards,
        "marks": facts.bars(opened, approaches, stack),
        "caveat": facts.no_contest(opened),
        "maps": maps,
        "terms": " · ".join(name_in_text(term) for term in scores.rows(stack)),
        "notes": [plain(note) for note in scores.notes],
        "head": [APPROACHES[approach].label for approach in approaches],
        "means": [
            [name_in_text(term), *(_mean(opened, approach, stack, term) for approach in approaches)]
            for term in scores.rows(stack)
        ],
    }


def _card(
    opened: Opened, stack: str, question: Question, approach: str, key: str, charts: list[Chart]
) -> dict[str, Any]:
    drawn = None
    if opened.scores.contestants(approach, stack):
        term = opened.selected(stack).get(approach)
        drawn = chart(
            f"ranking-{key}-{approach}",
            f"Ranking of the bias terms by {APPROACHES[approach].label}",
            partial(ranking, opened.scores, approach, term, stack),
        )
        charts.append(drawn)
    return {
        "heading": heading(opened, approach, stack),
        "words": f"{question.words} {contest(opened, approach, stack)}",
        "noise": noise(opened, approach, stack),
        "chart": drawn,
    }


def _mean(opened: Opened, approach: str, stack: str, term: str) -> str:
    mean = opened.scores.mean_scores(approach, stack).get(term)
    return "–" if mean is None else plain(short(mean))
