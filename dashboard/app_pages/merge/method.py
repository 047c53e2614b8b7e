"""Section on the method of a merge: its parameters as sliders, and at once what the merge keeps of each source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from beft_core.errors import UserError
from beft_core.files.scratch import scratch_folder
from beft_core.merging.merge import merge
from beft_core.merging.methods import METHODS, Method, Parameter
from beft_core.merging.preview import Preview, preview
from beft_core.snapshots.snapshot import SUFFIX, Key, Snapshot, write_snapshot
from beft_core.terms import TERMS
from dashboard.app_pages.merge.choice import Choice
from dashboard.figures.merging import preview_cosines, preview_lengths
from dashboard.figures.parts import style
from dashboard.figures.parts.style import latex
from dashboard.shared import page, tour
from dashboard.shared.figure import show
from dashboard.shared.text import plain

METHOD, TERM = "merge_method", "merge_term"
CONTROLS = 340
"""Width of the controls in pixels."""
MAX_WHOLE = 2**53 - 1
"""Largest whole number that a browser keeps."""
FIRST = "weighted"
"""Method to begin with: at equal weights it is the paper's average, and its slider shows what merging is."""


@dataclass(frozen=True)
class Merge:
    """Merge that the controls describe."""

    method: Method
    settings: dict[str, Any]
    merged: Snapshot
    preview: Preview


def method(choice: Choice, dark: bool) -> Merge | None:
    """Draw the controls of a method and what its merge keeps; None, after saying why, if there is no such merge."""
    row = st.container(horizontal=True, gap="large")  # in a narrow window the pictures go below the controls
    controls, picture = row.container(width=CONTROLS), row.container()
    with controls, page.control("settings", "merge-method"):
        labels = {one.label: one for one in METHODS.values()}
        name = st.selectbox(
            "Method",
            list(labels),
            index=list(METHODS).index(FIRST),
            key=METHOD,
            bind="query-params",
            on_change=_previewed,
        )
        spec = labels[name]
        st.markdown(f"δ = {plain(spec.formula)}  \n:small[[Where it comes from]({spec.reference})]")
        if spec.remark:
            st.caption(plain(spec.remark, 600))
        settings = {parameter.name: _control(spec, parameter, choice) for parameter in spec.parameters}
    try:
        merged = merge(choice.snapshots, spec.name, terms=choice.terms, **settings)
    except UserError as error:
        with picture:
            page.report(error, "This merge cannot be made")
        return None
    made = Merge(spec, settings, merged, preview(choice.snapshots, merged))
    with controls:
        _kept(choice, made)
        with page.control("downloads", "merge-snapshot"):
            st.download_button(
                "Download the merged snapshot",
                lambda: file_of(merged),
                f"merged{SUFFIX}",
                "application/octet-stream",
                icon=":material/download:",
                type="tertiary",
                on_click="ignore",
                key="merge-snapshot-file",
            )
    with picture:
        _pictures(choice, made, dark)
    return made


def file_of(snapshot: Snapshot) -> bytes:
    """Write a snapshot's file; return its bytes."""
    with scratch_folder() as folder:
        path = folder / f"merged{SUFFIX}"
        write_snapshot(path, snapshot)
        return path.read_bytes()


def _previewed() -> None:
    tour.done("merge", moving=True)


def _control(spec: Method, parameter: Parameter, choice: Choice) -> Any:
    """Draw the control of a parameter, as its declaration asks for; return its value."""
    key = f"merge_{spec.name}_{parameter.name}"
    bound: dict[str, Any] = {"key": key, "bind": "query-params", "on_change": _previewed}
    label = parameter.name.capitalize()
    text = parameter.help
    if parameter.choices:
        return st.segmented_control(
            label, parameter.choices, default=parameter.default, required=True, help=text, **bound
        )
    if parameter.is_list:
        return _shares(parameter, choice, bound)
    if isinstance(parameter.default, int):
        return st.number_input(
            label,
            min_value=int(parameter.low),
            max_value=int(min(parameter.high, MAX_WHOLE)),
            value=parameter.default,
            step=1,
            help=text,
            **bound,
        )
    assert isinstance(parameter.default, float)
    if math.isinf(parameter.high):
        return st.number_input(label, parameter.low, value=parameter.default, help=text, **bound)
    low = 0.0 if parameter.low < 0.01 else parameter.low
    value = st.slider(label, low, parameter.high, parameter.default, 0.01, help=text, **bound)
    return max(value, parameter.low)


