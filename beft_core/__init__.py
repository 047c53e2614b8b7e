"""The BEFT lab as a library: select, train, evaluate, predict, score, compare, merge and sweep bias terms.

What is named here is imported when it is first used, so reading, scoring, comparing and merging snapshots never import
torch. The rest of the engine lies in the folders beside this file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beft_core.config import RunConfig
    from beft_core.errors import UserError
    from beft_core.library.asking.predict import predict
    from beft_core.library.asking.rows import predict_rows
    from beft_core.library.dials.dial import dial
    from beft_core.library.merging import merge
    from beft_core.library.reading import compare, load_snapshot, score
    from beft_core.library.snapshot import Snapshot
    from beft_core.library.sweeping import sweep
    from beft_core.library.training import evaluate, select, train
    from beft_core.training.observer import Observer

__version__ = "0.2.0"

__all__ = [
    "Observer",
    "RunConfig",
    "Snapshot",
    "UserError",
    "__version__",
    "compare",
    "dial",
    "evaluate",
    "load_snapshot",
    "merge",
    "predict",
    "predict_rows",
    "score",
    "select",
    "sweep",
    "train",
]

_HOMES = {
    "Observer": "training.observer",
    "RunConfig": "config",
    "Snapshot": "library.snapshot",
    "UserError": "errors",
    "compare": "library.reading",
    "dial": "library.dials.dial",
    "evaluate": "library.training",
    "load_snapshot": "library.reading",
    "merge": "library.merging",
    "predict": "library.asking.predict",
    "predict_rows": "library.asking.rows",
    "score": "library.reading",
    "select": "library.training",
    "sweep": "library.sweeping",
    "train": "library.training",
}
"""Name of the public interface -> module of ``beft_core`` that defines it."""


if not TYPE_CHECKING:  # a type checker knows the names above, and tells a wrong one

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
