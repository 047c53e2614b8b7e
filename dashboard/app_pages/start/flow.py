"""Picture of attention on the learner's own words: where each of the three biases acts, and the residual stream."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.app_pages.start.scheme import SENTENCE, WHOLE, scene
from dashboard.figures.parts.svg import SVG_JS, scripts
from dashboard.shared import page

_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "beft_flow",
    html=(_HERE / "flow.html").read_text(encoding="utf-8"),
    css=(_HERE / "flow.css").read_text(encoding="utf-8"),
    js=scripts(SVG_JS, _HERE / "flow.js"),
)


def flow(dark: bool) -> None:
    """Draw the box for a sentence and the picture of its words."""
    with page.control("settings", "flow"):
        sentence = st.text_input(
            "Your sentence",
            SENTENCE,
            max_chars=80,
            key="words",
            bind="query-params",
            label_visibility="collapsed",
            placeholder="A sentence of yours",
        )
    _COMPONENT(
        key="flow",
        data=scene(sentence, dark, f"{WHOLE} A scheme: real attention, with numbers, is on the page Why."),
        height="content",
    )
