"""Words of a dial, in Markdown: the number at a factor, and how well each rule orders the parts."""

from __future__ import annotations

import numpy as np

from beft_core.dials import in_words
from beft_core.dials.causal import CausalTest, Rule
from beft_core.dials.parts import Part
from beft_core.dials.result import Dial
from beft_core.tasks.metrics import metric_in_words
from dashboard.shared.text import plain

SENTENCE = (
    "Every bias is b + λ (b′ − b): λ = 0 is the pre-trained model under the trained head, λ = 1 the fine-tune. Turn "
    "it and switch layers off: what a score calls important should cost most."
)
"""Sentence below the title of the page."""
FIRST = ("stsb-low-seed0-v-only", "sst2-low-seed0-v-only")
"""Samples to begin with, by their files: the first one that has a dial beside it."""
STEP = 0.05
"""Step of the slider of λ."""
ABOUT_TAU = (
    "tau (Kendall): 1 where a rule orders the parts as their costs do, −1 where the other way round. Its interval "
    "is over resampled examples; p is the share of all orders that are as far from 0. Few parts: wide by nature."
)
ABOUT_PARTS = (
    "A part (everything that moved, a layer, a term) is set to *pre* + λ (*post* − *pre*); all else, the head "
    "and the pooler's bias included, stays as it was trained. Cost: the metric as trained less that with the "
    "part at λ = 0. All points are scored on the same examples, and each interval (95 %) resamples these for "
    "both sides of a difference alike. Layers below the first change are computed once for all."
)


def number_at(dial: Dial, part: Part, factor: float) -> tuple[str, str, str]:
    """Write the metric of a part at a factor: its label, the number, and whether it was measured."""
    curve = dial.curve(part)
    assert curve is not None
    value, measured = dial.at(curve, factor)
    if measured:
        at = int(np.argmin(np.abs(np.array(dial.lambdas) - factor)))
        below = f"measured; against λ = 1: {in_words.span(curve.low[at], curve.high[at])}"
        if factor == 1:
            below = f"measured: {in_words.span_of(dial.trained_low, dial.trained_high)}"
    else:
        after = int(np.searchsorted(dial.lambdas, factor))
        near = f"{dial.lambdas[after - 1]:g} and {dial.lambdas[after]:g}"
        below = f"not measured: on the line between λ = {near}"
    return f"{plain(metric_in_words(dial.metric))} at λ = {factor:g}", in_words.percent(value), below


def rules_by_label(dial: Dial) -> dict[str, str]:
    """List the rules that a dial was tested with: label -> key."""
    return {rule.label: rule.key for test in dial.tests for rule in test.rules}


def first_that_orders(dial: Dial) -> str:
    """Name the rule to begin with: the first one whose scores differ; the projection ratio of added biases does not."""
    rules = [rule for test in dial.tests for rule in test.rules]
    return next((rule.label for rule in [*(one for one in rules if len(set(one.scores)) > 1), *rules]), "")


def tau(test: CausalTest | None, rule: Rule | None) -> str:
    """Write how a rule orders the parts, to follow their name; empty where it has no tau."""
    if test is None or rule is None or rule.tau is None:
        return ""
    return f": {plain(in_words.tau(rule))}, {plain(in_words.tau_span(rule.low, rule.high))}"


def rules(dial: Dial) -> str:
    """Write the Markdown table of all rules: tau over each kind of parts."""
    tests = dial.tests
    if not tests:
        return "Too few parts moved to speak of their order."
    labels = {rule.key: (rule.label, rule.baseline) for test in tests for rule in test.rules}
    head = ["rule", *(f"{plain(in_words.KINDS[test.over])} ({len(test.parts)})" for test in tests)]
    lines = [" | ".join(head), " | ".join([":--", *["--:"] * len(tests)])]
    for key, (label, baseline) in labels.items():
        cells = [f"*{plain(label)}* (knows no score)" if baseline else f"**{plain(label)}**"]
        for test in tests:
            rule = test.rule(key)
            cells.append("–" if rule is None else plain(in_words.tau(rule) + _interval(rule)))
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def _interval(rule: Rule) -> str:
    return "" if rule.low is None else f", {in_words.tau_span(rule.low, rule.high)}"
