"""Words of the question and of its answer, in Markdown: every clause holds for the numbers that are shown."""

from __future__ import annotations

from beft_core.architectures.certified import certified
from beft_core.scores.approaches import PAPER
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import CANDIDATES, TERMS
from dashboard.app_pages.start.cases import Case
from dashboard.content.trained_alone import task_title
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex, name_in_text, tinted
from dashboard.shared.text import plain

SENTENCE = (
    f"Bias-efficient fine-tuning trains just **one** small vector per layer, {', '.join(map(latex, CANDIDATES[:2]))} "
    f"or {latex(CANDIDATES[2])}, and leaves the rest of the model as it is."
)
"""Sentence below the title."""
TITLE = "Which bias would you fine-tune?"
PICK = "Pick one: then you see what each of them got, on a small language model with everything else frozen."
OFFERS: dict[str, str] = {
    "q": "what a word looks for",
    "k": "what a word answers to",
    "v": "what a word hands on",
}
_BY_FAR, _LEVEL = 0.1, 0.02
"""Least lead, of a metric from 0 to 1, that is called "by far", and largest one at which two terms are as good."""


def offered(term: str) -> str:
    """Write the label of a choice."""
    return f"**{name_in_text(term)}**: {OFFERS[term]}"


def short_task(case: Case) -> str:
    """Name the task of a case where there is little room."""
    return plain(task_title(case.probe.meta.task).partition(":")[0])


def asked(case: Case, went_on: bool) -> str:
    """Write the question on a case. ``went_on``: whether it comes after the first."""
    return (
        f"**{'Now ' if went_on else ''}{plain(task_title(case.probe.meta.task))}**, {case.probe.meta.n_train:,} "
        "examples. Train **one bias alone**: which gets furthest?"
    )


def answered(case: Case, guess: str) -> str:
    """Write who won, by training alone, and whether the score had named it. Every clause holds for what is shown."""
    values = {term: f"{100 * m.mean:.1f}" for term, m in case.alone.items()}
    ranked = sorted(values, key=lambda term: -case.alone[term].mean)
    best, others = ranked[0], ranked[1:]
    right = "Right: the " if guess == best else "The "
    won = tinted(best)
    if best != case.named:
        won += f" is {'**as good** as' if case.lead >= -_LEVEL else '**ahead** of'} {latex(case.named)}"
    elif case.lead >= _BY_FAR:
        won += ", by far"
    scores = case.probe.scores.mean_scores(PAPER, case.probe.scores.stacks[0])
    ratios = " against ".join(
        short(scores[term], 2) for term in (case.named, *(t for t in ranked if t != case.named and scores[t] > 0))
    )
    score = (
        f"The **score** of one run of all biases had said so: {latex(case.named)} turned furthest ({ratios})."
        if best == case.named
        else f"Yet the **score** names {latex(case.named)} ({ratios}): it says how far a bias *turned*, not "
        "how much it helps."
    )
    numbers = f"{values[best]} against " + " and ".join(values[term] for term in others)
    metric = plain(metric_in_words(str(case.probe.meta.metric)))
    return f"{right}{won}: **{numbers}** ({metric}, %). {score}"


def computed(case: Case) -> str:
    """Write what the numbers are."""
    meta = case.probe.meta
    metric = plain(metric_in_words(str(meta.metric)))
    seeds = min(len(m.values) for m in case.alone.values())
    null = [term for term in certified(meta).terms if term in CANDIDATES]
    return (
        f"**Bars**: {metric}, %, on the validation set after the last epoch, of fine-tunes of one term "
        f"and the classification head on {meta.n_train:,} examples ({seeds} seed{'s' * (seeds > 1)} each), with a "
        "learning rate of their own. **Score**: projection ratio of a fine-tune of all biases, mean over layers."
        + "".join(
            f" The {name_in_text(term)} is null in this model: it stays frozen, and its bar is what the head does "
            "alone."
            for term in null
        )
        + f" {latex(case.named)} is {TERMS[case.named].where}."
    )
