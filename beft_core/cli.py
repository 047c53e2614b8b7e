"""The command ``beft``."""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    raise SystemExit("beft: no command is built yet")
