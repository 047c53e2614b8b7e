"""Answer of the page in a few sentences: which term each approach names, and what training each term alone gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from beft_core.scores.approaches import APPROACHES, of_probes, questions
from beft_core.scores.regimes import Measured
from beft_core.snapshots.meta import SnapshotMeta
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import CANDIDATES
from dashboard.content.samples import Opened
from dashboard.content.trained_alone import measured_alone
from dashboard.figures.parts.style import approach_forms, latex, tinted
from dashboard.shared.text import plain

LEVEL = 0.02
"""Largest distance to the best metric that counts as level with it: seeds differ by as much."""


def verdict(opened: Opened, stack: str, shelf: Sequence[SnapshotMeta]) -> str:
    """Write the answer as Markdown: by the paper's own variant of each approach, and by the metric, which decides.

    ``shelf``: what all snapshots say of themselves, among which the fine-tunes of one term are sought.
    """
    selected = opened.selected(stack)
    named: dict[str, list[str]] = {}
    silent: list[str] = []
    for first, *_ in questions([*of_probes(), *opened.scores.approaches]).values():
        term = selected.get(first.key)
        (silent if term is None else named.setdefault(term, [])).append(first.key)
    alone = {m.term: m for m in measured_alone(opened.meta, shelf) if m.term is not None}
    return f"{_names(named, silent)} {_alone(named, alone, str(opened.meta.metric))}"


def label(approach: str) -> str:
    """Name an approach with its sign, without the word that tells its variants apart."""
    return f"{approach_forms()[approach].sign} **{APPROACHES[approach].label.partition(' (')[0]}**"


def _names(named: Mapping[str, Sequence[str]], silent: Sequence[str]) -> str:
    parts = [
        f"{_listed(map(label, approaches))} name{'s' * (len(approaches) == 1)} the {tinted(term)}"
        for term, approaches in named.items()
    ]
    if silent:
        verb = "names" if len(silent) == 1 else "name"
        parts.append(f"{_listed(map(label, silent))} {verb} none of the three")
    return f"{'; '.join(parts)}."


def _alone(named: Mapping[str, Sequence[str]], alone: Mapping[str, Measured], metric: str) -> str:
    """Write what training one term alone gave, highest first, and who had named the best."""
    ranked = sorted(alone.values(), key=lambda m: -m.mean)
    if len(ranked) < len(CANDIDATES):
        return "Whether they are right, only training each of the three **alone** can tell: no such runs are here."
    values = ", ".join(f"{tinted(m.term or '')} **{100 * m.mean:.1f}**" for m in ranked)
    seeds = min(len(m.values) for m in ranked)
    best = [str(m.term) for m in ranked if ranked[0].mean - m.mean <= LEVEL]
    right = [approach for term in best for approach in named.get(term, ())]
    right.sort(key=list(APPROACHES).index)
    who = _listed(map(label, right)) if right else "no approach"
    if len(right) == sum(map(len, named.values())) > 1:
        who = "each of these scores"
    if len(best) == 1:
        so = f"{who} named the best, {100 * (ranked[0].mean - ranked[1].mean):.1f} ahead"
    elif len(best) < len(CANDIDATES):
        so = f"{' and '.join(map(latex, best))} are level within {100 * LEVEL:.0f} points, and {who} named one of them"
    else:
        so = f"all are level within {100 * LEVEL:.0f} points, so nobody is proved right"
    what = f"{plain(metric_in_words(metric))}, %, {seeds} seed{'s' * (seeds > 1)} each"
    return f"**Training alone** gave {values} ({what}): {so}."


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
