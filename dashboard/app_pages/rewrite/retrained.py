"""A probe trained again on the rewritten model: beside the one on the model as it is, or the button that starts it."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from beft_core.errors import UserError
from beft_core.execution.from_snapshot import config_of_snapshot, is_again
from beft_core.execution.start import launch
from beft_core.methods import method_of
from beft_core.runs.run import Run
from beft_core.scores.approaches import PAPER
from beft_core.scores.rewriting import Rewriting, Rewritten
from dashboard.app_pages.rewrite import parts
from dashboard.figures.parts.style import latex
from dashboard.run_watch import card, fine_tunes
from dashboard.shared import page
from dashboard.shared.sources import Opened, open_source, shelf
from dashboard.shared.text import plain

CARD = replace(fine_tunes.ASIDE, on_done=lambda run: None)
"""Card of a probe that is trained again: when it is done, the page finds it by itself."""


def retrained(opened: Opened, factor: float) -> None:
    """Draw what a probe that was trained again on the rewritten model scores, or how to get one."""
    if factor == 1 or not method_of(opened.meta.mode).every_bias:
        return
    st.subheader("Trained again on the rewritten model", anchor=False)
    other = _found(opened, factor)
    if other is None:
        st.markdown(
            f"The same model with $W_v, b_v$ ×{factor:g} has biases of another length, but Adam moves every element by "
            "about as much as before: its steps have a size of their own. So a probe of the rewritten model ends "
            "elsewhere, although both models compute the same. Train it to see what the score then selects."
        )
        _button(opened, factor)
        return
    result = Rewritten(Rewriting(scale=factor), opened.scores, other.scores)
    st.markdown(f"#### {_verdict(result)}")
    parts.bars(result, "retrained")
    st.caption(
        f"Pale: {plain(opened.title)}. Full: {plain(other.title)}, the same fine-tune on the same model written down "
        f"with ×{factor:g}."
    )


def _found(opened: Opened, factor: float) -> Opened | None:
    """Find a snapshot of the same fine-tune on the model rewritten by this factor."""
    for source in shelf()[0]:
        try:
            other = open_source(source)
        except UserError:
            continue  # reported where it is chosen
        scale = other.meta.hyperparameters.get("rewrite_scale")
        if scale == factor and is_again(opened.meta, other.meta, "rewrite_scale"):
            return other
    return None


def _verdict(result: Rewritten) -> str:
    """Write how the ratio of both differs, and what it selects."""
    was, now = result.before.mean_scores(PAPER), result.after.mean_scores(PAPER)
    moved = ", ".join(f"{latex(t)} {was[t]:.3f} → {now[t]:.3f}" for t in ("v", "q") if t in was and t in now)
    first, second = result.before.selected().get(PAPER), result.after.selected().get(PAPER)
    if first and second and first != second:
        return (
            f"The outputs of the model are the same, and the ratio selects {latex(second)} instead of {latex(first)}: "
            f"{moved}."
        )
    chosen = f"still selects {latex(second)}" if second else "selects nothing"
    return f"The outputs of the model are the same; the ratio {chosen}: {moved}."


def _button(opened: Opened, factor: float) -> None:
    why_not = page.cannot_train()
    run = card.watched(CARD)
    busy = run is not None and run.status().active
    st.button(
        "Train the probe again",
        key="retrain",
        icon=":material/play_arrow:",
        on_click=_begin,
        args=(opened, factor),
        disabled=why_not is not None or busy,
        help=why_not or f"The same settings, on the rewritten model. {card.IN_BACKGROUND}",
    )


def _begin(opened: Opened, factor: float) -> None:
    def start() -> Run:
        assert opened.source is not None
        config = replace(config_of_snapshot(opened.source.read()), rewrite_scale=factor, pad="auto")
        page.model_of_page(config.model)
        return launch("select", config)

    card.begin(CARD, start)
