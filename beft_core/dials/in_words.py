"""Answers of a dial in plain sentences, the same for command, notebook and page."""

from __future__ import annotations

from dataclasses import dataclass

from beft_core.counted import counted, unsigned_zero
from beft_core.dials.causal import CausalTest, Rule
from beft_core.dials.parts import ALL, Part
from beft_core.dials.result import Dial, Off
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import TERMS

KINDS: dict[str, str] = {"layers": "layers", "terms": "terms", "cells": "terms in each layer"}
"""Kind of parts -> words."""
ONE: dict[str, str] = {"layers": "layer", "terms": "term", "cells": "term and layer"}


@dataclass(frozen=True)
class Best:
    """Factor at which the whole is best, and whether that differs from the fine-tune as it was trained."""

    factor: float
    value: float
    low: float | None
    """Lower end of the interval of the difference to factor 1."""
    high: float | None

    @property
    def distinguishable(self) -> bool:
        """Whether the examples tell the two apart. They also chose the factor, which flatters it."""
        return self.low is not None and self.low > 0


def best(dial: Dial) -> Best:
    """Find the best factor of the whole; of equal ones that nearest to 1."""
    curve = dial.curves[0]
    known = [
        (value, -abs(factor - 1), at)
        for at, (factor, value) in enumerate(zip(dial.lambdas, curve.values, strict=True))
        if value is not None
    ]
    value, _, at = max(known)
    return Best(dial.lambdas[at], value, curve.low[at], curve.high[at])


def verdict(dial: Dial) -> str:
    """Write the answer: as trained and at best, what costs most when switched off, and whether scores knew it."""
    return " ".join(sentences(dial))


def sentences(dial: Dial) -> list[str]:
    """Write the sentences of the verdict, the metric as trained first."""
    return [height(dial), *_costs(dial), *(causal(dial, test) for test in dial.tests)]


def height(dial: Dial) -> str:
    """Write the metric as trained, and whether another factor is better."""
    top = best(dial)
    text = f"At λ = 1 {metric_in_words(dial.metric)} is {percent(dial.trained)}"
    if dial.trained_low is not None and dial.trained_high is not None:
        text += f" ({percent(dial.trained_low)} to {percent(dial.trained_high)})"
    if not dial.terms:
        return f"{text}. No bias term moved, so there is nothing to turn."
    if top.factor == 1:
        return f"{text}, and no other λ of the grid is better."
    told = f"{text}; the best λ is {top.factor:g} with {percent(top.value)}"
    if not top.distinguishable:
        return f"{told}, which these {dial.examples:,} examples do not tell apart from λ = 1."
    return f"{told} ({change(top.low)} to {change(top.high)} against λ = 1, on the examples that chose it)."


def _costs(dial: Dial) -> list[str]:
    sentences = []
    for kind in ("terms", "layers"):
        known = [one for one in dial.off_parts(kind) if one.loss is not None]
        if len(known) < 2:
            continue
        worst = max(known, key=lambda one: one.loss or 0.0)
        if worst.low is None or worst.low <= 0:
            sentences.append(f"No single {ONE[kind]} costs more when switched off than these examples can tell from 0.")
            continue
        term = worst.part.term
        name = f"Layer {worst.part.layer}" if term is None else f"The {TERMS[term].label} bias, {TERMS[term].symbol},"
        sentences.append(f"{name} costs most when switched off: {cost(worst)}.")
    return sentences


def causal(dial: Dial, test: CausalTest) -> str:
    """Write how the paper's score orders the parts, beside the first trivial rule."""
    paper = test.rule(PAPER)
    if paper is not None and all(score == 1 for score in paper.scores):
        return _beside_added(test)
    if paper is None or paper.tau is None:
        return f"What the {KINDS[test.over]} cost when switched off is in no order, or no score is there to compare."
    text = f"The projection ratio orders the {len(test.parts)} {KINDS[test.over]} by that cost with {tau(paper)}"
    base = test.baseline
    name = base.label[:1].lower() + base.label[1:]
    return f"{text}; {name}, a rule that knows no score, with {tau(base)}{_against(paper)}."


