"""What a pass of a sweep says before it ends: one line of validation metrics every so often."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

SECONDS = 15.0
"""Between two lines."""
_NOT_METRICS = {"epoch", "step", "train_loss"}


class Interim:
    """Collects the evaluations of a bank's fine-tunes after each epoch."""

    def __init__(self, kinds: Sequence[str], tell: Callable[[str], None]) -> None:
        """``kinds``: what each fine-tune of the bank trains."""
        self._kinds, self._tell = kinds, tell
        self._latest: dict[int, tuple[float, str]] = {}
        self._last_run = -1
        self._told = time.monotonic()

    def epoch(self, metrics: Mapping[str, float], run: int) -> None:
        """A fine-tune ended an epoch. They do so one after another: the line comes when all have had their turn."""
        if run <= self._last_run and self._latest and time.monotonic() - self._told > SECONDS:
            self._tell(self._line())
            self._told = time.monotonic()
        self._last_run = run
        name = next((name for name in metrics if name not in _NOT_METRICS), None)  # the one that counts comes first
        if name is not None:
            self._latest[run] = metrics[name], name

    def _line(self) -> str:
        parts = []
        for kind in dict.fromkeys(self._kinds):
            values = [value for run, (value, _) in self._latest.items() if self._kinds[run] == kind]
            if values:
                parts.append(f"{kind} {100 * sum(values) / len(values):.1f}")
        (name, *_) = (name for _, name in self._latest.values())
        return f"so far, {name} in %, mean of the latest evaluations: {', '.join(parts)}"
