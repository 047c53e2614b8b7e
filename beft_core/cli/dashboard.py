"""Command ``beft dashboard``: the pages, served to this machine alone, from whatever folder the command is given in."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from beft_core.cli.parser.command import OUTPUT, add
from beft_core.errors import UserError

APP = Path(__file__).resolve().parents[2] / "dashboard" / "app.py"
"""Path of the dashboard's script, beside the engine in a checkout as in an installed wheel. Streamlit reads the
configuration that lies beside it, and that wins over those of the present folder and of the user: the address is this
machine's, and nothing is reported.
"""

Port = Annotated[
    int | None,
    typer.Option("--port", metavar="N", help="Port to serve at. Default: 8501, or the next.", rich_help_panel=OUTPUT),
]
NoBrowser = Annotated[
    bool, typer.Option("--no-browser", help="Print the address, open no browser.", rich_help_panel=OUTPUT)
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "dashboard", dashboard)


def dashboard(port: Port = None, no_browser: NoBrowser = False) -> NoReturn:
    """Serve the dashboard at an address of this machine, until Ctrl-C."""
    if port is not None and not 1 <= port <= 65_535:
        raise UserError(f"got --port {port}", "a number from 1 to 65535", "--port 8501")
    if not APP.is_file():
        raise UserError(f"no dashboard at {APP}", "an installation that has one")
    if importlib.util.find_spec("streamlit") is None:
        raise UserError("the dashboard needs streamlit, which is not installed", try_="pip install streamlit")
    words = ["-m", "streamlit", "run", str(APP)]
    if port is not None:
        words += ["--server.port", str(port)]
    if no_browser:
        words += ["--server.headless", "true"]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *words])
