"""Presence of tasks on this machine, which it can train on without a network, and advice about the others. Nothing is
read but names of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.hub import hub_cache
from beft_core.tasks.registry import HUB_REVISIONS
from beft_core.tasks.sources.hub import has_all_splits
from beft_core.tasks.sources.official import VARIABLES, find_folder
from beft_core.tasks.spec import TaskSpec


@dataclass(frozen=True)
class Presence:
    """Place where the examples of a task are."""

    where: str
    """Name of the place: ``generated``, the environment variable that names its folder, ``Hub cache``; empty:
    not here.
    """
    advice: str = ""
    """Advice, as the end of a sentence, for a task that is not here; or what is wrong with the folder."""
    damaged: bool = False
    """Whether the folder that the environment names cannot be used: then the Hub is not asked."""

    @property
    def here(self) -> bool:
        return bool(self.where)


def presence(spec: TaskSpec) -> Presence:
    """Find where a task is on this machine, in the order in which :func:`beft_core.tasks.load.load_task` looks
    for it.
    """
    if spec.source == "demo":
        return Presence("generated")
    variable = VARIABLES[spec.source]
    try:
        if find_folder(spec) is not None:
            return Presence(variable)
        if _in_hub_cache(spec):
            return Presence("Hub cache")
    except UserError as error:
        return Presence("", str(error), damaged=True)
    return Presence("", f"set {variable} to a folder of the official download, or have it fetched from the Hub")


def _in_hub_cache(spec: TaskSpec) -> bool:
    assert spec.hub is not None
    dataset, _ = spec.hub
    repository = hub_cache() / f"datasets--{dataset.replace('/', '--')}"
    try:
        commit = (repository / "refs" / Path(HUB_REVISIONS[dataset] or "main")).read_text(encoding="ascii")[:100]
    except (OSError, ValueError):
        return False
    return has_all_splits(spec, repository / "snapshots" / Path(commit.strip()).name)
