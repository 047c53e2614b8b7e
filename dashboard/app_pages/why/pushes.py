"""Three pushes side by side: what the same vector, added to each bias, does to the attention and to the output."""

from __future__ import annotations

from typing import Any

import streamlit as st

from beft_core.errors import UserError
from beft_core.extras import training_missing
from beft_core.files.safe_io import read_json_file
from dashboard.app_pages.why.details import attention_of, details
from dashboard.app_pages.why.setup import Setup, setup
from dashboard.content.samples import samples_folder
from dashboard.figures.attention import push, span
from dashboard.figures.parts.style import latex, name_in_text, tinted
from dashboard.shared import page
from dashboard.shared.figure import show
from dashboard.shared.model_service import ask
from dashboard.shared.text import plain
from dashboard.tour_mark import mark

COLUMNS: dict[str, str] = {
    "k": "Every answer grows by the same, and softmax ignores what is the same for all.",
    "q": "What is asked changes, so other words are looked at.",
    "v": "The same words are looked at, and all hand on the same extra: a constant.",
}
"""Term -> sentence on why, in the order of the columns. It holds where the bias is null, or acts, as usual."""
EXAMPLE = "three-pushes.json"
STAYS, MOVES = "**stays**", "**moves**"


def pushes(dark: bool) -> None:
    """Draw the controls, a column per bias, and on demand the details."""
    with st.container(gap="xsmall"):
        wanted = setup()
    answered = _answered(wanted)
    if answered is None:
        return
    wanted, result = answered
    if result["cut"]:
        st.caption(f"Only the first {len(result['tokens'])} tokens were read; {result['cut']} were cut off.")
    with page.stage("picture"):
        grid = st.grid(len(COLUMNS), min_column_width=230, gap="medium")
    for term in COLUMNS:
        with grid.cell(), st.container(gap="xsmall"):
            _column(term, wanted, result, dark)
    mark("proof")
    with page.control("details", "why"):
        more = st.expander(
            "Details: why it must be so, sizes down to rounding, whole maps, how it was computed",
            icon=":material/function:",
            key="why_more",
            on_change="rerun",
            bind="query-params",
        )
    if more.open:
        with more:
            details(wanted, result, dark)


def _answered(wanted: Setup | None) -> tuple[Setup, dict[str, Any]] | None:
    """Ask the model; where it cannot answer, say why and take the example. None where there is nothing to show."""
    shipped = example()
    if page.stop() is not None and shipped is not None and shipped[0] == wanted:
        return shipped  # the same experiment: a room does not wait until PyTorch has started
    if wanted is not None:
        try:
            return wanted, ask("prove", "Running the model with and without d", **wanted.asked())
        except UserError as error:
            page.report(error, "The experiment could not be run")
    elif training_missing() is None:
        return None  # another model can be named
    if shipped is not None:
        st.caption(
            f"Instead, an example that comes with the lab: layer {shipped[0].layer} of the {shipped[0].model} model, "
            f"“{plain(shipped[0].sentence)}”, ‖d‖ = {shipped[0].size:g}."
        )
    return shipped


def example() -> tuple[Setup, dict[str, Any]] | None:
    """Read the answer that comes with the samples, for where no model can be opened; None where it is missing."""
    try:
        shipped = read_json_file(samples_folder() / EXAMPLE)
        return Setup(**shipped["asked"]), dict(shipped["answer"])
    except (UserError, KeyError, TypeError):
        return None


def _column(term: str, wanted: Setup, result: dict[str, Any], dark: bool) -> None:
    part = result["terms"][term]
    head = f"**{tinted(term, f'Push the {name_in_text(term)}')}**"
    if "absent" in part:
        st.markdown(head)
        st.info(f"This model has no {latex(term)}: {plain(part['absent'])}.", icon=":material/info:")
        return
    attention, output = (MOVES if part["moves"][what] else STAYS for what in ("attention", "output"))
    st.markdown(f"{head}  \nAttention {attention}, output {output}.  \n:small[{_why(term, result)}]")
    show(
        push(
            attention_of(part, wanted, result),
            result["tokens"],
            (result["logits"], part["logits_after"]),
            span([result["logits"], *(one["logits_after"] for one in result["terms"].values() if "absent" not in one)]),
            term,
            dark,
        ),
        f"why-push-{term}",
        f"The {term} bias pushed: attention before and after, which {attention.strip('*')}, and the logits of the "
        f"classes, which {'move' if part['moves']['output'] else 'stay'}",
        downloads=False,
    )
    st.caption(_length(part["norm"], result["size"]))


def _why(term: str, result: dict[str, Any]) -> str:
    if term == "k" and not result["model"]["key_null"]:
        return f"In this model {latex(term)} can act: {plain(result['model']['key_why'])}."
    return COLUMNS[term]


def _length(norm: float, size: float) -> str:
    """Write how long the push is beside the layer's own bias, of the column's term."""
    if not norm:
        return f"*d* has length {size:g}; this bias is zero."
    times = size / norm
    digits = 0 if times >= 100 else 2 if times < 1 else 1
    return f"*d* is {times:,.{digits}f} times as long as this bias is."
