"""Page Try it: what several fine-tunes say to sentences of one's own, and to the examples of their task."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.try_it.examples import examples, offer_one
from dashboard.app_pages.try_it.in_words import ask_in_words
from dashboard.app_pages.try_it.results import results
from dashboard.app_pages.try_it.setup import YOURS, sentences, setup
from dashboard.shared import page
from dashboard.shared.picker import TRY_EXAMPLES, TRY_TAB
from dashboard.shared.text import plain

DARK = page.dark()

page.begin(
    "try_it",
    "Type a sentence: what each fine-tune says to it, how far its biases, or its adapter, moved the answer, and which "
    "layer did it.",
)
page.need_training()
above = st.container()
chosen = setup(DARK)
if chosen is None:
    st.stop()
if chosen.prompt is not None:
    ask_in_words(chosen, above, DARK)
    st.stop()
yours, task_examples = st.tabs([YOURS, TRY_EXAMPLES], key=TRY_TAB, bind="query-params")
if yours.open:
    with yours:
        texts, pairs = sentences(chosen)
        offer_one(chosen)
        if not texts:
            st.info("Type a sentence above.", icon=":material/edit:")
        elif pairs is not None and len(pairs) != len(texts):
            st.info(
                f"{len(texts)} first and {len(pairs)} second sentences: {plain(chosen.title)} reads pairs, one of each "
                "per line.",
                icon=":material/edit:",
            )
        else:
            results(chosen, texts, pairs, above, DARK)
if task_examples.open:
    with task_examples:
        examples(chosen, above)
