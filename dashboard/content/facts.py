"""Facts and marks of a snapshot in a sentence each, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from beft_core.architectures.certified import certified
from beft_core.methods import method_of
from beft_core.models.source import BUNDLED
from beft_core.tasks.metrics import metric_in_words
from beft_core.tasks.own_table import columns_of, labels_in_words
from beft_core.terms import CANDIDATES
from dashboard.content.samples import Opened
from dashboard.figures.parts.labels import as_written
from dashboard.figures.parts.style import latex
from dashboard.shared.text import plain


def bars(opened: Opened, approaches: Sequence[str], stack: str) -> str:
    """Write what the marks of the bars by some approaches mean; empty where no bars are drawn."""
    scores = opened.scores
    drawn = [approach for approach in approaches if scores.contestants(approach, stack)]
    said = []
    if any(opened.selected(stack).get(approach) for approach in drawn):
        said.append("★ is the selected term.")
    if any(term not in CANDIDATES for approach in drawn for term in scores.mean_scores(approach, stack)):
        said.append("Pale bars are terms outside the contest, there for comparison.")
    return " ".join(said)


def star(opened: Opened, approaches: Sequence[str], stack: str) -> str:
    """Write what a star at a line means, as the end of a sentence about the three candidates."""
    selects = any(opened.selected(stack).get(approach) for approach in approaches)
    return ", ★ the one that the approach selects" if selects else "; here no approach selects one"


def no_contest(opened: Opened) -> str | None:
    """Write that a run did not train all terms among which one is selected; None if it did."""
    meta = opened.meta
    null = certified(meta).terms
    missing = [term for term in CANDIDATES if term not in meta.trained_terms and term not in null]
    if method_of(meta.mode).every_bias or not missing:
        return None
    if not meta.trained_terms:
        return "This fine-tune moved no bias term of the layers, so there is nothing to score."
    moved = ", ".join(latex(term) for term in meta.trained_terms)
    return f"This fine-tune trained {moved} only, so how far the others moved or turned says nothing about them."


def headline(opened: Opened) -> str:
    """Write the line of facts below the title, in Markdown."""
    meta = opened.meta
    head = meta.heads.get(meta.task, {})
    own = f" (own table, {labels_in_words(head)})" if columns_of(head) is not None else ""
    model = "bundled model" if meta.model.id == BUNDLED else plain(meta.model.id)
    parts = [model, f"{meta.model.layers} layers", f"{plain(as_written(meta.task))}{own}"]
    if meta.n_train:
        parts.append(f"{meta.n_train:,} training examples")
    if meta.seed is not None:
        parts.append(f"seed {meta.seed}")
    if meta.metric and (value := meta.final_metrics.get(meta.metric)) is not None:
        parts.append(f"validation {plain(metric_in_words(meta.metric))} {value:.3f}")
    return " · ".join(parts)
