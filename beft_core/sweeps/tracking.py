"""Results of a sweep as runs of an experiment tracker, for groups that look at all of their training in one place.

`trackio <https://github.com/gradio-app/trackio>`_ is the tracker: its API is that of wandb, and its data stay on this
machine unless a Space is named.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from beft_core.errors import UserError
from beft_core.extras import install_command
from beft_core.files.home import home
from beft_core.files.locks import hold
from beft_core.files.safe_io import atomic_write, read_json_file
from beft_core.sweeps.table import CHOICE_COLUMNS, SCORE_COLUMNS
from beft_core.training.observer import Observer

if TYPE_CHECKING:
    import pandas as pd

CONFIG: tuple[str, ...] = (
    *("model", "task", "regime", "n_train", "trains", "lr", "epochs", "schedule", "adam_epsilon", "adam_epsilon_at"),
    *("batch_size", "seed", "precision", "trained_parameters", "total_parameters", "device"),
)
"""Columns of a result table that are the configuration of a run."""
SUMMARY: tuple[str, ...] = ("train_loss", "seconds", "best_value", "best_epoch", *SCORE_COLUMNS, *CHOICE_COLUMNS)
"""Columns that are logged once, with the last epoch, where a fine-tune has them."""
ELSEWHERE: tuple[str, ...] = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Variables of the environment by which trackio sends runs away from this machine."""

UNDER_WAY = "tracking.json"
"""File in the home folder with the name of the run that is being sent, by project."""


@dataclass(frozen=True)
class TrackedRun:
    """Fine-tune as a tracker takes it."""

    name: str
    """Name that says what it is, and ends with its identity, so that it is the same whenever it is sent."""
    group: str
    config: dict[str, Any]
    epochs: list[dict[str, float]] = field(default_factory=list)
    """Metrics after each epoch, the first one first; nothing of an epoch that was not scored."""
    summary: dict[str, Any] = field(default_factory=dict)


def tracked(results: pd.DataFrame) -> Iterator[TrackedRun]:
    """Convert the finished fine-tunes of a result table (``sweeps.table``); those that failed have nothing to log.

    Raises:
        UserError: a curve that is no JSON list.
    """
    for row in results[results["state"] == "done"].to_dict("records"):
        metric = row["metric"] if isinstance(row["metric"], str) else "metric"
        yield TrackedRun(
            f"{row['task']}-{row['trains']}-lr{row['lr']:g}-seed{row['seed']}-{str(row['run'])[:8]}",
            f"{row['task']}-{row['trains']}",
            {name: row[name] for name in CONFIG if _is_there(row[name])},
            [{} if value is None else {metric: value} for value in _curve(row["curve"])],
            {name: row[name] for name in SUMMARY if _is_there(row[name])},
        )


def send(results: pd.DataFrame, project: str, observer: Observer, space: str | None = None) -> int:
    """Send the finished fine-tunes of a result table to trackio; return how many.

    ``space``: a Space on the Hugging Face Hub instead of this machine; a new one is private. A run that is on this
    machine already is not sent again, unless a call before was killed in it: then it is sent anew. To a Space all are.
    What trackio prints goes to standard error.

    Raises:
        UserError: trackio is not installed, a name that it cannot take, a run that it refuses, a project that somebody
            else sends to, or a variable of :data:`ELSEWHERE` where no Space is named.
    """
    trackio = _trackio()
    if space is None and (found := [name for name in ELSEWHERE if os.environ.get(name)]):
        raise UserError(
            f"got {found[0]}, by which trackio sends runs away from this machine", "it unset", "--space ORG/NAME"
        )
    if not project.strip() or len(project) > 100 or any(sign in project for sign in "/\\\0"):
        raise UserError(f"got the project {project[:100]!r}", "a name without slashes", "--project beft")
    runs = list(tracked(results))
    observer.stage("send", len(runs))
    sent = 0
    with _alone(project):
        there = _names(trackio, project) if space is None else set()
        for run in runs:
            if observer.should_stop():
                break
            if run.name not in there:
                try:
                    with redirect_stdout(sys.stderr), _noted(project, run.name):
                        _send(trackio, run, project, space)
                except Exception as error:  # of its database, of the Hub's client, of the network: each has its own
                    raise UserError(
                        f"trackio did not take {run.name} ({error}); {sent:,} of {len(runs):,} were sent",
                        "runs that it takes",
                    ) from None
                sent += 1
            observer.advance()
    return sent


@contextmanager
def _alone(project: str) -> Iterator[None]:
    """Hold a project against other senders, who would send what is there a moment later, and take a run that is being
    sent for one that was left half. Raises UserError where somebody else holds it.

    A home folder that cannot be written holds nothing, as it notes nothing.
    """
    name = hashlib.sha256(project.encode()).hexdigest()[:16]  # of a name that no file may have
    with suppress(OSError):
        home().mkdir(parents=True, exist_ok=True)
    if not os.access(home(), os.W_OK):
        yield
        return
    with hold(home() / f"tracking-{name}", f"the project {project}", "again when that one has ended"):
        yield


def _send(trackio: ModuleType, run: TrackedRun, project: str, space: str | None) -> None:
    # Without being told, a new Space is public.
    target: dict[str, Any] = {} if space is None else {"space_id": space, "private": True}
    made = trackio.init(
        project,
        name=run.name,
        group=run.group,
        config=run.config,
        resume="never",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
        **target,
    )
    last = max(1, len(run.epochs))
    for epoch, metrics in enumerate(run.epochs or [{}], 1):
        if metrics or epoch == last:
            made.log({**metrics, **(run.summary if epoch == last else {})}, step=epoch)
    made.finish()


def _names(trackio: ModuleType, project: str) -> set[str]:
    """List the runs that a project on this machine has whole; none where there is no such project.

    One that was being sent when its sender was killed is deleted there.
    """
    try:
        runs = list(trackio.Api().runs(project))
    except ValueError:  # no such project
        return set()
    half = _under_way().get(project)
    for run in runs:
        if run.name == half:
            run.delete()
    return {str(run.name) for run in runs if run.name != half}


@contextmanager
def _noted(project: str, name: str) -> Iterator[None]:
    """Note which run is being sent, for whoever comes after a kill; one that was refused stays noted, too."""
    _note({**_under_way(), project: name})
    yield
    _note({other: run for other, run in _under_way().items() if other != project})


def _note(under_way: Mapping[str, str]) -> None:
    """Write the note; a home folder that cannot be written stays as it is: only after a kill it is missed."""
    with suppress(OSError, UserError):
        home().mkdir(parents=True, exist_ok=True)
        atomic_write(home() / UNDER_WAY, [json.dumps(dict(under_way)).encode()])


def _under_way() -> dict[str, str]:
    """Read the note; a damaged one counts as none."""
    try:
        table = read_json_file(home() / UNDER_WAY)
    except UserError:
        return {}
    return {project: name for project, name in table.items() if isinstance(name, str)}


def _trackio() -> ModuleType:
    if importlib.util.find_spec("trackio") is None:
        raise UserError("got an installation without trackio", "the extra tracking", install_command("tracking"))
    return importlib.import_module("trackio")


def _curve(text: Any) -> list[float | None]:
    """Read a curve, a place for each epoch: None where it was not scored, or its metric was not finite."""
    if not isinstance(text, str):
        return []
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise UserError(f"got the curve {text[:60]!r} in a result table", "a JSON list of numbers")
    return [float(value) if isinstance(value, int | float) else None for value in values]


def _is_there(value: Any) -> bool:
    return value is not None and value == value
