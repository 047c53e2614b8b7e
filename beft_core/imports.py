"""Names of functions and classes as text, for tables that must not import what they name."""

from __future__ import annotations

import importlib
from typing import Any


def imported(name: str) -> Any:
    """Import what ``module:attribute`` names, such as ``beft_core.config:RunConfig``.

    Raises:
        ImportError, AttributeError: there is no such module, or it has no such attribute: a defect of the table.
    """
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
