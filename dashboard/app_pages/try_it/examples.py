"""Validation examples one by one: which of them a fine-tune fixed or broke against another, and whether by chance."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from beft_core.errors import UserError
from beft_core.inference.answers import margin
from beft_core.reports.paired import (
    RESAMPLES,
    Difference,
    Matched,
    difference,
    difference_in_words,
    in_words,
    match,
    sign_test,
)
from beft_core.tasks.examples import TaskData
from beft_core.tasks.own_prompts import METRICS_OF_KIND
from beft_core.tasks.own_table import PROBLEMS
from beft_core.tasks.predictions import Predictions
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.presence import presence
from dashboard.app_pages.try_it.prompts import open_prompt
from dashboard.app_pages.try_it.scored import LIMIT, Found, examples_of, own_candidates, read_now, stored, texts_of
from dashboard.app_pages.try_it.setup import CANDIDATES_TAB, PAIR, TEXT, YOURS, Chosen, Setup, forget_unless
from dashboard.shared import page
from dashboard.shared.figure import offer_table
from dashboard.shared.picker import TRY_TAB
from dashboard.shared.text import in_words as in_markdown
from dashboard.shared.text import plain

FIRST, SECOND, SHOW, ORDER = "try_a", "try_b", "try_show", "try_order"
"""Keys of the controls, and their names in the URL."""
SHOWN = 500
"""Most rows of the table; the download has all."""
READ = "try_read"
"""Session state: titles of fine-tunes whose examples somebody had read."""


def examples(setup: Setup, above: DeltaGenerator) -> None:
    """Draw two fine-tunes against each other on every validation example that both were scored on.

    ``above``: container at the top of the page, for the verdict.
    """
    pair = _pair(setup)
    if pair is None:
        return
    try:
        found = _found(setup, pair)
        if found is None:
            return
        both = match(found[pair[0].name].predictions, found[pair[1].name].predictions)
    except UserError as error:
        page.report(error, "These two cannot be compared")
        return
    with above:
        _verdict(setup, pair, both)
    _table(setup, pair, both)
    _computed(setup, pair, both, found)


def offer_one(setup: Setup) -> None:
    """Draw the button that takes a validation example into the fields for sentences, where the task is here."""
    if setup.task in TASKS and presence(TASKS[setup.task]).here:
        st.button(
            f"Take one of the task's {'examples' if setup.prompt is None else 'prompts'}",
            key="try-draw",
            icon=":material/casino:",
            type="tertiary",
            on_click=_draw,
            args=(setup,),
        )


def _draw(setup: Setup) -> None:
    """Put a validation example, drawn at random, into the fields. For callbacks."""
    try:
        part = next(iter(examples_of(setup.runs[0], setup.task).evals.values()))
    except UserError as error:
        st.toast(plain(error))
        return
    at = random.randrange(len(part))
    second = own_candidates(part)[at] if part.text_pair is None else part.text_pair[at]
    if setup.prompt is not None:
        open_prompt(setup, part.text[at], second)
    else:
        _open(setup, (part.text[at], second))


def _pair(setup: Setup) -> tuple[Chosen, Chosen] | None:
    by_name = {run.name: run for run in setup.runs}
    if len(by_name) < 2:
        st.info("Choose a second fine-tune above to compare this one with.", icon=":material/add:")
        return None
    names = list(by_name)
    with page.control("choose", "try-pair", horizontal=True):
        forget_unless(FIRST, names)
        first = st.selectbox("Compare", names, key=FIRST, bind="query-params", width=300)
        others = [name for name in names if name != first]
        forget_unless(SECOND, others)
        second = st.selectbox("against", others, key=SECOND, bind="query-params", width=300)
    return by_name[first], by_name[second]


def _found(setup: Setup, pair: tuple[Chosen, Chosen]) -> dict[str, Found] | None:
    """Get the predictions of both: stored ones, or read now where somebody wants that; None while nobody does."""
    kept = {run.name: one for run in pair if (one := stored(run, setup.task)) is not None}
    lacking = [run for run in pair if run.name not in kept]
    found = {name: Found(one, True) for name, one in kept.items()}
    if not lacking:
        return found
    count = sum(map(len, _examples_here(setup, lacking[0]).evals.values()))
    generated = setup.task in TASKS and TASKS[setup.task].source == "demo"
    asked: set[str] = st.session_state.setdefault(READ, set())
    if not generated and not {run.opened.title for run in lacking} <= asked:
        names = " and ".join(plain(run.opened.title) for run in lacking)
        st.info(
            f"{names} stored no predictions for {plain(setup.title)} (older runs, samples and uploads do not). They "
            f"can be read now: {count:,} examples"
            + (f", the first {LIMIT:,} of a fixed permutation where there are more." if count >= LIMIT else "."),
            icon=":material/quiz:",
        )
        if st.button("Read the validation examples now", key="try-read-now", icon=":material/play_arrow:"):
            asked.update(run.opened.title for run in lacking)
            st.rerun()
        return None
    return found | {name: Found(one, False) for name, one in read_now(setup, lacking).items()}


def _examples_here(setup: Setup, run: Chosen) -> TaskData:
    """Load the validation examples of a fine-tune; an error says what to do on this page without them."""
    try:
        return examples_of(run, setup.task)
    except UserError as error:
        instead = YOURS if setup.prompt is None else CANDIDATES_TAB
        raise UserError(error.got, error.expected, f"the tab {instead}, which needs no data") from None


def _metrics(setup: Setup, both: Matched) -> tuple[str, ...]:
    if setup.task in TASKS:
        return TASKS[setup.task].metrics
    if setup.prompt is not None:
        return METRICS_OF_KIND[setup.prompt.kind]
    return PROBLEMS["regression" if both.a.regression else "classification"]


def _verdict(setup: Setup, pair: tuple[Chosen, Chosen], both: Matched) -> None:
    a, b = pair[0].name, pair[1].name
    st.markdown(f"#### {in_markdown(in_words(sign_test(both), a, b, both.a.regression))}")
    content = hashlib.sha256(b"".join(side.tobytes() for side in (both.a.labels, both.a.logits, both.b.logits)))
    for metric in _metrics(setup, both):
        st.markdown(in_markdown(difference_in_words(_difference(content.hexdigest(), metric, both), a, b)))
    left = f" {both.left_out:,} that only one of them was scored on are left out." if both.left_out else ""
    st.caption(f"A paired comparison: both answer the same {len(both.a):,} examples.{left}")


@st.cache_data(max_entries=64, show_spinner=False)
def _difference(content: str, metric: str, _both: Matched) -> Difference:
    """Compute a difference once: a bootstrap of rank correlations takes half a second."""
    return difference(_both, metric)


def _kinds(both: Matched) -> dict[str, np.ndarray]:
    """Groups of examples by what the first did against the second: words -> bool [examples]."""
    better = both.better
    every = np.ones(len(better), dtype=bool)
    if both.a.regression:
        return {"all": every, "nearer": better > 0, "further": better < 0}
    right = both.a.predicted == both.a.judged
    return {
        "all": every,
        "fixed": better > 0,
        "broken": better < 0,
        "both right": (better == 0) & right,
        "both wrong": (better == 0) & ~right,
    }


def _shift(both: Matched) -> np.ndarray:
    """Compute how far the log-odds of the right class, or the value, moves from the second to the first."""
    if both.a.regression:
        moved: np.ndarray = both.a.predicted - both.b.predicted
        return moved
    gold = both.a.labels.astype(int)
    return np.array(
        [
            margin(first, label) - margin(second, label)
            for first, second, label in zip(both.a.logits, both.b.logits, gold, strict=True)
        ]
    )


def _table(setup: Setup, pair: tuple[Chosen, Chosen], both: Matched) -> None:
    import pandas as pd

    kinds = _kinds(both)
    forget_unless(SHOW, list(kinds))
    with page.control("settings", "try-show", horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Examples",
            list(kinds),
            default=list(kinds)[1],
            required=True,
            key=SHOW,
            bind="query-params",
            help=f"What {plain(pair[0].name)} did against {plain(pair[1].name)}.",
        )
        order = st.segmented_control(
            "Largest shift first",
            ["towards the first", "towards the second", "either way"],
            default="either way",
            required=True,
            key=ORDER,
            bind="query-params",
        )
    st.caption(", ".join(f"{name} {int(members.sum()):,}" for name, members in kinds.items()))
    mask = kinds[str(kind)]
    shift = _shift(both)
    by = {"towards the first": -shift, "towards the second": shift}.get(str(order), -np.abs(shift))
    rows = np.array([at for at in np.argsort(by, kind="stable") if mask[at]], dtype=int)
    texts = texts_of(pair[0], setup.task, both.a.keys)
    if not texts:
        st.caption(":material/link_off: The texts are not here any more: runs store answers, not what they read.")
    table = pd.DataFrame(_rows(setup, pair, both, shift, rows, texts))
    if table.empty:
        st.caption("No example is of this kind.")
        return
    event: Any = st.dataframe(
        table.head(SHOWN),
        hide_index=True,
        key="try-examples",
        on_select="rerun",
        selection_mode="single-row",
        height=360,
        alt="Examples with the answers of both fine-tunes",
        column_config={
            "text": st.column_config.TextColumn(width="large"),
            "shift": st.column_config.NumberColumn(format="%+.2f"),
        },
    )
    chosen = [row for row in event["selection"]["rows"] if row < len(rows)]
    with st.container(horizontal=True, vertical_alignment="center"):
        one = texts.get(int(both.a.keys[rows[chosen[0]]])) if chosen else None
        st.button(
            "Open it among your sentences" if setup.prompt is None else "Open it as the prompt",
            key="try-open",
            icon=":material/open_in_new:",
            disabled=one is None,
            help="Tick a row: its text is asked there, layer by layer.",
            on_click=_open,
            args=(setup, one),
        )
        with page.control("downloads", "try-examples"):
            offer_table(f"All {len(table):,} of them (CSV)", lambda: table, "examples.csv", "try-examples-csv")


def _rows(
    setup: Setup,
    pair: tuple[Chosen, Chosen],
    both: Matched,
    shift: np.ndarray,
    rows: np.ndarray,
    texts: dict[int, tuple[str, str | None]],
) -> list[dict[str, Any]]:
    names = pair[0].opened.meta.heads.get(setup.task, {}).get("labels")

    def said(one: Predictions, at: int) -> Any:
        return _class(names, one.predicted[at]) if not one.regression else round(float(one.predicted[at]), 3)

    found = []
    for at in rows:
        text, second = texts.get(int(both.a.keys[at]), (None, None))
        gold = both.a.labels[at]
        found.append(
            {
                **({"text": text} if texts else {}),
                **({"second": second} if second is not None else {}),
                "gold": round(float(gold), 3) if both.a.regression else _class(names, gold),
                pair[0].name: said(both.a, at),
                pair[1].name: said(both.b, at),
                "shift": float(shift[at]),
            }
        )
    return found


def _class(names: list[str] | None, number: float) -> str:
    at = int(number)
    return str(names[at]) if names and at < len(names) else str(at)


def _open(setup: Setup, example: tuple[str, str | None] | None) -> None:
    """Put an example into the fields for sentences, and show them. For callbacks."""
    if example is None:
        return
    if setup.prompt is not None:
        open_prompt(setup, *example)
        st.session_state[TRY_TAB] = CANDIDATES_TAB
        return
    text, second = (" ".join(part.split()) if part else "" for part in example)
    st.session_state[f"{TEXT}_a" if setup.pairs else TEXT] = text
    if setup.pairs:
        st.session_state[PAIR] = second
    st.session_state[TRY_TAB] = YOURS


def _computed(setup: Setup, pair: tuple[Chosen, Chosen], both: Matched, found: dict[str, Found]) -> None:
    with page.control("details", "try-paired"), st.expander("How was this computed?", icon=":material/function:"):
        which = (
            "the sign test of who is nearer to the label"
            if both.a.regression
            else "McNemar's exact test: only examples that exactly one of the two gets right count"
        )
        together = "- Examples about one text, such as a passage, share a coin and are drawn together.\n"
        st.markdown(
            f"- **Test**: {which}. Were both as good, each such example would be a fair coin; p is the two-sided "
            "binomial probability of a split at least as uneven.\n"
            f"- **Interval**: paired bootstrap, {RESAMPLES:,} resamples of the examples (seed 0), the same for both; "
            " the 2.5th and the 97.5th percentile of the difference.\n"
            f"{together if both.groups is not None else ''}"
            "- **Shift**: log-odds of the right class by the first minus by the second; of a regression the difference "
            "of the values.\n"
            "- Examples are matched by a hash of their texts. Runs store their outputs for the validation examples "
            "beside the snapshot, and no text.\n"
            + "\n".join(
                f"- {plain(run.name)}: {'stored by its run' if found[run.name].stored else 'read now'}" for run in pair
            )
        )
