"""Page The paper's evaluation: a verdict on every claim by a sweep's numbers, then its figures and tables."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from beft_core.errors import UserError
from dashboard.app_pages.evaluation.figures import figures_1_and_4, rates_and_epochs
from dashboard.app_pages.evaluation.methods import table_5
from dashboard.app_pages.evaluation.prediction import does_the_score_predict
from dashboard.app_pages.evaluation.scorecard import PART, answer, claims
from dashboard.app_pages.evaluation.tables import table_1, table_2, table_3, table_4
from dashboard.app_pages.evaluation.view import View, choose_view, model_in_words
from dashboard.result_tables.source import pick_table
from dashboard.shared import in_view, page
from dashboard.shared.text import exact, plain

# Title -> what draws it, and whether it stands at a chosen learning rate. Comments, because a page shows bare strings.
TABS: dict[str, tuple[Callable[[View], None], bool]] = {
    "Claims": (claims, False),
    "Figures 1 and 4": (figures_1_and_4, True),
    "Table 1": (table_1, True),
    "Table 2": (table_2, True),
    "Table 3": (table_3, False),
    "Table 4": (table_4, True),
    "Table 5": (table_5, True),
    "Learning rate and epochs": (rates_and_epochs, False),
    "Does the score predict?": (does_the_score_predict, False),
}

page.begin(
    "evaluation",
    "What the paper claims, judged by the fine-tunes of a sweep, and its figures and tables with ours beside them.",
    title="The paper's evaluation, ours beside it",
)
above_choice = st.container()  # above the choice of the table that it is about
beside_each_other = st.container(horizontal=True)
with beside_each_other.container(width="stretch"):
    opened = pick_table()
above = beside_each_other.container(width="content")
if opened is None:
    st.stop()
with above_choice:
    answer(opened)
in_view.here()
results = opened.results
failed = int((results["state"] != "done").sum())
st.caption(
    f"{len(results):,} fine-tunes"
    + (f", {failed:,} of them failed" if failed else "")
    + f" · {', '.join(map(model_in_words, results['model'].unique()[:4]))}"
    + f" · {results['task'].nunique()} task{'s' * (results['task'].nunique() > 1)}"
    + f" · {results['seed'].nunique()} seed{'s' * (results['seed'].nunique() > 1)}"
    + f" · learning rates {', '.join(exact(lr) for lr in sorted(set(results['lr'])))}"
    + (f"  \n{plain(opened.shows)}" if opened.shows else "")
)
tabs = st.tabs(list(TABS), key=PART, on_change="rerun", bind="query-params")
for tab, (title, (draw, rated)) in zip(tabs, TABS.items(), strict=True):
    if not tab.open:
        continue
    try:
        with above:
            view = choose_view(opened, rated)
        with tab:
            draw(view)
    except UserError as error:
        with tab:
            page.report(error, f"{title} cannot be drawn")
