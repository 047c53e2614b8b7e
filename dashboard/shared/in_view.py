"""Scrolling to what was asked for, and saying what a button did: its place on the page may be far from the button."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

_CALL = "in-view"
_COMPONENT = st.components.v2.component(
    "beft_in_view",
    html='<span role="status"></span>',
    css="span { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }",
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
)


def call(words: str) -> None:
    """Have the page scroll to :func:`here` once it is drawn, and screen readers say the words. For callbacks."""
    st.session_state[_CALL] = {"call": time.time_ns(), "words": words, "scroll": True}


def say(words: str) -> None:
    """Have screen readers say the words at :func:`here`; the page stays where it is. For callbacks."""
    st.session_state[_CALL] = {"call": time.time_ns(), "words": words, "scroll": False}


def here() -> None:
    """Mark the place to scroll to, above what is to be seen."""
    _COMPONENT(
        key="in-view-here",
        data=st.session_state.get(_CALL) or {"call": 0, "words": "", "scroll": False},
        height="content",
    )
