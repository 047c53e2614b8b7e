"""Command ``beft docs``: what the README leaves out, on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from beft_core.cli import output, tables
from beft_core.cli.parser.command import add
from beft_core.docs.topics import topic, topics
from beft_core.tasks.prompts.listing import markdown

MAX_WIDTH = 100
"""Most columns of a rendered page: longer lines are hard to read."""

FILLED: dict[str, Callable[[], str]] = {"<!-- prompted tasks -->": markdown}
"""Places in pages that the registry fills, so that what stands there is what the lab does."""

TopicName = Annotated[str | None, typer.Argument(metavar="[TOPIC]", help="A page; without it, the list of pages.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "docs", docs)


def docs(name: TopicName = None, json: output.Json = False) -> None:
    """Read about the command line, scores, samples, models, sweeps, sharing, speed or the code."""
    if name is None:
        pages = topics()
        if json:
            output.print_json({page.name: {"title": page.title, "summary": page.summary} for page in pages})
            return
        output.print_table("pages: beft docs TOPIC", ["topic", "about"], [(page.name, page.summary) for page in pages])
        return
    page = topic(name)
    text = page.text
    for place, fill in FILLED.items():
        text = text.replace(place, fill())
    if json:
        output.print_json({"name": page.name, "title": page.title, "markdown": text})
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(file=sys.stdout, width=min(tables.width() or MAX_WIDTH, MAX_WIDTH)).print(Markdown(text))
