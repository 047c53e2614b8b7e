"""Experiment that a visitor sets up: a sentence, how long a push, and behind a button the model, layer and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import streamlit as st

from beft_core.errors import UserError
from beft_core.models.source import BUNDLED, locate
from dashboard.shared import page, tour
from dashboard.shared.model_service import ask

SENTENCE = "The film was surprisingly good, but far too long."
MOST, MEAN = "the head that moves most", "mean over heads"
SIZES = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
LAYER, HEAD, SEEN = "why_layer", "why_head", "why_seen"
"""Names in the URL: the layer, the head whose attention is shown, and whether the answer of the trap is."""
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
    head: int | Literal["most", "mean"] = "most"
    """Head whose attention is shown, that which the push of b_q moves most, or the mean. No part of the question."""

    def asked(self) -> dict[str, Any]:
        """Fields of the question as keywords."""
        return {name: value for name, value in asdict(self).items() if name != "head"}

    def heads(self, result: Mapping[str, Any]) -> slice:
        """Heads of an answer whose attention is shown, the same in every column."""
        if self.head == "mean":
            return slice(None)
        shares = result["terms"]["q"].get("moved_by_head", [0.0])
        at = self.head if isinstance(self.head, int) else shares.index(max(shares))
        return slice(at, at + 1)


def setup() -> Setup | None:
    """Draw the controls; None, after saying why, where there is no such model."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")  # wraps where the window is narrow
    with row, page.control("choose", "why-sentence", width=300):
        sentence = st.text_input(
            "Your sentence", SENTENCE, max_chars=400, key="why_text", bind="query-params", on_change=_pushed
        )
    with row, page.control("settings", "why-d", width=230):
        size = st.select_slider(
            "Length of the push *d*",
            SIZES,
            value=10.0,
            key="why_size",
            bind="query-params",
            format_func=lambda size: f"{size:g}",
            help="The norm ‖d‖ of the random vector that is added. Each column says how long the layer's own bias is.",
            on_change=_pushed,
        )
    with row, page.control("choose", "why-model", width="content"):
        more = st.popover("Model, layer, heads", icon=":material/tune:")
    with more:
        model = st.text_input(
            "Model",
            BUNDLED,
            max_chars=300,
            key="why_model",
            bind="query-params",
            help="bundled (MiniLM, needs no network), an id of the Hugging Face Hub such as "
            "google-bert/bert-base-cased, or a folder on this machine. Only safetensors are read, and no code is run.",
        ).strip()
        pair = st.text_input(
            "Second sentence",
            "",
            max_chars=400,
            key="why_pair",
            bind="query-params",
            placeholder="optional",
            help="For models that read two sentences at once, as for similarity or entailment.",
        )
    try:
        layers, heads = _shape(model)
    except UserError as error:
        page.report(error, "This model cannot be used")
        return None
    with more:
        layer = _layer(layers)
        seed = st.number_input(
            "Seed",
            0,
            2**31 - 1,
            0,
            key="why_seed",
            bind="query-params",
            help="Draws the direction of d, and the head whose logits are shown.",
        )
        head = _head(heads)
    return Setup(model, sentence, pair, layer, float(size), int(seed), head)


def _head(count: int) -> int | Literal["most", "mean"]:
    options = [MOST, MEAN, *(f"head {head}" for head in range(count))]
    if st.session_state.get(HEAD, MOST) not in options:  # the model before had more
        del st.session_state[HEAD]
    chosen = st.selectbox("Attention of", options, key=HEAD, bind="query-params")
    return "most" if chosen == MOST else "mean" if chosen == MEAN else options.index(str(chosen)) - 2


def _pushed() -> None:
    tour.done("proof", moving=True)


def _layer(layers: int) -> int:
    if layers == 1:
        st.caption("This model has one layer.")
        return 0
    if int(st.session_state.get(LAYER) or 0) >= layers:  # the model before had more
        st.session_state[LAYER] = layers - 1
    return st.slider(
        "Layer",
        0,
        layers - 1,
        min(2, layers - 1),
        key=LAYER,
        bind="query-params",
        help="0 is the first.",
        on_change=_pushed,
    )


def _shape(model: str) -> tuple[int, int]:
    """Count the layers and heads of a model; files of this machine say them without the model service.

    Raises:
        UserError: there is no such model.
    """
    try:
        return _local_shape(page.model_of_page(model))
    except UserError:
        page.model_of_page(model)
        facts = ask("model", "The model is being fetched", timeout=DOWNLOAD_SECONDS, model=model)
        return int(facts["layers"]), int(facts["heads"])


@st.cache_data(max_entries=64, ttl=60, show_spinner=False)
def _local_shape(model: str) -> tuple[int, int]:
    layout = locate(model, local_only=True).layout
    return layout.layers, layout.heads
