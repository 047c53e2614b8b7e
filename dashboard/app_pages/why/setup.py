"""Experiment that a visitor sets up: a model, a sentence, a layer, and how much of which random vector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import streamlit as st

from beft_core.errors import UserError
from beft_core.models.source import BUNDLED, locate
from beft_core.terms import TERMS
from dashboard.shared import page
from dashboard.shared.model_service import ask

SENTENCE = "The film was surprisingly good, but far too long."
SIZES = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
LAYER, SEEN = "why_layer", "why_seen"
"""Names in the URL: the layer, and which answers are shown."""
PARTS = {"k": TERMS["k"].symbol, "q": TERMS["q"].symbol, "v": TERMS["v"].symbol, "trap": "trap"}
"""Part with an answer -> its name in the link and on the switch: a bound widget writes what it shows."""
DOWNLOAD_SECONDS = 900.0
"""Seconds to wait for a model that has to come from the Hub first."""


@dataclass(frozen=True)
class Setup:
    """Question for the model service: fields of :func:`beft_core.models.attention_experiments.prove`."""

    model: str
    sentence: str
    pair: str
    layer: int
    size: float
    seed: int

    def asked(self) -> dict[str, Any]:
        """Fields of the question as keywords."""
        return asdict(self)


def setup() -> Setup | None:
    """Draw the controls; None, after saying why, where there is no such model."""
    with page.control("choose", "why-model", horizontal=True):  # wraps where the window is narrow
        sentence = st.text_input(
            "Your sentence", SENTENCE, max_chars=400, key="why_text", bind="query-params", width=420
        )
        pair = st.text_input(
            "Second sentence",
            "",
            max_chars=400,
            key="why_pair",
            bind="query-params",
            placeholder="optional",
            width=202,
            help="For models that read two sentences at once, as for similarity or entailment.",
        )
        model = st.text_input(
            "Model",
            BUNDLED,
            max_chars=300,
            key="why_model",
            bind="query-params",
            width=202,
            help="bundled (MiniLM, needs no network), an id of the Hugging Face Hub such as "
            "google-bert/bert-base-cased, or a folder on this machine. Only safetensors are read, and no code is run.",
        ).strip()
    try:
        layers = _layers(model)
    except UserError as error:
        page.report(error, "This model cannot be used")
        return None
    with page.control("settings", "why-d", horizontal=True, gap="medium"):
        layer = _layer(layers)
        size = st.select_slider(
            "Length of d",
            SIZES,
            value=10.0,
            key="why_size",
            bind="query-params",
            width=200,
            format_func=lambda size: f"{size:g}",
            help="The norm ‖d‖ of the random vector that is added. Each answer says how long the layer's own bias is.",
        )
        seed = st.number_input(
            "Seed",
            0,
            2**31 - 1,
            0,
            key="why_seed",
            bind="query-params",
            width=120,
            help="Draws the direction of d, and the head whose logits are shown.",
        )
        st.pills(
            "Answers shown",
            list(PARTS.values()),
            selection_mode="multi",
            key=SEEN,
            bind="query-params",
            help="Take one away to predict it again.",
        )
    return Setup(model, sentence, pair, layer, float(size), int(seed))


def reveal(part: str) -> None:
    """Show an answer from now on, also in the link. For callbacks."""
    st.session_state[SEEN] = [name for key, name in PARTS.items() if key == part or seen(key)]


def seen(part: str) -> bool:
    """Say whether an answer is shown."""
    return PARTS[part] in (st.session_state.get(SEEN) or [])


def _layer(layers: int) -> int:
    if layers == 1:
        st.caption("This model has one layer.", width=200)
        return 0
    if int(st.session_state.get(LAYER) or 0) >= layers:  # the model before had more
        st.session_state[LAYER] = layers - 1
    return st.slider(
        "Layer", 0, layers - 1, min(2, layers - 1), key=LAYER, bind="query-params", help="0 is the first.", width=200
    )


def _layers(model: str) -> int:
    """Count the layers of a model; files of this machine say it without the model service.

    Raises:
        UserError: there is no such model.
    """
    try:
        return _local_layers(page.model_of_page(model))
    except UserError:
        page.model_of_page(model)
        return int(ask("model", "The model is being fetched", timeout=DOWNLOAD_SECONDS, model=model)["layers"])


@st.cache_data(max_entries=64, ttl=60, show_spinner=False)
def _local_layers(model: str) -> int:
    return locate(model, local_only=True).layout.layers
