"""Runs in an environment without PyTorch: ``python without_torch.py commands|pages``. Prints one JSON document.

``commands`` reads lists of arguments from standard input, runs each and tells its status and what it printed; ``pages``
opens every page and tells what its boxes say.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dashboard


def commands(lines: list[list[str]]) -> list[dict[str, Any]]:
    """Status and text of each command."""
    from beft_core.cli.app import run

    told = []
    for words in lines:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(words)
        told.append({"status": status, "out": out.getvalue(), "err": err.getvalue()})
    return told


def leaves(command: Any, above: str = "") -> Iterator[str]:
    """Names of all commands that do something, such as ``peft import``."""
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from leaves(one, f"{above}{name} ")
        else:
            yield above + name


def pages() -> dict[str, dict[str, list[str]]]:
    """Page -> texts of its exceptions, errors, hints and buttons that cannot be pressed."""
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    from dashboard.shared.page import PLACES

    told = {}
    for name in PLACES:
        at = AppTest.from_file(str(Path(str(dashboard.__file__)).with_name("app.py")), default_timeout=60)
        at._page_hash = calc_hash(name)  # as in tests/integration/dashboard_tools.py
        at.run()
        told[name] = {
            "exception": [f"{one.value} {one.message}" for one in at.exception],
            "error": [one.value for one in at.error],
            "info": [one.value for one in at.info],
            "locked": [one.help for one in at.button if one.disabled],
            "title": [one.value for one in at.title],
        }
    return told


if __name__ == "__main__":
    import typer

    from beft_core.cli.app import build

    assert "torch" not in sys.modules
    if sys.argv[1] == "pages":
        sys.stdout.write(json.dumps({"file": str(dashboard.__file__), "pages": pages()}))
    else:
        names = list(leaves(typer.main.get_command(build())))
        sys.stdout.write(json.dumps({"names": names, "told": commands(json.load(sys.stdin))}))
    assert "torch" not in sys.modules
