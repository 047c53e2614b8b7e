"""Learning rates of methods: the range in which each is searched, what a preset takes of it, and where both are from.

Every range spans two decades, so that a comparison of methods looks as closely at each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

DECADES = 2
"""Width of every range, in powers of ten."""


@dataclass(frozen=True)
class Rates:
    """Peak learning rates of AdamW for one method."""

    low: float
    """Smallest rate of the range in which the method is searched."""
    source: str
    """Source of the range, in words."""
    usual: Mapping[str, float] = field(default_factory=dict)
    """Rate by preset that a fine-tune of any task takes where none is said; without an entry the task's."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of the task's rate that the method takes, by preset; without an entry the whole."""
    reason: str = ""
    """Source of ``usual`` and ``shares``, in words; empty where there are none."""

    @property
    def high(self) -> float:
        """Largest rate of the range."""
        return _rounded(self.low * 10**DECADES)

    def grid(self, points: int) -> tuple[float, ...]:
        """List ``points`` rates of the range in equal ratios, both ends included; a single one is the middle."""
        return spaced(self.low, self.high, points)

    def of_preset(self, preset: str, of_task: float) -> float:
        """Choose the rate that a preset takes, where the task has ``of_task``."""
        return self.usual.get(preset, of_task * self.shares.get(preset, 1.0))


def spaced(low: float, high: float, points: int) -> tuple[float, ...]:
    """List ``points`` numbers from ``low`` to ``high`` in equal ratios, of two significant digits; of one the middle.

    Fewer come back where digits do not tell them apart.
    """
    if points == 1:
        return (_rounded(math.sqrt(low * high)),)
    ratio = (high / low) ** (1 / (points - 1))
    return tuple(dict.fromkeys(_rounded(low * ratio**at) for at in range(points)))


def _rounded(value: float) -> float:
    return float(f"{value:.1e}")


_BIASES = (
    "BEFT's authors take 1e-4 to 1e-3 for BERT and 1e-4 to 1e-2 for OPT; small models want more (the bundled one and "
    "Gemma 3 270M: 1e-2, measured)"
)
_ENTRIES = "the range of single bias terms, of which they are as many values"
_LORA = (
    "its authors take 2e-4 to 5e-4 for RoBERTa, MeZO's scripts 1e-4 for OPT (https://arxiv.org/abs/2305.17333); small "
    "models want more"
)
_MIDDLE = "the middle of its range"


def _everywhere(rate: float) -> dict[str, float]:
    return {"paper": rate, "quick": rate}


RATES: dict[str, Rates] = {
    "terms": Rates(3e-4, _BIASES),
    "all": Rates(
        1e-4,
        "BitFit's authors take 1e-4 to 1e-3 (https://arxiv.org/abs/2106.10199); small models want more",
        shares={"quick": 0.2},
        reason="a fifth of a single term's: at the whole, one SST-2 run in two of the bundled model ended at chance",
    ),
    "head": Rates(3e-4, "the range of single bias terms, which train the head too"),
    "full": Rates(
        3e-6,
        "BERT's authors take 2e-5 to 5e-5 (https://arxiv.org/abs/1810.04805), up to 3e-4 for their small models",
        usual={"paper": 1e-5, "quick": 5e-5},
        reason="1e-5 of BEFT's authors; five times that is right for the bundled model",
    ),
    "random": Rates(3e-4, _ENTRIES),
    "fish": Rates(3e-4, _ENTRIES),
    "fish-biases": Rates(3e-4, _ENTRIES),
    "lora": Rates(
        1e-4,
        _LORA,
        _everywhere(1e-3),
        reason=f"the best of five on SST-2 and STS-B of the bundled model, {_MIDDLE}: {_LORA}",
    ),
    "dora": Rates(
        1e-4,
        "the range of LoRA, whose rates its authors keep",
        _everywhere(1e-3),
        reason=f"that of LoRA, {_MIDDLE}",
    ),
    "vera": Rates(
        1e-3,
        "its authors take 4e-3 and 1e-2 for RoBERTa",
        _everywhere(1e-2),
        reason=f"{_MIDDLE}, which its authors take for RoBERTa",
    ),
    "ia3": Rates(
        3e-4,
        "its authors take 3e-3 (https://arxiv.org/abs/2205.05638)",
        _everywhere(3e-3),
        reason=f"that of its authors, {_MIDDLE}",
    ),
    "prefix": Rates(
        1e-3,
        "MeZO's scripts take 1e-2 for OPT (https://arxiv.org/abs/2305.17333)",
        _everywhere(1e-2),
        reason=f"{_MIDDLE}, and what MeZO's scripts take for OPT",
    ),
    "prompt-tuning": Rates(
        3e-3,
        "its authors take 0.3, with Adafactor (https://arxiv.org/abs/2104.08691)",
        _everywhere(3e-2),
        reason=f"{_MIDDLE}: AdamW wants less than the authors' Adafactor",
    ),
    "ln-tuning": Rates(
        1e-4, "the range of all biases, of which it trains some, and weights", _everywhere(1e-3), reason=_MIDDLE
    ),
    "peft-beft": Rates(3e-4, "the range of single bias terms, which it trains under another name"),
}
"""Learning rates by method, a key of :data:`beft_core.methods.METHODS`; methods that train nothing have none."""
