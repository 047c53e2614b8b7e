"""Entry of ``streamlit run dashboard/app.py``: navigation only."""

from pathlib import Path

import streamlit as st

from dashboard import door, theme_change
from dashboard.deck import bar
from dashboard.run_watch import bar as run_bar
from dashboard.shared import address, page, tour

st.set_page_config(
    page_title="BEFT lab",
    page_icon=Path(__file__).with_name("icon.svg"),  # a Material icon here would be fetched from the network
    layout="wide",
    initial_sidebar_state="collapsed" if page.presenting() else "auto",  # on a phone it would cover the page
)
admitted = door.admitted()
chosen = st.navigation(page.navigation(), position="sidebar" if admitted else "hidden", expanded=True)
door.draw(admitted)
if admitted:
    if chosen.url_path == page.START:
        chosen.run()  # leads to the first page, before a control is drawn that holds a part of the address
    name = chosen.url_path or page.START
    bar.arrive(name)
    with address.kept():
        tour.carry()
        page.frame(name)
        theme_change.watch()
        bar.draw(name)
        page.need_home()
        run_bar.draw(name)
        chosen.run()