def _shares(parameter: Parameter, choice: Choice, bound: dict[str, Any]) -> list[float]:
    """Draw one number per snapshot: one slider moves between two, each of more has its own."""
    each = parameter.each or parameter.name.capitalize()
    if len(choice.labels) == 2:
        first, second = choice.labels
        share = st.slider(
            f"{each} of {plain(first)}",
            0.0,
            1.0,
            0.5,
            0.01,
            help=f"The rest is the {each.lower()} of {plain(second)}.",
            **bound,
        )
        st.caption(f"{share:.2f} of {plain(first)} + {1 - share:.2f} of {plain(second)}")
        return [share, round(1 - share, 6)]
    weights = []
    for number, label in enumerate(choice.labels, 1):
        numbered = {**bound, "key": f"{bound['key']}_{number}"}
        weights.append(st.slider(f"{each} of {plain(label)}", 0.0, 1.0, 1.0, 0.01, **numbered))
    if total := sum(weights):
        st.caption("Shares: " + ", ".join(f"{weight / total:.2f}" for weight in weights))
    return weights


def _kept(choice: Choice, made: Merge) -> None:
    lines = [
        f"- {plain(label)}: **{100 * kept:.0f} %** of its change"
        for label, kept in zip(choice.labels, made.preview.kept, strict=True)
    ]
    st.markdown("The merge moves along each task's direction:\n" + "\n".join(lines))


def _pictures(choice: Choice, made: Merge, dark: bool) -> None:
    keys = list(made.preview.lengths)
    key = keys[0] if len(keys) == 1 else _one_of(keys)
    symbol = latex(key[1])
    st.markdown(f"**How long the change of {symbol} is in each layer**")
    show(
        preview_lengths(choice.labels, made.preview, key, dark),
        "merge-lengths",
        "Length of the change in every layer: each fine-tune and the merge",
        data=lambda: _lengths(choice, made),
    )
    st.markdown("**How much the merge points the way of each task**")
    show(
        preview_cosines(choice.labels, made.preview, style.TERM_COLOURS[key[1]], dark),
        "merge-cosines",
        "Cosine of the merged change with each fine-tune's",
        data=lambda: _cosines(choice, made),
    )


def _one_of(keys: list[Key]) -> Key:
    several = len({stack for stack, _ in keys}) > 1
    names = {TERMS[term].symbol + (f", {stack}" if several else ""): (stack, term) for stack, term in keys}
    start = next((name for name, (_, term) in names.items() if term == "v"), next(iter(names)))
    with page.control("settings", "merge-term"):
        chosen = st.segmented_control(
            "Bias term",
            list(names),
            default=start,
            required=True,
            key=TERM,
            bind="query-params",
        )
    return names.get(chosen, names[start])


def _lengths(choice: Choice, made: Merge) -> pd.DataFrame:
    return pd.DataFrame(
        {"stack": stack, "term": term, "layer": layer, "of": label, "length": float(length)}
        for (stack, term), table in made.preview.lengths.items()
        for label, row in zip([*choice.labels, "merged"], table, strict=True)
        for layer, length in enumerate(row)
    )


def _cosines(choice: Choice, made: Merge) -> pd.DataFrame:
    return pd.DataFrame({"of": choice.labels, "cosine": made.preview.cosine, "kept": made.preview.kept})
