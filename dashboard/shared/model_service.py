"""Service that answers questions to a loaded model in a process of its own: this one never imports torch."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

import streamlit as st

from beft_core.execution.model_service import ANSWER_SECONDS, ModelService
from beft_core.models.source import BUNDLED
from dashboard.shared import page


@st.cache_resource(show_spinner=False)
def service() -> ModelService:
    """Make the model service, one per server; that of a read-only server keeps no log."""
    return ModelService(keeps_log=not page.read_only())


def ask(question: str, spinner: str, timeout: float = ANSWER_SECONDS, **fields: Any) -> Any:
    """Ask the model service; answers are remembered. While one is worked out, the page shows `spinner`.

    Raises:
        UserError: as :meth:`beft_core.execution.model_service.ModelService.ask`; or a model that a read-only server
            does not open.
    """
    page.model_of_page(str(fields.get("model", BUNDLED)))
    with waiting(spinner):
        return json.loads(_asked(question, timeout, json.dumps(fields, sort_keys=True)))


def waiting(spinner: str) -> AbstractContextManager[None]:
    """Show `spinner` while the context is open, and that PyTorch starts where the service has no process yet."""
    return st.spinner(
        spinner if service().running else f"{spinner} (the first answer takes some seconds: PyTorch starts)"
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _asked(question: str, timeout: float, fields: str) -> str:
    return json.dumps(service().ask(question, timeout, **json.loads(fields)))
