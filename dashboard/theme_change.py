"""Change of the theme while a page is open: Streamlit changes its own colours, and the page is drawn again for those of
figures.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.shared import page

_COMPONENT = st.components.v2.component("beft_theme", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))


def watch() -> None:
    """Have the browser ask for the page again when its theme is not the one that the page was drawn for. Nothing is
    seen of it. Called once by app.py.
    """
    with st.sidebar:
        _COMPONENT(key="theme", data={"drawn": "dark" if page.dark() else "light"}, on_theme_change=lambda: None)