def _beside_added(test: CausalTest) -> str:
    """Write how the first score that can rank added biases orders the parts: the projection ratio is 1 everywhere."""
    what = KINDS[test.over]
    text = (
        f"The projection ratio is 1 in all {len(test.parts)} {what}, for these biases began at zero: it ranks nothing"
    )
    other = next((rule for rule in test.rules if not rule.baseline and rule.tau is not None), None)
    if other is None:
        return f"{text}, and no other score is there to compare."
    base = test.baseline
    name = base.label[:1].lower() + base.label[1:]
    return (
        f"{text}. {other.label} orders them by that cost with {tau(other)}; {name} with {tau(base)}{_against(other)}."
    )


def _against(score: Rule) -> str:
    if score.above is None:
        return ""
    _, low, high = score.above
    if low > 0:
        return ", so the score does better"
    return ", so the score does worse" if high < 0 else ""


def tau(rule: Rule) -> str:
    """Write a rule's tau with its p-value, or that it has none."""
    if rule.tau is None or rule.p is None:
        return "no tau (no order)"
    return f"tau {unsigned_zero(rule.tau, 2):.2f} ({p_value(rule.p)})".replace("-", "−")


def p_value(p: float) -> str:
    """Write a p-value."""
    return "p < 0.001" if p < 0.001 else f"p {p:.2f}" if p >= 0.095 else f"p {p:.3f}"


def cost(one: Off) -> str:
    """Write what switching a part off does to the metric, in points, with its interval."""
    if one.loss is None:
        return "not finite"
    text = change(-one.loss)
    return text if one.low is None or one.high is None else f"{text} ({change(-one.high)} to {change(-one.low)})"


def percent(value: float | None) -> str:
    """Write a metric in percent: 71.0."""
    return "not finite" if value is None else f"{100 * value:.1f}"


def change(value: float | None) -> str:
    """Write a difference of a metric in points: −23.1."""
    if value is None:
        return "not finite"
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def span(low: float | None, high: float | None) -> str:
    """Write the interval of a difference in points."""
    return "–" if low is None or high is None else f"{change(low)} to {change(high)}"


def span_of(low: float | None, high: float | None) -> str:
    """Write the interval of a metric in percent."""
    return "–" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def tau_span(low: float | None, high: float | None) -> str:
    """Write the interval of a tau."""
    if low is None or high is None:
        return "–"
    return " to ".join(f"{unsigned_zero(end, 2):.2f}" for end in (low, high)).replace("-", "−")


def short_label(rule: Rule) -> str:
    """Write the name of a rule where there is little room."""
    approach = APPROACHES.get(rule.key)
    return rule.label if approach is None else approach.heading


def part_words(part: Part) -> str:
    """Write a part for a list to choose from: words first, symbols second."""
    if part == ALL:
        return "All layers"
    words = [] if part.layer is None else [f"layer {part.layer}"]
    words = [*([] if part.term is None else [f"{TERMS[part.term].label} bias, {TERMS[part.term].symbol}"]), *words]
    text = ", ".join(words)
    return text[:1].upper() + text[1:]


def rows(dial: Dial) -> list[list[str]]:
    """Write the metric of the whole at each λ, with the interval of its difference to λ = 1.

    Of a fine-tune that moved no bias there are none: all would be equal.
    """
    if not dial.terms:
        return []
    whole = dial.curves[0]
    return [
        [f"{factor:g}", percent(value), span(low, high)]
        for factor, value, low, high in zip(dial.lambdas, whole.values, whole.low, whole.high, strict=True)
    ]


def settings_line(dial: Dial) -> str:
    """Write how a dial was measured, in one line."""
    of = f" of {dial.available:,}" if dial.examples < dial.available else ""
    return (
        f"{counted(dial.variants, 'set')} of biases on {dial.examples:,}{of} validation examples of {dial.task} "
        f"({dial.data}), all else as trained; intervals: 95 %, {dial.resamples:,} paired resamples of the examples."
    )
