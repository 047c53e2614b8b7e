"""Numbers that environment variables set: one table, one reader, one line for a value that is none."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from beft_core.errors import UserError


@dataclass(frozen=True)
class Setting:
    """Bounds of the number that an environment variable may hold."""

    least: float
    most: float
    unit: str
    beats: float = 0.0
    """Least value in signs of life, of :func:`beat_seconds` each, where that is more than ``least``: whoever is taken
    for gone earlier may be alive.
    """


BEAT_SECONDS = 10.0
"""Seconds between two signs of life, unless ``BEFT_BEAT_SECONDS`` says otherwise."""
CLAIM_BEATS = 3.0
"""Signs of life that a worker must have missed, at least, before it is taken for gone."""
SETTINGS: dict[str, Setting] = {
    "BEFT_CHECKPOINT_SECONDS": Setting(0, 86_400, "seconds"),
    "BEFT_WAIT_FOR_ROOM": Setting(0, 30 * 86_400, "seconds"),
    "BEFT_BEAT_SECONDS": Setting(0.05, 60, "seconds"),
    "BEFT_CLAIM_SECONDS": Setting(1, 86_400, "seconds", beats=CLAIM_BEATS),
    "BEFT_DESK_GB": Setting(0.1, 1_000_000, "GB"),
}
"""Bounds of every environment variable of the lab that is a number, by its name."""


def number(name: str, default: float) -> float:
    """Number that a variable of :data:`SETTINGS` sets; ``default`` where it is unset or empty.

    Raises:
        UserError: not a number, or one outside of what the setting may be.
    """
    setting, text = SETTINGS[name], os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    least, because = setting.least, ""
    if setting.beats and setting.beats * beat_seconds() > least:
        least, because = setting.beats * beat_seconds(), f" ({setting.beats:g} times BEFT_BEAT_SECONDS)"
    if not least <= value <= setting.most:  # also refuses NaN
        raise UserError(
            f"got {name}={text[:40]!r} in the environment",
            f"{setting.unit}, a number from {least:,g}{because} to {setting.most:,.0f}",
            f"unset {name}",
        )
    return value


def beat_seconds() -> float:
    """Seconds between two signs of life. Raises UserError as :func:`number`."""
    return number("BEFT_BEAT_SECONDS", BEAT_SECONDS)


def check() -> None:
    """Check every setting before work begins. Raises UserError for a wrong one, which would end that work.

    Raises:
        UserError: as :func:`number`.
    """
    for name in SETTINGS:
        number(name, 0)
