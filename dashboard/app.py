"""``streamlit run dashboard/app.py``: navigation only."""

from pathlib import Path

import streamlit as st

# A file of ours: a Material icon here would be fetched from the network.
st.set_page_config(page_title="BEFT lab", page_icon=Path(__file__).with_name("icon.svg"), layout="wide")

st.navigation(
    [
        st.Page(
            "app_pages/importance.py",
            title="Which bias matters",
            icon=":material/leaderboard:",
            help="Every bias term of a model scored three ways, layer by layer, and the term that each way selects.",
            default=True,
        )
    ]
).run()
