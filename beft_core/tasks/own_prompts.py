"""Prompted tasks from a table of the user's own: ``--prompt "{text} It was" --candidates terrible great``.

A label of the table is one of the candidates or its number from 0; or candidates are told with the labels that they
stand for, ``negative=terrible positive=great``. Without candidates, the answer is free text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beft_core.errors import UserError
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.own_table import MAX_NAME, MIN_EVAL, MIN_TRAIN, PROBLEMS, record_of_columns, require_rows, split
from beft_core.tasks.prompts.render import Row, examples_of
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.spec import TaskSpec

METRICS_OF_KIND: dict[str, tuple[str, ...]] = {
    "classification": PROBLEMS["classification"],
    "choice": ("accuracy",),
    "text": ("answer_f1", "exact_match"),
}
"""Metrics by the kind of a prompt's labels; the first one counts."""


@dataclass(frozen=True)
class OwnPrompt:
    """Prompt over the columns of a table. Raises UserError for what is no prompt."""

    template: str
    """Template of the prompt, such as ``{text} It was``."""
    label: str
    """Column of the right candidate, or of the right answer."""
    candidates: tuple[str, ...] = ()
    """Candidates of every row, each alone or as ``label=candidate``."""
    candidates_column: str | None = None
    """Column with a list of the row's own candidates."""

    def __post_init__(self) -> None:
        for column in (self.label, *self.spec.columns, *self.spec.candidate_columns):
            if len(column) > MAX_NAME or not column.isprintable():
                raise UserError(f"got the column {column[:80]!r}", f"a name of at most {MAX_NAME} printable characters")
        if not self.spec.prompt.columns:
            raise UserError(f"got the prompt {self.template[:60]!r} without a column", "one", "{text} in the prompt")
        if self.label in self.spec.columns:
            raise UserError(
                f"got the label {self.label!r} in the prompt", "a prompt that does not give the answer away"
            )

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the labels that fixed candidates stand for; None without fixed candidates."""
        return tuple(name for name, _ in self._pairs()) or None

    @property
    def spec(self) -> PromptSpec:
        """Prompt as tasks have it."""
        return PromptSpec(
            self.template,
            tuple(word for _, word in self._pairs()),
            () if self.candidates_column is None else (self.candidates_column,),
            trained_by="candidates" if self.candidates or self.candidates_column else "language_model",
        )

    @property
    def wanted(self) -> list[str]:
        """Names of the columns that it needs, the label second, where readers of files look for classes."""
        first, *rest = (*self.spec.columns, *self.spec.candidate_columns)
        return list(dict.fromkeys((first, self.label, *rest)))

    def _pairs(self) -> list[tuple[str, str]]:
        """(label, candidate) of each fixed candidate."""
        pairs = [text.partition("=") for text in self.candidates]
        if all(name.strip() and word.strip() for name, _, word in pairs):
            return [(name.strip(), word.strip()) for name, _, word in pairs]
        return [(text, text) for text in self.candidates]

    def task(self, name: str, title: str, evaluated: str) -> TaskSpec:
        """Make the task. ``evaluated``: name of the table that it is validated on."""
        prompt = self.spec
        return TaskSpec(
            name=name,
            title=title,
            source="file",
            text="",
            text_pair=None,
            label=self.label,
            labels=self.labels,
            metrics=METRICS_OF_KIND[prompt.kind],
            regimes=dict.fromkeys(("low", "medium", "high", "all")),
            evals={"validation": evaluated},
            objective="candidates" if prompt.trained_by == "candidates" else "generation",
            prompt=prompt,
        )

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values: what a snapshot records, for :func:`own_prompt_of`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class PromptTable:
    """Rows of a table that prompts are made of."""

    where: str
    """Name of the table in messages."""
    rows: Iterable[tuple[int, Sequence[Any]]]
    """Number of each row and its cells, in the order of :attr:`OwnPrompt.wanted`."""


def make_prompted_task(own: OwnPrompt, train: PromptTable, validation: PromptTable | None, name: str) -> TaskData:
    """Make a task to train on from two tables, or from one that is split as
    :func:`beft_core.tasks.own_table.make_task` splits it.

    Raises UserError for everything that can be wrong with the tables, with the row.
    """
    title = train.where if validation is None else f"{train.where} and {validation.where}"
    spec = own.task(name, title, (validation or train).where)
    examples = _examples(own, spec, train)
    require_rows(train.where, examples, MIN_TRAIN)
    if validation is None:
        examples, held = split(train.where, examples)
        source = (
            f"{train.where}, split into {len(examples)} training and {len(held)} validation examples: no validation "
            "file was given"
        )
    else:
        held = _examples(own, spec, validation)
        require_rows(validation.where, held, MIN_EVAL)
        source = f"{train.where} for training, {validation.where} for validation"
    return TaskData(spec, examples, {"validation": held}, source)


def scored_prompts(own: OwnPrompt, table: PromptTable, name: str) -> TaskData:
    """Make a task whose validation set is a whole table, to evaluate a fine-tune that was trained before."""
    spec = own.task(name, table.where, table.where)
    held = _examples(own, spec, table)
    require_rows(table.where, held, MIN_EVAL)
    return TaskData(spec, held.take([]), {"validation": held}, table.where)


def own_prompt_of(head: Mapping[str, Any]) -> OwnPrompt | None:
    """Read the prompt that a snapshot records of a task (:attr:`beft_core.snapshots.meta.SnapshotMeta.heads`); None of
    a task without one. Raises UserError for one that is no prompt.
    """
    recorded = head.get("prompt")
    if recorded is None:
        return None
    try:
        fields = dict(recorded)
        return OwnPrompt(**fields | {"candidates": tuple(fields.get("candidates") or ())})
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"got a snapshot with the prompt {str(recorded)[:80]}", "one of its own words") from error


def record_of(spec: TaskSpec) -> dict[str, Any]:
    """Make what a snapshot keeps of a table of the user's own beside labels, its columns or its prompt; nothing of
    others.
    """
    if spec.source != "file" or spec.prompt is None:
        return record_of_columns(spec)
    words = spec.prompt.candidates
    names = spec.labels or ()
    plain = words == names
    return {
        "prompt": {
            "template": spec.prompt.template,
            "label": spec.label,
            "candidates": list(words) if plain else [f"{name}={word}" for name, word in zip(names, words, strict=True)],
            "candidates_column": next(iter(spec.prompt.candidate_columns), None),
        }
    }


def _examples(own: OwnPrompt, spec: TaskSpec, table: PromptTable) -> Examples:
    def rows() -> Iterable[tuple[str, Row]]:
        for number, cells in table.rows:
            yield f"{table.where}, row {number}", dict(zip(own.wanted, cells, strict=True))

    return examples_of(spec, rows(), table.where)
