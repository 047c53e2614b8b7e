"""Command ``beft``: thin commands over the engine. Results on stdout, everything else on stderr.

Nothing here imports torch at module level: a command that only reads snapshots starts in a fraction of a second.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the console script; exits with the status of :func:`beft_core.cli.app.run`."""
    from beft_core.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))
