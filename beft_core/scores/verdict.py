"""Verdict on a selection: was the term that a score selects the best one, trained alone on the same task?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from beft_core.errors import UserError
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.terms import CANDIDATES


@dataclass(frozen=True)
class Verdict:
    """Metric of each candidate trained alone, beside what every approach selected in the probe before."""

    metric: str
    """Name of the metric that counts; more is better."""
    values: Mapping[str, float]
    """Its value after the last epoch, by term among q, k and v."""
    selected: Mapping[str, str | None]
    """Term that each approach selected in the probe; None: none."""
    null: Sequence[str] = ()
    """Terms that cannot act: training them alone trains the head."""
    seed: int = 0
    examples: int | None = None
    """Number of validation examples, where it is known."""

    @property
    def best(self) -> tuple[str, ...]:
        """Terms with the highest value; several where they tie."""
        top = max(self.values.values())
        return tuple(term for term in CANDIDATES if self.values.get(term) == top)

    def is_right(self, approach: str = PAPER) -> bool | None:
        """Whether an approach selected the best term, or one of the best; None where it selected none, or one that was
        not trained.
        """
        term = self.selected.get(approach)
        return None if term is None or term not in self.values else term in self.best

    def sentence(self, name: Callable[[str], str] = str) -> str:
        """Say whether the projection ratio was right here, with the numbers; ``name``: writes a term."""
        order = sorted(self.values, key=lambda term: (-self.values[term], CANDIDATES.index(term)))
        numbers = ", ".join(f"{name(term)} {self.values[term]:.4f}" for term in order)
        right = self.is_right()
        if right is None:
            return f"the score selected nothing here; alone, in {self.metric}: {numbers}"
        term = str(self.selected[PAPER])
        best = next(one for one in order if one != term or len(order) == 1)
        gap = self.values[term] - self.values[best]
        if right and gap == 0:
            return f"the score was right here, but {name(best)} does as well: in {self.metric} {numbers}"
        if right:
            return f"the score was right here: {name(term)} is best by {gap:.4f} in {self.metric}: {numbers}"
        return (
            f"the score was wrong here: it selects {name(term)}, and {name(best)} is better by {-gap:.4f} in "
            f"{self.metric}: {numbers}"
        )

    def others(self, name: Callable[[str], str] = str) -> str:
        """Say which of the other approaches were right; empty where there are none."""
        known = {
            APPROACHES[key].label: self.is_right(key) for key in self.selected if key in APPROACHES and key != PAPER
        }
        words = {True: "right", False: "wrong", None: "no selection"}
        return ", ".join(f"{label} {words[right]}" for label, right in known.items())

    def caveat(self) -> str:
        """Say how little one seed tells, and by how many validation examples the best two differ."""
        said = f"one seed (n = 1, seed {self.seed}): another may order them otherwise"
        if self.examples and self.metric == "accuracy" and len(self.values) > 1:
            first, second = sorted(self.values.values(), reverse=True)[:2]
            said += f"; the best two differ by {round((first - second) * self.examples)} of {self.examples:,} examples"
        if self.null:
            said += f"; {' and '.join(self.null)} cannot act, so that run trained the head alone"
        return said

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        return {**asdict(self), "values": dict(self.values), "null": list(self.null)}

    @classmethod
    def from_dict(cls, fields: Any) -> Verdict:
        """Read what `to_dict` made, from a file that may be damaged. Raises UserError where it is."""
        try:
            values = {str(term): float(value) for term, value in fields["values"].items() if term in CANDIDATES}
            selected = {str(key): None if term is None else str(term) for key, term in fields["selected"].items()}
            null = tuple(term for term in CANDIDATES if term in fields["null"])
            examples = fields["examples"]
            if not values or not all(map(math.isfinite, values.values())) or type(fields["seed"]) is not int:
                raise ValueError
            counted = examples if type(examples) is int else None
            return cls(str(fields["metric"])[:60], values, selected, null, fields["seed"], counted)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                "got a verdict that is damaged", "the metrics of q, k and v, and what was selected"
            ) from error
