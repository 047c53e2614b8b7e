"""Expander on how the numbers of a page came about: formula, inputs, seed, versions."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from beft_core.architectures.certified import certified
from beft_core.presets import hyperparameters
from beft_core.scores.approaches import APPROACHES
from beft_core.snapshots.null_elements import count_of
from beft_core.terms import TERMS
from dashboard.content.facts import bars, headline, no_contest, star
from dashboard.content.samples import Opened
from dashboard.figures.parts.style import latex
from dashboard.shared.text import in_words, plain

__all__ = ["bars", "computed", "headline", "no_contest", "star"]

_TABLE_WIDTH = 380
"""Width in pixels below which the two tables stand below each other."""


def computed(opened: Opened, approaches: Sequence[str]) -> None:
    """Draw an expander with everything that one needs to compute the page again."""
    meta = opened.meta
    with st.expander("How was this computed?", icon=":material/function:"):
        for key in approaches:
            approach = APPROACHES[key]
            st.markdown(
                f"**{approach.label}**, per layer: `{approach.formula}`  \n:small[{approach.reference}]  \n"
                f"{in_words(approach.caveat)}"
            )
        st.markdown(
            "*pre* and *post* are a layer's bias vector before and after the fine-tune, in float64. A term's score is "
            "the mean over layers; the selected term is the highest among "
            f"{latex('q')}, {latex('k')} and {latex('v')}. A cell marked ↺ turned by more than 90°: its projection "
            "ratio exceeds 1."
        )
        known = certified(meta)
        if known.terms:
            names = ", ".join(latex(term) for term in known.terms)
            st.markdown(
                f"{names} **is null in this model**: it adds the same number to every attention logit of a row, which "
                "softmax ignores. Its exact gradient is zero, so it is frozen unless somebody asks for it; trained, it "
                "would show rounding noise that looks like importance."
            )
        for term, ranges in known.elements.items():
            st.markdown(
                f"{count_of(ranges)} elements of {latex(term)} in each layer **are null in this model**: positions "
                "turn only the first elements of each head, and what the others add is the same for every key, which "
                "softmax ignores. They are frozen unless somebody asks for them; trained, they move by rounding noise."
            )
        settings = {name: _value(value) for name, value in hyperparameters(meta.hyperparameters).items()}
        grid = st.grid(2, min_column_width=_TABLE_WIDTH)
        for head, table, alt in (
            ("input", _facts(opened), "Inputs of the fine-tune"),
            ("setting", settings, "Hyper-parameters of the fine-tune"),
        ):
            with grid.cell():
                # Static, because its cells wrap: a long value is read without a click, in a narrow window too.
                rows = {head: [plain(name) for name in table], "value": [plain(value, 300) for value in table.values()]}
                st.table(rows, hide_index=True, alt=alt)


def _facts(opened: Opened) -> dict[str, str]:
    meta = opened.meta
    digest_of, digest = meta.model.digest
    facts = {
        "snapshot": opened.title,
        "model": f"{meta.model.id}{'@' + meta.model.revision if meta.model.revision else ''}",
        "architecture": f"{meta.model.architecture}, {meta.model.layers} layers × {meta.model.hidden_size}",
        digest_of: digest,
        "task": meta.task,
        "training examples": f"{meta.n_train}{f' ({meta.regime})' if meta.regime else ''}",
        "trained": f"{meta.mode}: {', '.join(TERMS[t].symbol for t in meta.trained_terms) or 'no bias term'}",
        "trained parameters": f"{meta.trained_parameters} of {meta.total_parameters}",
        "seed": meta.seed,
        "device": meta.device,
        "seconds": None if meta.wall_seconds is None else f"{meta.wall_seconds:.1f}",
        "versions": ", ".join(f"{name} {version}" for name, version in meta.versions.items()),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "None", "", "None of None")}


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:200]
