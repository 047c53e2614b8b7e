"""Explanation of why a run failed, in words, and what to try."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from beft_core.errors import UserError, out_of_memory
from beft_core.files.disk import PASSING, NoRoom

_LEAST = {"batch_size": 1, "max_length": 16}
"""Least values of the settings that memory grows with: less would spoil the fine-tune."""


class Terminated(BaseException):
    """Exception for a signal that ends the worker, raised in its main thread."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def smaller(config: Mapping[str, Any]) -> str:
    """Propose what to try where memory ran out: half of each setting that the run had; it names some where it
    had none.
    """
    halves = [
        f"--{name.replace('_', '-')} {value // 2} (it was {value})"
        for name, least in _LEAST.items()
        if isinstance(value := config.get(name), int) and value // 2 >= least
    ]
    ways = [*halves, "a smaller model"] if config else ["a smaller --batch-size or --max-length", "a smaller model"]
    return f"Take {', or '.join(ways)}; or close other programs."


def explain(error: BaseException, config: Mapping[str, Any] | None = None) -> tuple[str, str | None]:
    """Explain anything that may end a worker: (sentence, proposal); ``config``: the fields of its run."""
    if isinstance(error, NoRoom):
        return f"{error.got}; expected {error.expected}.", f"{error.make_room()}, then resume the run."
    if isinstance(error, UserError):
        parts = [error.got, f"expected {error.expected}" if error.expected else ""]
        return "; ".join(part for part in parts if part), f"Try {error.try_}." if error.try_ else None
    if isinstance(error, Terminated):
        name = signal.Signals(error.number).name
        return f"Another program ended the worker ({name}).", "Start it again, or resume it from its checkpoint."
    if out_of_memory(error):
        return "Memory ran out.", smaller(config or {})
    if isinstance(error, OSError) and error.errno in PASSING:
        return "The disk is full.", "Make room in the home folder (BEFT_HOME) and resume the run."
    if isinstance(error, FloatingPointError):
        lr = (config or {}).get("lr")
        return f"The fine-tune diverged: {error}.", f"Take a smaller --lr{f', such as {lr / 10:g}' if lr else ''}."
    name = type(error).__name__
    return f"The worker crashed: {name}: {error}"[:500], "The log has the details; this may be a defect of the lab."
