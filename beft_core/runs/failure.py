"""Why a run failed, in words, and what to try."""

from __future__ import annotations

import errno
import signal

from beft_core.errors import UserError

SMALLER = "Take a smaller --batch-size or --max-length, or close other programs."


class Terminated(BaseException):
    """A signal that ends the worker, raised in its main thread."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def explain(error: BaseException) -> tuple[str, str | None]:
    """(sentence, proposal) for anything that may end a worker."""
    if isinstance(error, UserError):
        parts = [error.got, f"expected {error.expected}" if error.expected else ""]
        return "; ".join(part for part in parts if part), f"Try {error.try_}." if error.try_ else None
    if isinstance(error, Terminated):
        name = signal.Signals(error.number).name
        return f"Another program ended the worker ({name}).", "Start it again, or resume it from its checkpoint."
    if _out_of_memory(error):
        return "Memory ran out.", SMALLER
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full.", "Make room in the home folder (BEFT_HOME) and resume the run."
    if isinstance(error, FloatingPointError):
        return f"The fine-tune diverged: {error}.", "Take a smaller --lr."
    name = type(error).__name__
    return f"The worker crashed: {name}: {error}"[:500], "The log has the details; this may be a defect of the lab."


def _out_of_memory(error: BaseException) -> bool:
    """MemoryError, or torch's own kinds, known by name so that nothing imports torch to find out."""
    if isinstance(error, MemoryError) or any(c.__name__ == "OutOfMemoryError" for c in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
