"""Cases of the question: samples that say what a probe's score named, and what each candidate reached alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from beft_core.errors import UserError
from beft_core.methods import method_of
from beft_core.scores.approaches import PAPER
from beft_core.scores.regimes import Measured
from beft_core.snapshots.meta import SnapshotMeta
from beft_core.terms import CANDIDATES
from dashboard.content.samples import Opened, Source
from dashboard.content.trained_alone import measured_alone


@dataclass(frozen=True)
class Case:
    """Probe of a task, and what the three candidates reached when each was trained alone on as many examples."""

    probe: Opened
    alone: Mapping[str, Measured]
    """Metric by term, all of :data:`CANDIDATES`."""
    named: str
    """Term that the probe's projection ratio selects."""

    @property
    def best(self) -> str:
        """Term with the highest metric: the one that wins. The score has no say in it."""
        return max(self.alone, key=lambda term: self.alone[term].mean)

    @property
    def lead(self) -> float:
        """Metric of the named term less that of the best of the others; negative where another one is better."""
        return self.alone[self.named].mean - max(m.mean for term, m in self.alone.items() if term != self.named)


def cases(samples: Sequence[Source], shelf: Sequence[SnapshotMeta], open_: Callable[[Source], Opened]) -> list[Case]:
    """Collect a case per task and size from the samples, the one that bears out the score most first, the least last.

    ``shelf``: what all snapshots say of themselves, among which the fine-tunes of one term are sought. ``open_``: reads
    and scores a probe; a sample that it cannot read is passed over.
    """
    found: dict[tuple[str | None, int | None], Case] = {}
    for source in samples:
        try:
            meta = source.read().meta
            if (meta.task, meta.n_train) in found or not method_of(meta.mode).every_bias:
                continue
            alone = {m.term: m for m in measured_alone(meta, shelf) if m.term}
            if set(alone) != set(CANDIDATES):
                continue
            probe = open_(source)
        except UserError:
            continue  # the page Which bias matters says what is wrong with it
        named = probe.selected(probe.scores.stacks[0]).get(PAPER)
        if named is not None:
            found[meta.task, meta.n_train] = Case(probe, {term: alone[term] for term in CANDIDATES}, named)
    return sorted(found.values(), key=lambda case: -case.lead)
