"""Page of a lesson on the question: which bias gets furthest, trained alone? Predicted, and answered in its place."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from beft_core.errors import UserError
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import CANDIDATES
from dashboard.app_pages.start.answer import PICK, SENTENCE, TITLE, answered, asked, computed, offered, short_task
from dashboard.app_pages.start.bars import plain_bars
from dashboard.app_pages.start.cases import Case, cases
from dashboard.app_pages.start.scheme import SENTENCE as WORDS
from dashboard.app_pages.start.scheme import scene
from dashboard.content.samples import opened
from dashboard.lesson.charts import THEMES
from dashboard.lesson.page import Page
from dashboard.lesson.shelf import Shelf


def page(shelf: Shelf) -> Page:
    """Make the page from the first case and the last: the one that bears the score out most, and least.

    Raises:
        UserError: the samples do not answer the question.
    """
    found = cases(shelf.samples, shelf.metas, opened)
    if not found:
        raise UserError(
            "got samples without a probe and fine-tunes of q, k and v alone", "those that come with the lab"
        )
    shown = [found[0], found[-1]] if len(found) > 1 else found
    return Page(
        name="start",
        title=TITLE,
        sentence=SENTENCE,
        teaser=asked(found[0], went_on=False),
        words={
            "pick": PICK,
            "offers": {term: offered(term) for term in CANDIDATES},
            "cases": [_words(case, at > 0) for at, case in enumerate(shown)],
        },
        data={"flow": {name: scene(WORDS, dark) for name, dark in THEMES.items()}},
        components=("flow",),
    )


def _words(case: Case, went_on: bool) -> dict[str, Any]:
    reached = {term: m.mean for term, m in case.alone.items()}
    metric = metric_in_words(str(case.probe.meta.metric))
    return {
        "asked": asked(case, went_on),
        "task": short_task(case),
        "answers": {
            term: {"bars": Markup(plain_bars(reached, term, metric)), "words": answered(case, term)}
            for term in CANDIDATES
        },
        "computed": computed(case),
    }
