"""Snapshot as notebooks use it: it shows, scores, draws and writes itself, and goes onto a loaded model."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, Self, TypeVar

from beft_core.cli.output import out_path
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.library import plots
from beft_core.library.result import Result, Shown, cell
from beft_core.library.scores import Scores, described
from beft_core.library.words import in_python
from beft_core.methods import METHODS
from beft_core.scores.approaches import PAPER
from beft_core.snapshots import snapshot as files
from beft_core.training.observer import NOT_METRICS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import plotly.graph_objects as go
    from torch import nn

Model = TypeVar("Model", bound="nn.Module")
EPOCH = ("epoch", "step", "train_loss")
"""Columns with which the record of an epoch begins."""


class Snapshot(files.Snapshot, Result):
    """Bias terms of a model before and after a fine-tune, with what is known of it.

    `pre` and `post` give arrays [layers, width], `meta` says how they came about.
    """

    @classmethod
    def of(cls, snapshot: files.Snapshot) -> Self:
        """Make one of a snapshot of the engine; the arrays are shared, which nobody can write."""
        if isinstance(snapshot, cls):
            return snapshot
        made = cls(snapshot.meta, snapshot._shapes, snapshot._load, snapshot.source)
        made.adapter = snapshot.adapter
        return made

    def with_source(self, source: str) -> Snapshot:
        """Copy the snapshot with words for the examples that it was trained on."""
        meta = dataclasses.replace(self.meta, provenance={**self.meta.provenance, "data": source[:300]})
        return Snapshot.of(self.with_meta(meta))

    @classmethod
    @in_python
    def from_models(cls, before: nn.Module, after: nn.Module, *, task: str = "imported", **details: Any) -> Snapshot:
        """Make a snapshot of two loaded models of transformers, one before and one after a fine-tune.

        Only biases are read. ``details``: further fields of the metadata, such as ``seed=1``.

        Raises:
            UserError: models of an unknown architecture, or that do not fit each other.
        """
        require_training()
        from beft_core.library.loaded_models import snapshot_from_models

        return cls.of(snapshot_from_models(before, after, task, details))

    @in_python
    def apply_to(self, model: Model, *, head: bool | str = False) -> Model:
        """Put the fine-tuned biases onto a loaded model of transformers, in place, and return it.

        ``head``: also the classification head (and the pooler's bias, which was trained with it) of the snapshot's
        task, or of the task of this name; the model must have a head of the same form then, as
        ``AutoModelForSequenceClassification`` makes it.

        Raises:
            UserError: the model's biases are not those that the fine-tune started from, or it has no such head; it
            is left as it was then.
        """
        require_training()
        from beft_core.library.loaded_models import apply_snapshot

        apply_snapshot(self, model, head)
        return model

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metrics on the validation set after the last epoch; none of a fine-tune that was stopped amid one."""
        return {name: value for name, value in self.meta.final_metrics.items() if name not in NOT_METRICS}

    @property
    def trained(self) -> str:
        """Description of what was trained: bias terms, or a mode such as ``full``."""
        meta = self.meta
        row = METHODS.get(meta.mode)
        terms = ", ".join(meta.trained_terms)
        return terms or meta.mode if row is None or row.names_terms else meta.mode

    def scores(self) -> Scores:
        """Score every bias term by every approach that the snapshot's tensors allow."""
        return Scores.of(self)

    def shown(self) -> Shown:
        meta = self.meta
        seed = "" if meta.seed is None else f", seed {meta.seed}"
        title = f"{described(self)}: {self.trained}{seed}"
        notes = []
        if meta.trained_parameters is not None:
            of = f" of {meta.total_parameters:,}" if meta.total_parameters else ""
            besides = "" if meta.is_prompted(meta.task) else ", besides the head"
            notes.append(f"trained {meta.trained_parameters:,}{of} parameters{besides}")
        head = self._columns()
        if not head:
            return Shown(title, ["holds"], [[f"{stack}.{term}"] for stack, term in self.keys()], notes)
        rows = [[cell(_whole(row.get(name), name)) for name in head] for row in meta.metrics]
        return Shown(title, head, rows, notes)

    def to_pandas(self) -> pd.DataFrame:
        """Give one row per epoch: the training loss and the metrics on the validation set."""
        import pandas as pd

        return pd.DataFrame(list(self.meta.metrics), columns=self._columns())

    def _columns(self) -> list[str]:
        """Names of an epoch's metrics, behind what every epoch has; files have them in the order of letters."""
        names = list(dict.fromkeys(name for row in self.meta.metrics for name in row))
        return sorted(names, key=lambda name: (*EPOCH, name).index(name))

    @in_python
    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the snapshot, whole or not at all, and return the file; ``*.beft.safetensors``.

        Raises:
            UserError: another ending, or a file that cannot be written.
        """
        file = out_path(os.fspath(user_path(path, "the file")))
        files.write_snapshot(file, self)
        return file

    @in_python
    def plot(
        self, kind: str = "heatmaps", *, approach: str = PAPER, stack: str | None = None, dark: bool = False
    ) -> go.Figure:
        """Draw a figure of the dashboard.

        ``kind``: one of `Scores.plot`; ``epochs`` (metrics after each epoch); ``path`` (every trained term through its
        plane, of a fine-tune with ``trajectory_every``).

        Raises:
            UserError: another kind, or a snapshot that does not hold what the figure shows.
        """
        own = {
            "epochs": lambda: plots.epochs(self, dark),
            "path": lambda: plots.path(self, self.scores().stack(stack), dark),
        }
        return plots.drawn(kind, self.scores().figures(approach, stack, dark) | own)


def _whole(value: float | None, name: str) -> float | None:
    return int(value) if value is not None and name in ("epoch", "step") else value


def snapshot_of(value: object) -> Snapshot:
    """Return the snapshot that somebody names: one in memory, or the path of a file. Raises UserError."""
    if isinstance(value, files.Snapshot):
        return Snapshot.of(value)
    if isinstance(value, str | os.PathLike):
        return Snapshot.of(files.read_snapshot(user_path(value, "the file")))
    raise UserError(
        f"got a {type(value).__name__} for a snapshot", f"a snapshot, or the path of a *{files.SUFFIX} file"
    )
