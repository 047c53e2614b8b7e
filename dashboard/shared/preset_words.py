"""What a preset fills in, in the words of the forms of Fine-tune and Sweep."""

from __future__ import annotations

from typing import Any

import streamlit as st

from beft_core.config import RunConfig
from beft_core.presets import EPSILON_PLACES, PRESETS

BY_PRESET = "preset"
PRESET_HELP = (
    "quick: learning rates and few epochs that suit a small model, decaying linearly. paper: the authors' settings, "
    "with a constant learning rate, their AdamW's epsilon and their way to draw examples; epochs by the size of the "
    "model. Both differ by task."
)
WITHIN = {"before": "before the bias correction", "after": "after the bias correction"}


def epochs(count: int | None) -> str:
    """A number of epochs. None: they depend on the size of a model that is not on this machine yet."""
    return "epochs by the model's size" if count is None else f"{count} epoch{'s' * (count != 1)}"


def optimizer(config: RunConfig) -> str:
    """AdamW's epsilon of a resolved configuration."""
    assert config.adam_epsilon is not None and config.adam_epsilon_at is not None
    return f"AdamW's epsilon {config.adam_epsilon:g} {WITHIN[config.adam_epsilon_at]}"


def sample(config: RunConfig) -> str:
    """What a resolved configuration draws and reads as the authors do; empty for neither."""
    said = []
    if config.sampler == "randomstate" and config.n_train is not None:
        said.append("the seed draws examples as the authors' does")
    if config.inputs == "paper":
        said.append("the two sentences are read without the word, as the authors have it")
    return "; ".join(said)


def epsilon_controls(prefix: str, filled: RunConfig | None) -> None:
    """Two controls, in the address under ``<prefix>_eps`` and ``<prefix>_eps_at``. ``filled``: what they stand for."""
    bound: dict[str, Any] = {"bind": "query-params"}
    known = ", ".join(f"{name} {preset.adam_epsilon:g} {preset.adam_epsilon_at}" for name, preset in PRESETS.items())
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
