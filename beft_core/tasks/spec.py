"""Specification of a task: columns, labels, metrics, sizes and hyper-parameters."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.targets import Target, target_of


@dataclass(frozen=True)
class Quick:
    """Settings that let a small model learn something within minutes."""

    lr: float
    epochs: int


@dataclass(frozen=True)
class TaskSpec:
    """Description of a task."""

    name: str
    title: str
    source: str
    """Source of the data: ``glue``, ``superglue``, ``qa``, ``demo`` or ``file``."""
    text: str
    """Column of the text; ``word+sentence1`` (WiC) joins two columns as ``word: sentence1``. Empty where a prompt names
    its columns.
    """
    text_pair: str | None
    """Column of the second text of a pair; ``None``: the task is on single texts."""
    label: str
    """Column of the label."""
    labels: tuple[str, ...] | None
    """Names of the classes in the official order; ``None``: a label is a number."""
    metrics: tuple[str, ...]
    """Names of the metrics; the first is the one that counts."""
    regimes: dict[str, int | None] = field(default_factory=dict)
    """Number of training examples of each regime; ``None`` where the paper has none (and for ``all``)."""
    lr: float = 4e-4
    """Learning rate of the authors."""
    epochs: int = 30
    """Number of epochs of the authors for BERT-base."""
    quick: Quick = Quick(5e-3, 6)
    folder: str | None = None
    """Folder of the task in the official download."""
    evals: dict[str, str] = field(default_factory=lambda: {"validation": "dev.tsv"})
    """Files of the validation sets in that folder; a key is also the split on the Hub, where that has one."""
    train_file: str | None = None
    """File of the training examples; None: ``train`` with the ending of the validation file."""
    columns: tuple[str, ...] | None = None
    """Columns of files without a header; ``None``: files have one."""
    skips_ragged_rows: bool = False
    """Whether rows with too few or too many cells are left out, where the official file is known to have some."""
    hub: tuple[str, str] | None = None
    """Data set on the Hub and its configuration; see :data:`HUB_REVISIONS`."""
    hub_columns: dict[str, str] = field(default_factory=dict)
    """Columns on the Hub by the columns' names here, where the two differ."""
    epochs_larger: int | None = None
    """Number of the authors' epochs for RoBERTa-base and BERT-large, where it differs (the authors train RTE, SST-2,
    WiC and CB on those).
    """
    about: str = ""
    """Column, one of the two texts, of what several rows are about, such as a premise: rows of one text stay on one
    side where training examples are set aside, and are drawn together where the error of a metric is told. Empty: every
    row has its own, or a prompt says.
    """
    paper_text: str | None = None
    """Columns that the authors feed instead of ``text``, where those differ."""
    objective: str | None = None
    """Objective of a fine-tune, a key of ``training.objectives.registry.OBJECTIVES``; None: its labels say."""
    prompt: PromptSpec | None = None
    """Prompt that a language model answers; None: a head on an encoder or decoder answers."""
    paper_preset: dict[str, Any] = field(default_factory=dict)
    """Settings of the authors for this task where they are not those of the ``paper`` preset."""

    @property
    def target(self) -> Target:
        """Kind of label of the task."""
        return target_of(self.labels, "regression" if self.prompt is None else self.prompt.kind)

    def reading(self, inputs: str) -> TaskSpec:
        """Copy of the task as its columns are read by a key of :data:`beft_core.presets.INPUTS`."""
        if inputs != "paper" or self.paper_text is None:
            return self
        return dataclasses.replace(self, text=self.paper_text)

    @property
    def note(self) -> str:
        """Note on what a reader of the task must know; empty for most."""
        if self.paper_text is None:
            return ""
        return (
            f"inputs: quick reads {self.text.replace('+', ': ')} and {self.text_pair}, paper {self.paper_text} and "
            f"{self.text_pair} alone, as the authors do"
        )
