"""Staging of models and tasks on this machine, before jobs that have no network need them; and what is missing."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from beft_core.config import RunConfig
from beft_core.errors import ModelNotHere, UserError
from beft_core.files.hub import offline_mode
from beft_core.models.source import locate
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources.hub import fetch_hub
from beft_core.tasks.sources.presence import presence
from beft_core.training.estimate.count import count_examples


@dataclass(frozen=True)
class Missing:
    """Model or task that a fine-tune needs and this machine has not."""

    what: str
    """Name of the model or the task."""
    why: str
    """What is wrong, in words."""
    command: str
    """Command or setting that helps."""


def missing_model(name: str) -> Missing | None:
    """Say why a model cannot be opened here; None where it can. Nothing is downloaded."""
    try:
        locate(name, local_only=True)
    except ModelNotHere:
        return Missing(name, "its weights are not on this machine", fetch_command(models=[name]))
    except UserError as error:
        return Missing(name, str(error), fetch_command(models=[name]))
    return None


def missing_task(name: str, wanted: int | None = None) -> Missing | None:
    """Say why a task, or so many training examples of it, cannot be read here; None where they can."""
    spec = get_task(name)
    place = presence(spec)
    if not place.here:
        why = place.advice if place.damaged else "its data are not on this machine"
        return Missing(spec.name, why, fetch_command(tasks=[spec.name]))
    there = count_examples(RunConfig(task=spec.name, regime="all"))
    if wanted is not None and there is not None and there < wanted:
        return Missing(
            spec.name,
            f"{there:,} of {wanted:,} training examples are here ({place.where})",
            "the whole official download",
        )
    return None


def fetch_model(name: str) -> str:
    """Bring a model to this machine, if it is not there; return in words where it is from.

    Raises:
        UserError: no such model, or it cannot be downloaded.
    """
    _require_downloads(missing_model(name))
    source = locate(name)
    return f"{source.id}{f' at {source.revision[:8]}' if source.revision else ''}: {source.folder}"


def fetch_task(name: str) -> str:
    """Bring the data of a task to this machine, if they are not there; return in words where they are.

    Raises:
        UserError: no such task, or it cannot be downloaded.
    """
    spec = get_task(name)
    place = presence(spec)
    if place.damaged:
        raise UserError(place.advice)
    if not place.here:
        _require_downloads(Missing(spec.name, "", ""))
        fetch_hub(spec)
        place = presence(spec)
    return f"{spec.name}: {place.where}"


def fetch_command(models: list[str] | None = None, tasks: list[str] | None = None) -> str:
    """Write the command that brings models and tasks to a machine that has a network."""
    words = ["beft", "fetch"]
    for model in models or ():
        words += ["--model", model]
    return shlex.join([*words, *(["--tasks", *tasks] if tasks else [])])


def _require_downloads(missing: Missing | None) -> None:
    if missing is not None and offline_mode():
        raise UserError(
            f"got {missing.what}, which is not here, and HF_HUB_OFFLINE, which switches downloads off",
            "a machine with a network, such as the cluster's login node",
            "unsetting HF_HUB_OFFLINE there",
        )
