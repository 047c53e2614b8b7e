"""Service that answers questions to a loaded model in a process of its own: this one never imports torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from beft_core.execution.model_service import ANSWER_SECONDS, ModelService
from beft_core.models.source import BUNDLED, version_of
from dashboard.shared import page


@st.cache_resource(show_spinner=False)
def service() -> ModelService:
    """Make the model service, one per server; that of a read-only server keeps no log."""
    return ModelService(keeps_log=not page.read_only())


def ask(question: str, spinner: str, timeout: float = ANSWER_SECONDS, **fields: Any) -> Any:
    """Ask the model service; answers are remembered, those of a model in a folder until its files are replaced. While
    one is worked out, the page shows `spinner`.

    Raises:
        UserError: as :meth:`beft_core.execution.model_service.ModelService.ask`; or a model that a read-only server
            does not open.
    """
    model = str(fields.get("model", BUNDLED))
    page.model_of_page(model)
    asked = json.dumps([fields, version_of(model)], sort_keys=True)
    with suppress(KeyError):
        return json.loads(_remembered(question, asked))
    with waiting(spinner), turn() as own:
        with suppress(KeyError):  # another visitor has asked the same meanwhile
            return json.loads(_remembered(question, asked))
        answer = json.dumps(own.ask(question, timeout, **fields))
        return json.loads(_remembered(question, asked, answer))


def waiting(spinner: str) -> AbstractContextManager[None]:
    """Show `spinner` while the context is open, and that PyTorch starts where the service has no process yet."""
    return st.spinner(
        spinner if service().running else f"{spinner} (the first answer takes some seconds: PyTorch starts)"
    )


@contextmanager
def turn() -> Iterator[ModelService]:
    """Give the service to this visitor alone while the context is open; the page says what it waits for until then.

    Raises:
        UserError: others took too long.
    """
    lines: list[DeltaGenerator] = []  # one, once there is something to say: whoever writes a text takes many turns

    def tell(doing: str) -> None:
        if not lines:
            lines.append(st.empty())
        lines[0].caption(f":material/hourglass_top: Waiting for a turn: {doing}.")

    own = service()
    with own.turn(tell):
        for line in lines:
            line.empty()
        yield own


@st.cache_data(max_entries=64, show_spinner=False)
def _remembered(question: str, fields: str, _answer: str | None = None) -> str:
    """Remember an answer, or, without one, return the one that is remembered. Raises KeyError if there is none."""
    if _answer is None:
        raise KeyError(question)
    return _answer
