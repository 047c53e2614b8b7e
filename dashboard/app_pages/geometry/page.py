"""Page Geometry: a pair of vectors to move by hand, every layer of a real fine-tune, its path through training."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.geometry import pairs
from dashboard.app_pages.geometry import training as geometry_training
from dashboard.app_pages.geometry.sandbox import sandbox
from dashboard.app_pages.geometry.sandbox_scene import SENTENCE
from dashboard.shared import page

BY_HAND, LAYERS, TRAINING = "By hand", "Every layer", "Through training"
TAB = "geo"

page.begin("geometry", SENTENCE)
linked = {pairs.LAYER, pairs.TERM} & set(st.query_params)
if linked and TAB not in st.session_state and TAB not in st.query_params:
    # A link to a layer, such as a click on a heatmap, leads to that layer; a copy of the new link does so too.
    st.session_state[TAB] = st.query_params[TAB] = LAYERS
by_hand, layers, training = st.tabs([BY_HAND, LAYERS, TRAINING], key=TAB, bind="query-params")
if by_hand.open:
    with by_hand:
        sandbox()
if layers.open:
    with layers:
        pairs.pairs()
if training.open:
    with training:
        geometry_training.training()
