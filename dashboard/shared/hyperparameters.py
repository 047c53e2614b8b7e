"""Hyper-parameters in the forms of Fine-tune and Sweep: the controls that both have, and words for their values.

Each control takes the ``prefix`` of its form and stands in the address, and in the session, under ``<prefix>_<name>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from beft_core.config import DEVICES, PRECISIONS, RunConfig
from beft_core.presets import EPSILON_PLACES, PRESETS
from dashboard.figures.parts.style import latex

BY_PRESET = "preset"
"""Choice that leaves a value to the preset."""
WITHIN = {"before": "before the bias correction", "after": "after the bias correction"}
"""Words for a sentence, by the place at which AdamW's epsilon is added."""

# --- words ---------------------------------------------------------------------------------------------------------


def epochs_in_words(count: int | None) -> str:
    """Write a number of epochs; None: they depend on the size of a model that is not on this machine yet."""
    return "epochs by the model's size" if count is None else f"{count} epoch{'s' * (count != 1)}"


def optimizer_in_words(config: RunConfig) -> str:
    """Write AdamW's epsilon of a resolved configuration, and where it is added."""
    assert config.adam_epsilon is not None and config.adam_epsilon_at is not None
    return f"AdamW's epsilon {config.adam_epsilon:g} {WITHIN[config.adam_epsilon_at]}"


def sample_in_words(config: RunConfig) -> str:
    """Write what a resolved configuration draws and reads as the paper's authors do; empty where it does neither."""
    said = []
    if config.sampler == "randomstate" and config.n_train is not None:
        said.append("the seed draws examples as the authors' does")
    if config.inputs == "paper":
        said.append("the two sentences are read without the word, as the authors have it")
    return "; ".join(said)


def added_in_words(terms: Sequence[str]) -> str:
    """Write what zero biases are added, and what follows for the scores, for Markdown."""
    names = ", ".join(latex(term) for term in terms)
    return (
        f"This model has no {names}: zero biases are added, which change nothing until they are trained. Their "
        "projection ratio is 1 wherever they end, so it ranks nothing here."
    )


# --- controls ------------------------------------------------------------------------------------------------------


def choose_preset(prefix: str) -> None:
    """Draw the choice of a preset."""
    st.segmented_control(
        "Preset",
        ["quick", "paper"],
        default="quick",
        required=True,
        key=f"{prefix}_preset",
        bind="query-params",
        help="quick: learning rates and few epochs that suit a small model, decaying linearly. paper: the authors' "
        "settings, with a constant learning rate, their AdamW's epsilon and their way to draw examples; epochs by the "
        "size of the model. Both differ by task.",
    )


def choose_device(prefix: str) -> None:
    """Draw the list of devices."""
    st.selectbox(
        "Device",
        list(DEVICES),
        key=f"{prefix}_device",
        bind="query-params",
        help="auto: CUDA, then MPS, then the CPU.",
    )


def choose_precision(prefix: str) -> None:
    """Draw the list of precisions."""
    st.selectbox(
        "Precision",
        list(PRECISIONS),
        key=f"{prefix}_precision",
        bind="query-params",
        help="Of the frozen matrix products; what is trained is float32 always.",
    )


def choose_n_eval(prefix: str) -> None:
    """Draw the number of validation examples (``_n_eval``)."""
    st.number_input(
        "Validation examples",
        2,
        1_000_000,
        None,
        key=f"{prefix}_n_eval",
        bind="query-params",
        placeholder="all",
        help="Most of them that are scored, of any task; always the same ones. Empty: all.",
    )


def choose_epsilon(prefix: str, filled: RunConfig | None) -> None:
    """Draw AdamW's epsilon (``_eps``) and where it is added (``_eps_at``).

    ``filled``: the resolved configuration, whose epsilon an empty control stands for; None where there are several.
    """
    known = ", ".join(f"{name} {preset.adam_epsilon:g} {preset.adam_epsilon_at}" for name, preset in PRESETS.items())
    bound: dict[str, Any] = {"bind": "query-params"}
    st.number_input(
        "AdamW's epsilon",
        0.0,
        1.0,
        None,
        step=1e-8,
        format="%g",
        key=f"{prefix}_eps",
        placeholder=f"{filled.adam_epsilon:g}" if filled and filled.adam_epsilon else "the preset's",
        help=f"Elements whose gradients stay below it hardly move. Empty: the preset's ({known}).",
        **bound,
    )
    st.selectbox(
        "Epsilon is added",
        [BY_PRESET, *EPSILON_PLACES],
        key=f"{prefix}_eps_at",
        help="; ".join(f"{name}: {words}" for name, words in EPSILON_PLACES.items()),
        **bound,
    )


def switch_acceleration_off(prefix: str) -> None:
    """Draw the switch (``_plain``) that trains by the plain algorithm alone, as ``--plain`` does."""
    st.toggle(
        "Without acceleration",
        False,
        key=f"{prefix}_plain",
        bind="query-params",
        help="Train by the plain algorithm, without all that only makes it faster, to compare: values differ by the "
        "order of sums and by what dropout draws.",
    )
