"""Page Compare: snapshots of one's own beside the samples and the runs."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.app_pages.compare import parts
from dashboard.figures.compare import MAX_COMPARED
from dashboard.shared import page, uploads
from dashboard.shared.picker import COMPARE_CHOICE, pick_many

SECTION = "section"  # key of the tabs, and its name in the URL
# Title -> what draws it, of all snapshots or of the two that are looked at. A tab computes only when it is open.
OF_ALL: dict[str, Callable[[parts.Compared], None]] = {
    "Side by side": parts.overlay,
    "Layer by layer": parts.layers,
    "How they were made": parts.made,
}
OF_TWO: dict[str, Callable[[parts.Compared, tuple[int, int]], None]] = {
    "Where they differ": parts.apart,
    "Did they learn the same?": parts.alike,
    "Do they rank alike?": parts.agree,
}
ORDER = [*list(OF_ALL)[:2], *OF_TWO, *list(OF_ALL)[2:]]

page.begin(
    "compare",
    "Several fine-tunes beside each other: did they learn the same, and do they rank the bias terms alike?",
)
answer = st.container()  # above the choice of the snapshots that it is about
# Before a room the names have no frame, and the view stands beside them: the page is then one screen.
names = st.container(horizontal=page.presenting(), vertical_alignment="center")
opened = pick_many(
    "Snapshots",
    COMPARE_CHOICE,
    default=parts.default,
    most=MAX_COMPARED,
    help="Bundled samples, finished runs of this machine, and what you upload; the first is A, the next B.",
    added=parts.look_at,
)
legend = names.container(width="stretch")
# What one looks at, on demand: it would push the pictures off the screen.
view = (names if page.presenting() else st).container(horizontal=True, width="content")
with page.control("choose", "compare-mine"), st.expander("Your own files", icon=":material/folder_open:"):
    mine, models = st.tabs(["Your uploads", "From two models"])
    with mine:
        uploads.shelf_of_mine(COMPARE_CHOICE)
    with models:
        uploads.two_models(parts.join)
if not opened:
    st.info(
        "Choose two or more snapshots above, or open your own: snapshot files, PEFT adapters, or a model before and "
        "after its fine-tune.",
        icon=":material/arrow_upward:",
    )
    st.stop()

with view, page.control("settings", "compare"), st.popover(parts.VIEW, icon=":material/tune:"):
    two = parts.pair([one.title for one in opened]) if len(opened) > 1 else None
    stack, approaches, approach = parts.choose_view(opened)
shown = parts.Compared(tuple(opened), stack, approaches, approach, page.dark())
with answer:
    if two is not None:
        parts.answer(shown, two)
with legend:
    parts.legend(shown)
if len(opened) == 1:
    st.info("This is one snapshot. Add another above to compare it with.", icon=":material/add:")
for title, tab in zip(ORDER, st.tabs(ORDER, key=SECTION, on_change="rerun", bind="query-params"), strict=True):
    if not tab.open:
        continue
    with tab:
        if title in OF_ALL:
            OF_ALL[title](shown)
        elif two is not None:
            OF_TWO[title](shown, two)
        else:
            st.caption("It takes two different snapshots.")
end = st.grid(2, min_column_width=400) if page.presenting() else None
with st.container() if end is None else end.cell():
    parts.export(shown)
with st.container() if end is None else end.cell():
    parts.computed(shown)
