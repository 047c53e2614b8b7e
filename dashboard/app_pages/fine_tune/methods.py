"""Controls of what a fine-tune trains: the method, and the bias terms, modules and numbers that it has besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from beft_core.adapter_methods import Adapter, Setting
from beft_core.architectures.layout import Layout
from beft_core.config import SETTINGS_OF_METHODS
from beft_core.methods import DEFAULT, METHODS, method_of
from beft_core.settings.added_biases import trainable
from beft_core.terms import NORMS, TERM_KEYS, TERMS
from dashboard.figures.parts.labels import METHOD_ORDER, method_name
from dashboard.figures.parts.style import name_in_text
from dashboard.shared import marked

METHOD, BIASES, TARGETS = "ft_mode", "ft_terms", "ft_targets"
"""Keys of the controls, and their names in the URL."""
NUMBERS: dict[str, str] = {field: f"ft_{field}" for field in SETTINGS_OF_METHODS}
"""Numbers that only some methods have: field of RunConfig -> key of its control, and its name in the URL."""
DEFAULTS: dict[str, Any] = {METHOD: DEFAULT, BIASES: ["v"], TARGETS: [], **dict.fromkeys(NUMBERS.values())}
"""First values of the controls."""
_NUMBER_WORDS: dict[str, str] = {
    "rank": "Rank",
    "alpha": "Alpha",
    "virtual_tokens": "Virtual tokens",
}
"""Names of the numbers that only some methods have."""


def fields(get: Callable[[str], Any]) -> dict[str, Any]:
    """Read what the controls say as fields of RunConfig. ``get``: gives the value of a control by its key.

    Numbers and modules that the method does not have are left out, whatever their controls once held.
    """
    row = method_of(get(METHOD))
    found: dict[str, Any] = {"mode": get(METHOD)}
    if row.names_terms:
        found["terms"] = tuple(get(BIASES) or ())
    if row.adapter is not None and row.adapter.wraps and get(TARGETS):
        found["targets"] = tuple(get(TARGETS))
    for one in row.settings:
        if (value := get(NUMBERS[one.field])) is not None:
            found[one.field] = int(value) if one.whole else float(value)
    return found


def choose(layout: Layout | None, prompted: bool) -> None:
    """Draw the controls. ``layout``: None where it is not known yet; ``prompted``: the task has no head."""
    method = marked.choose_one(
        "Method",
        METHOD_ORDER,
        DEFAULT,
        METHOD,
        method_name,
        help="; ".join(f"{method_name(name)}: {METHODS[name].words}" for name in METHOD_ORDER),
    )
    row = METHODS[method]
    if row.names_terms:
        _choose_terms(layout, prompted)
        return
    about = f" ([paper]({row.adapter.paper}))" if row.adapter is not None else ""
    head = " and the head" if row.adapter is not None and not prompted else ""
    st.caption(f"Trains {row.words}{head}{about}.")
    if row.adapter is not None:
        _choose_settings(row.adapter)


def _choose_terms(layout: Layout | None, prompted: bool) -> None:
    options = list(trainable(layout))
    if BIASES in st.session_state:  # another model may not have them all
        st.session_state[BIASES] = [term for term in st.session_state[BIASES] or [] if term in options]
    chosen = st.pills(
        "Bias terms",
        options,
        selection_mode="multi",
        default=[term for term in DEFAULTS[BIASES] if term in options],
        key=BIASES,
        bind="query-params",
        help="; ".join(f"{term}: {TERMS[term].label} bias, {TERMS[term].where}" for term in options),
    )
    terms = [term for term in chosen or [] if term in TERMS]
    if terms:
        head = "" if prompted else " and the head"
        st.caption(", ".join(name_in_text(term) for term in terms) + f"{head}.")


def _choose_settings(adapter: Adapter) -> None:
    """Draw which modules an adapter wraps, and its numbers; an empty control leaves them to the method's authors."""
    with st.container(horizontal=True, vertical_alignment="top"):
        if adapter.wraps:
            _choose_targets(adapter)
        for one in adapter.settings:
            _choose_number(one)


def _choose_targets(adapter: Adapter) -> None:
    options = [term for term in TERM_KEYS if (term in NORMS) == adapter.norms]
    if TARGETS in st.session_state:  # another method wraps modules of another kind
        st.session_state[TARGETS] = [term for term in st.session_state[TARGETS] or [] if term in options]
    st.multiselect(
        "Modules that are wrapped",
        options,
        key=TARGETS,
        bind="query-params",
        placeholder=" ".join(adapter.targets),
        width=260,
        help="Named by the bias that a module has, or could have: q is the projection to queries. Empty: "
        f"{' '.join(adapter.targets)}.",
    )


def _choose_number(one: Setting) -> None:
    kind: Any = int if one.whole else float  # all numbers of a control must be of one kind
    look: dict[str, Any] = {"min_value": kind(one.least), "max_value": kind(one.most), "step": kind(1)}
    st.number_input(
        _NUMBER_WORDS[one.field],
        value=None,
        format="%d" if one.whole else "%g",
        key=NUMBERS[one.field],
        bind="query-params",
        placeholder=f"{one.default:g}",
        width=130,
        help=f"Empty: {one.default:g}, {one.source}.",
        **look,
    )
