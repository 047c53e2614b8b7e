"""What the scores measure: a pair of vectors by hand, every layer of a real fine-tune, its path through training."""

from __future__ import annotations

import streamlit as st

from dashboard.components import geometry_pairs, geometry_training, page
from dashboard.components.sandbox import sandbox

BY_HAND, LAYERS, TRAINING = "By hand", "Every layer", "Through training"
TAB = "geo"

page.begin(
    "geometry",
    "How far did a bias turn, and how much longer or shorter did it become? The projection ratio is made of these two "
    "numbers and nothing else.",
)
linked = {geometry_pairs.LAYER, geometry_pairs.TERM} & set(st.query_params)
if linked and TAB not in st.session_state and TAB not in st.query_params:
    # A link to a layer, such as a click on a heatmap, leads to that layer; a copy of the new link does so too.
    st.session_state[TAB] = st.query_params[TAB] = LAYERS
by_hand, layers, training = st.tabs([BY_HAND, LAYERS, TRAINING], key=TAB, bind="query-params")
if by_hand.open:
    with by_hand:
        sandbox()
if layers.open:
    with layers:
        geometry_pairs.pairs()
if training.open:
    with training:
        geometry_training.training()
