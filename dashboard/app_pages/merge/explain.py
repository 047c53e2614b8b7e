"""Expander on how the numbers of the page Merge came about."""

from __future__ import annotations

from importlib.metadata import version

import streamlit as st

from beft_core.merging.result import MergeResult
from dashboard.app_pages.merge.choice import Choice
from dashboard.app_pages.merge.method import Merge
from dashboard.shared import page
from dashboard.shared.text import plain


def explained(choice: Choice, made: Merge | None, result: MergeResult | None) -> None:
    """Draw the expander with formulas, inputs and versions of a merge and of its evaluation."""
    with page.control("details", "merge"), st.expander("How was this computed?", icon=":material/function:"):
        st.markdown(
            "Of each fine-tune *t*, **δₜ = post − pre** is what it changed, all from one base (checked bit by bit). "
            "**Angle** = arccos(δ₁·δ₂ / |δ₁||δ₂|), in float64, over all merged terms and layers as one vector, or "
            "layer by layer. **Sign conflicts** = elements moved in opposite directions / elements that both moved. "
            "The merged biases are **pre + δ**."
        )
        if made is not None:
            st.markdown(
                f"**{plain(made.method.label)}**: δ = {plain(made.method.formula)}  \n"
                f":small[{plain(made.method.reference)}]  \n"
                "The share that is kept of a task's change is δ·δₜ / |δₜ|²."
            )
        st.markdown(
            "**Evaluation**: the merged (or a source's, or the base's) biases are put on the base model; each task is "
            "scored with the head and pooler bias that its own fine-tune left. Heads are never averaged. Where not all "
            "validation examples are scored, they are drawn once with seed 0, the same for every row."
        )
        facts = {"base model": choice.snapshots[0].meta.model.id, "merged terms": ", ".join(choice.terms)}
        for label, title, snapshot in zip(choice.labels, choice.titles, choice.snapshots, strict=True):
            meta = snapshot.meta
            heads = ", ".join(meta.heads) or "none"
            facts[label] = f"{title}: {meta.n_train} examples, seed {meta.seed}, head for {heads}"
        digests = [snapshot.meta.model.digest for snapshot in choice.snapshots]
        facts |= {what: digest for what, digest in digests if digest is not None}
        versions = {"beft-lab": version("beft-lab"), "numpy": version("numpy")}
        if made is not None:
            facts |= {name: str(value) for name, value in made.settings.items()}
        if result is not None:
            versions |= result.versions
            facts |= {f"data of {task}": about.data for task, about in result.tasks.items()}
        facts["versions"] = ", ".join(f"{name} {number}" for name, number in versions.items())
        st.dataframe(
            {"input": list(facts), "value": [value[:300] for value in facts.values()]},
            hide_index=True,
            alt="Inputs of the merge",
            height="content",
        )
