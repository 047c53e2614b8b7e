"""Judgement whether a fine-tune learned anything: its metric against that of a constant answer."""

from __future__ import annotations

from dataclasses import dataclass

from beft_core.methods import METHODS
from beft_core.snapshots.meta import SnapshotMeta
from beft_core.tasks.constant_answer import uncertainty


@dataclass(frozen=True)
class Learning:
    """Metric that counts after the last epoch, beside that of the best constant answer on the same examples."""

    metric: str
    value: float
    constant: float
    margin: float
    """Two standard errors of the value on so many examples."""
    examples: int

    @property
    def beaten(self) -> bool:
        """Whether the fine-tune is better than a constant answer by more than chance between examples explains."""
        return self.value > self.constant + self.margin

    def numbers(self) -> str:
        """Write both metrics in percent: ``accuracy 51.2 ± 3.4 on 872 examples, constant 50.9``."""
        value, margin, constant = (f"{100 * one:.1f}" for one in (self.value, self.margin, self.constant))
        return f"{self.metric} {value} ± {margin} on {self.examples:,} examples, constant {constant}"

    def sentence(self, what: str, so: str) -> str:
        """Say that ``what`` did not beat a constant answer, and what follows; empty where it did."""
        return "" if self.beaten else f"{what} did not beat a constant answer ({self.numbers()}): {so}"


def learning(meta: SnapshotMeta) -> Learning | None:
    """Judge the fine-tune of a snapshot; None where it was not scored, or the file does not record the constant answer.

    Files from before it was recorded do not, and neither do merges and imports.
    """
    value = meta.final_metrics.get(meta.metric or "")
    known = meta.constant_answer
    if meta.metric is None or value is None or known is None:
        return None
    margin = uncertainty(meta.metric, value, known["examples"])
    return Learning(meta.metric, float(value), float(known["value"]), margin, known["examples"])


SAYS_LITTLE = "its scores say little"
LEARNED_NOTHING = "it learned nothing that these examples can show"


def of_probe(meta: SnapshotMeta) -> str:
    """Say that a probe did not beat a constant answer; empty where it did, or where that is not known."""
    found = learning(meta)
    return "" if found is None else found.sentence("the probe", SAYS_LITTLE)


def of_fine_tune(meta: SnapshotMeta) -> str:
    """Say that a fine-tune did not beat a constant answer; empty where it did, or where that is not known.

    Of a run that trains nothing it is said of the model.
    """
    found = learning(meta)
    if found is None:
        return ""
    if meta.mode in METHODS and not METHODS[meta.mode].trains:
        return found.sentence("the model as it is", "nothing was trained")
    return found.sentence("the fine-tune", LEARNED_NOTHING)
