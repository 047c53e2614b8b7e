"""Libraries that an installation may lack because only opening a model needs them, and the command that brings them."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

from beft_core.errors import UserError

TRAINING: tuple[str, ...] = ("torch", "transformers", "accelerate", "datasets", "sklearn", "scipy")
"""Modules of the extra ``train``: all that a fine-tune or an evaluation may come to import."""
METHODS: tuple[str, ...] = ("peft",)
"""Modules of the extra ``methods``: what trains adapters."""
SLURM: tuple[str, ...] = ("submitit",)
"""Modules of the extra ``slurm``: what writes and submits jobs for a cluster."""
CONSTRAINTS = Path(__file__).parents[1] / ".constraints.txt"
"""File with the tested versions of the libraries, which only a checkout has."""


def training_missing() -> UserError | None:
    """Say in one line why no model can be trained or evaluated here; None if it can. Nothing is imported for it."""
    missing = [name for name in TRAINING if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return UserError(
        f"got an installation without {', '.join(missing)}, which can open no model",
        "the extra train",
        install_command(),
    )


def require_training() -> None:
    """Raise UserError where the libraries that train or evaluate a model are not installed.

    Raises:
        UserError: as :func:`training_missing` says.
    """
    if (error := training_missing()) is not None:
        raise error


def require_methods(method: str) -> None:
    """Raise UserError where the library that trains adapters is not installed.

    Raises:
        UserError: it is missing; the error names the ``method`` that needs it.
    """
    missing = [name for name in METHODS if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"got --method {method} in an installation without {', '.join(missing)}",
            "the extra methods",
            install_command("methods"),
        )


def require_slurm() -> None:
    """Raise UserError where the library that submits jobs is not installed.

    Raises:
        UserError: it is missing.
    """
    missing = [name for name in SLURM if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"got --executor slurm in an installation without {', '.join(missing)}",
            "the extra slurm",
            install_command("slurm"),
        )


def install_command(extra: str = "train") -> str:
    """Return the command that adds an extra to this installation; in a checkout with the versions that it pins."""
    pinned = f" -c {shlex.quote(str(CONSTRAINTS))}" if CONSTRAINTS.is_file() else ""
    return f"pip install 'beft-lab[{extra}]'{pinned}"
