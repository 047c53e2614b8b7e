"""Predictions of the chosen fine-tunes for validation examples: those that their runs stored, else read now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from beft_core.errors import UserError
from beft_core.inference.examples import scored_examples
from beft_core.merging.config import recorded
from beft_core.merging.result import MERGED
from beft_core.runs.predictions import FILE, read_predictions, write_predictions
from beft_core.runs.tables import recorded_table
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.predictions import Predictions, example_keys, predictions_of
from beft_core.tasks.registry import TASKS
from dashboard.app_pages.try_it.asking import sent
from dashboard.app_pages.try_it.setup import Chosen, Setup
from dashboard.shared import page
from dashboard.shared.model_service import ask

LIMIT = 2000
"""Most examples of a validation set that the page has read; a run stores all that it was scored on."""
SECONDS = 600.0
"""Seconds to wait for them."""


@dataclass(frozen=True)
class Found:
    """Predictions of one fine-tune, and where they are from."""

    predictions: Predictions
    stored: bool
    """Whether its run stored them; else they were read for this page."""


def stored(run: Chosen, task: str) -> Predictions | None:
    """Read what the run of a fine-tune stored for a task; None where it stored nothing. Raises UserError."""
    path = run.source.path
    if run.source.group != "run" or path is None or not (file := path.with_name(FILE)).is_file():
        return None
    status = file.stat()
    several = _read(str(file), status.st_mtime_ns, status.st_size)
    return next((one for one in several if one.task == task and one.model in ("", MERGED)), None)


@st.cache_data(max_entries=16, show_spinner=False)
def _read(file: str, mtime: int, size: int) -> list[Predictions]:
    return read_predictions(Path(file))


def read_now(setup: Setup, runs: Sequence[Chosen]) -> dict[str, Predictions]:
    """Have the model read the validation examples under fine-tunes; those of runs of this machine are stored.

    Returns name of the fine-tune -> predictions. Raises UserError.
    """
    found: dict[str, Predictions] = {}
    # As its own fine-tune had them: those that are read together have one token limit, and as many demonstrations.
    alike: dict[tuple[str, int | None, int | None], list[Chosen]] = {}
    for run in runs:
        fields = recorded([run.source.read()], setup.task)
        alike.setdefault((run.model, fields.get("max_length"), fields.get("demonstrations")), []).append(run)
    for (model, _, _), own in alike.items():
        table = table_of(own[0], setup.task)
        result = ask(
            "score",
            "Reading the validation examples",
            SECONDS,
            runs=sent(own),
            task=setup.task,
            model=model,
            limit=LIMIT,
            table=table,
        )
        data = examples_of(own[0], setup.task)
        for run, logits in zip(own, result["logits"], strict=True):
            sets = [(name, data.evals[name], np.array(rows, np.float32)) for name, rows in logits.items()]
            found[run.name] = predictions_of(setup.task, sets)
            _store(run, found[run.name], data)
    return found


def _store(run: Chosen, predictions: Predictions, data: TaskData) -> None:
    """Write predictions beside the snapshot of a run of this machine, where they are of all its examples."""
    path = run.source.path
    whole = all(len(part) < LIMIT for part in data.evals.values())
    if run.source.group == "run" and path is not None and whole and page.locked() is None:
        file = path.with_name(FILE)
        if not file.exists():
            write_predictions(file, [predictions])


def table_of(run: Chosen, task: str) -> dict[str, str] | None:
    """Find the user's own table that a fine-tune was trained on, where its run says it."""
    if task in TASKS or run.source.path is None:
        return None
    table = recorded_table(run.source.path, task)
    return None if table is None else table.to_dict()


def examples_of(run: Chosen, task: str, limit: int | None = LIMIT) -> TaskData:
    """Load the validation examples of a fine-tune's head. Raises UserError where they are not here."""
    snapshot: Snapshot = run.source.read()
    recorded = json.dumps(snapshot.meta.heads.get(task, {}), sort_keys=True)
    table = table_of(run, task)
    return _examples(task, recorded, limit, json.dumps(table), snapshot)


@st.cache_resource(max_entries=4, show_spinner=False)
def _examples(task: str, head: str, limit: int | None, table: str, _snapshot: Snapshot) -> TaskData:
    return scored_examples(_snapshot, task, limit, json.loads(table))


def texts_of(run: Chosen, task: str, keys: np.ndarray) -> dict[int, tuple[str, str | None]]:
    """Find the texts of examples by their keys; empty where the task is not here any more."""
    try:
        data = examples_of(run, task, None)
    except UserError:
        return {}
    wanted = set(keys.tolist())
    found: dict[int, tuple[str, str | None]] = {}
    for part in data.evals.values():
        for key, example in zip(example_keys(part).tolist(), _each(part), strict=True):
            if key in wanted:
                found[key] = example
    return found


def _each(part: Examples) -> list[tuple[str, str | None]]:
    pairs: Sequence[Any] = part.text_pair if part.text_pair is not None else own_candidates(part)
    return list(zip(part.text, pairs, strict=True))


def own_candidates(part: Examples) -> list[str | None]:
    """List the candidates of each prompt, one a line; None where all prompts have the same, and of texts."""
    several = part.candidates
    if several is None or part.answers is not None or len(set(several)) == 1:
        return [None] * len(part)
    return ["\n".join(one.strip() for one in some) for some in several]
