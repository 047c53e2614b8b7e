"""Which bias matters: the terms of one snapshot by three approaches, answer first, evidence below."""

from __future__ import annotations

import streamlit as st

from dashboard.components import explain, run_card
from dashboard.components.answer_card import WAYS, answer_card
from dashboard.components.picker import pick
from dashboard.components.text import plain
from dashboard.figures.heatmaps import heatmaps
from dashboard.figures.style import latex

DARK = st.context.theme.type == "dark"

st.title("Which bias matters?")
st.markdown(
    "Each bias term of a model, before and after a fine-tune, scored in three ways: how far it turned, how far it "
    "moved, and how strongly the loss depended on it. The method then fine-tunes only the winner among "
    f"{latex('q')}, {latex('k')} and {latex('v')}."
)
with st.container():  # always there, so that what follows keeps its place when a run comes or goes
    run_card.card()
opened = pick(beside=run_card.launcher)
if opened is None:
    st.stop()
scores = opened.scores
st.caption(explain.headline(opened) + (f"  \n{plain(opened.shows, 600)}" if opened.shows else ""))
stack = scores.stacks[0]
if len(scores.stacks) > 1:
    stack = st.segmented_control("Stack", scores.stacks, default=stack, required=True, key="stack", bind="query-params")
approaches = []
for column, way in zip(st.columns(len(WAYS)), WAYS, strict=True):
    with column:
        approaches.append(answer_card(opened, way, stack, DARK))
st.caption("★ is the selected term. Pale bars are terms outside the contest, there for comparison.")
caveat = explain.no_contest(opened)
if caveat:
    st.info(caveat, icon=":material/info:")

st.subheader("Where in the model", anchor=False)
st.plotly_chart(
    heatmaps(scores, approaches, opened.selected(stack), stack, DARK),
    theme=None, key="heatmaps", config={"displayModeBar": False},
    alt="Score of every bias term in every layer, by each approach",
)  # fmt: skip
for note in scores.notes:
    st.caption(f":material/flag: {plain(note)}")

explain.computed(opened, approaches)
st.download_button(
    "Download the scores (CSV)", lambda: scores.per_layer.to_csv(index=False), "scores.csv", "text/csv",
    icon=":material/download:", on_click="ignore",
)  # fmt: skip
