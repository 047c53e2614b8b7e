"""Same again with changes: the link that fills the form of Fine-tune with the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from beft_core.config import SETTINGS_OF_METHODS, RunConfig
from beft_core.errors import UserError
from beft_core.runs.kinds import KINDS
from beft_core.runs.run import Run
from beft_core.tasks.registry import TASKS
from dashboard.shared import page
from dashboard.shared.hyperparameters import BY_PRESET
from dashboard.shared.text import A_PROMPT, NO_COLUMN, exact, plain

_SAME: dict[str, str] = {
    "model": "ft_model",
    "preset": "ft_preset",
    "lr": "ft_lr",
    "epochs": "ft_epochs",
    "n_eval": "ft_n_eval",
    "batch_size": "ft_batch",
    "max_length": "ft_length",
    "seed": "ft_seed",
    "precision": "ft_precision",
    "device": "ft_device",
    "dropout": "ft_dropout",
    "train_null": "ft_null",
    "plain": "ft_plain",
    "adam_epsilon": "ft_eps",
    "fisher_tuned": "ft_fisher_tuned",
    "gradient_checkpointing": "ft_recompute",
    "demonstrations": "ft_demos",
}
"""Field of a configuration -> control of the form that holds it as it is."""
_OF_PRESET: dict[str, str] = {"schedule": "ft_schedule", "adam_epsilon_at": "ft_eps_at"}
"""The same of those whose control leaves them to the preset where they are not set."""
_BY_TASK = ("batch_size", "max_length")
"""Fields that an empty control leaves to the task, which has others for prompts than for heads."""

_NO_CONTROL = (
    "rewrite_scale",
    "sampler",
    "inputs",
    "weight_decay",
    "clip",
    "pad",
    "compile",
    "fisher_examples",
    "data_dir",
    "eval_file",
    "hold_out",
)
"""Settings that only the command line and the library take."""


def link(run: Run) -> None:
    """Draw the link; nothing for runs of other kinds, or whose configuration cannot be read."""
    try:
        kind, fields = run.config()
        config = RunConfig.from_dict(dict(fields)) if run.kind.single else None
    except UserError:
        return
    if config is not None:
        st.page_link(
            page.file_of("fine_tune"),
            label="Same again with changes",
            icon=":material/edit_note:",
            query_params=page.kept() | parameters(kind, config),
            help="Opens the form of Fine-tune with the settings of this run.",
        )
        if lost := left_out(config):
            said = (f"{name} {' '.join(one) if isinstance(one, tuple) else one}" for name, one in lost.items())
            st.caption(f"The form has no place for {plain(', '.join(said))}.")


def is_prompted(config: RunConfig) -> bool:
    """Whether a run's task is a prompt for a language model."""
    task = TASKS.get(config.task) if config.train_file is None else None
    return config.prompt is not None or (task is not None and task.prompt is not None)


def left_out(config: RunConfig) -> dict[str, Any]:
    """Find the settings of a run that the form has no control for, where they are not what it takes anyway."""
    default = RunConfig()
    values = {name: getattr(config, name) for name in _NO_CONTROL}
    if config.method.names_terms:  # the form adds what is trained
        values["add_bias"] = tuple(term for term in config.add_bias if term not in config.terms)
    return {name: value for name, value in values.items() if value != getattr(default, name)}


def parameters(kind: str, config: RunConfig) -> dict[str, str | list[str]]:
    """Write the settings of a run as the form of Fine-tune has them in its address; defaults do not stand there."""
    default = RunConfig()
    found: dict[str, Any] = {"ft_do": kind}
    for name, control in _SAME.items():
        value = getattr(config, name)
        if value != getattr(default, name) or (name in _BY_TASK and is_prompted(config)):
            found[control] = value
    for name, control in _OF_PRESET.items():
        found[control] = getattr(config, name) or BY_PRESET
    if not KINDS[kind].sets:
        found |= {"ft_mode": config.mode, "ft_fisher": config.fisher or None}
        if config.method.names_terms:
            found["ft_terms"] = list(config.terms)
        found["ft_targets"] = list(config.targets) if config.targets else None
        found |= {f"ft_{name}": getattr(config, name) for name in SETTINGS_OF_METHODS}
    if config.add_bias and not (config.method.names_terms and not KINDS[kind].sets):
        found["ft_add"] = list(config.add_bias)
    if config.layers is not None:
        found["ft_layers"] = ",".join(map(str, config.layers))
    if config.n_train is not None:
        found |= {"ft_regime": "number", "ft_n": config.n_train}
    elif config.regime is not None:
        found["ft_regime"] = config.regime
    found["ft_play"] = None if config.trajectory_every is not None else False
    found |= _task(config)
    return {name: _text(value) for name, value in found.items() if value not in (BY_PRESET, None)}


def _task(config: RunConfig) -> Mapping[str, Any]:
    """Write the task: one of the registry, or a kept table of the user's own with its columns."""
    if config.train_file is None:
        return {"ft_task": config.task}
    table = {"ft_task": "own-table", "ft_table": Path(config.train_file).name, "ft_name": config.name}
    if config.prompt is not None:
        return table | {
            "ft_answered": A_PROMPT,
            "ft_prompt": config.prompt.replace("\n", "\\n"),
            "ft_label": config.label,
            "ft_candidates": ", ".join(config.candidates or ()) or None,
            "ft_own": config.candidates_column,
        }
    return table | {
        "ft_text": config.text,
        "ft_pair": config.text_pair or NO_COLUMN,
        "ft_label": config.label,
        "ft_problem": config.problem,
    }


def _text(value: Any) -> str | list[str]:
    """Write a value as the browser writes it into the address."""
    if isinstance(value, list):
        return [str(one) for one in value]
    if isinstance(value, bool):
        return str(value).lower()
    return exact(value) if isinstance(value, float) else str(value)
