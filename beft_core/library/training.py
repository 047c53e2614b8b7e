"""Functions that need a model: select, train and evaluate, with settings, data and models as a notebook has them.

Torch is imported when one of them is called, and not before what it was given has been checked.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from beft_core.config import PROBE, PROBE_EVALUATES, RunConfig
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.library import arguments
from beft_core.library.arguments import Settings, Where, run_config
from beft_core.library.data import Given
from beft_core.library.progress import watching
from beft_core.library.reading import Source
from beft_core.library.scores import Scores
from beft_core.library.selection import Evaluation, Selection
from beft_core.library.snapshot import Snapshot, snapshot_of
from beft_core.library.words import in_python, keywords
from beft_core.merging.config import recorded
from beft_core.models.source import locate
from beft_core.tasks.examples import TaskData
from beft_core.tasks.registry import TASKS
from beft_core.training.observer import Observer
from beft_core.training.preconditions import checked_data, require_model, with_candidates

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from beft_core.models.biases import LoadedModel

    Model: TypeAlias = str | os.PathLike[str] | PreTrainedModel
    Table: TypeAlias = str | os.PathLike[str] | pd.DataFrame | Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]


@in_python
def train(
    config: RunConfig | None = None,
    *,
    model: Model | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: str | None = None,
    data: Table | None = None,
    eval_data: Table | None = None,
    texts: Sequence[str] | None = None,
    text_pairs: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    eval_texts: Sequence[str] | None = None,
    eval_text_pairs: Sequence[str] | None = None,
    eval_labels: Sequence[Any] | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    name: str | None = None,
    problem: str | None = None,
    terms: str | Iterable[str] | None = None,
    layers: int | str | Iterable[int] | None = None,
    n_train: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> Snapshot:
    """Fine-tune bias terms of a model on a task, and a head with them.

    ``model``: ``bundled``, a Hub id, a folder, or a loaded model of transformers with its ``tokenizer``, whose own
    weights stay as they are. ``task``: a name of ``beft tasks``; or ``data``: a DataFrame, a data set, a dict of
    columns, a list of rows or the path of a file, with the names of its columns ``text``, ``text_pair`` and ``label``;
    or ``texts`` with ``labels``. Without ``eval_data`` or ``eval_texts`` a fifth of them is held out. ``name``: what to
    call the data; ``problem``: ``classification`` or ``regression``, if the labels do not say it.

    ``terms``: bias terms, or one of all (BitFit), head, random, full; ``layers``: ``3``, ``"3-5"`` or a list.
    ``config``: settings to begin with; every other field of RunConfig is a keyword too, some also under the name that
    transformers' TrainingArguments have. ``checkpoint``: a file to go on from. ``progress``: False for none; or an
    ``observer``.

    Raises:
        UserError: everything that a user can put right, told in one line.
        FloatingPointError: the loss was not finite.
    """
    work = _prepared(
        config,
        settings,
        Given(
            data, eval_data, texts, text_pairs, labels, eval_texts, eval_text_pairs, eval_labels, text, text_pair, label
        ),
        (name, problem),
        (model, tokenizer),
        keywords_of(train),
        {"task": task, "terms": terms, "layers": layers, "n_train": n_train, "epochs": epochs, "lr": lr, "seed": seed},
    )
    file = _file(checkpoint)
    with watching(progress, observer) as watched:
        _, examples = _ready(watched, work)
        from beft_core.training import workflow

        return work.kept(workflow.train(work.config, watched, file, data=examples, base=work.base))


@in_python
def select(
    config: RunConfig | None = None,
    *,
    model: Model | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: str | None = None,
    data: Table | None = None,
    eval_data: Table | None = None,
    texts: Sequence[str] | None = None,
    text_pairs: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    eval_texts: Sequence[str] | None = None,
    eval_text_pairs: Sequence[str] | None = None,
    eval_labels: Sequence[Any] | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    name: str | None = None,
    problem: str | None = None,
    layers: int | str | Iterable[int] | None = None,
    n_train: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    then_train: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> Selection:
    """Select a bias term by the paper's method: fine-tune all of them, score how far each moved, take the best.

    ``then_train``: also fine-tune the selected term alone. Everything else is as in `train`; what is trained is not
    for this function to be told.

    Raises:
        UserError: everything that a user can put right, told in one line.
        FloatingPointError: the loss was not finite.
    """
    for keyword in ("terms", *PROBE):
        if keyword in settings:
            raise UserError(f"got {keyword} for a selection, which sets it itself", "other settings", "train(...)")
    work = _prepared(
        config,
        settings,
        Given(
            data, eval_data, texts, text_pairs, labels, eval_texts, eval_text_pairs, eval_labels, text, text_pair, label
        ),
        (name, problem),
        (model, tokenizer),
        keywords_of(select),
        {"task": task, "layers": layers, "n_train": n_train, "epochs": epochs, "lr": lr, "seed": seed},
    )
    file = _file(checkpoint)
    with watching(progress, observer) as watched:
        work, examples = _ready(watched, work, probe=True)
        from beft_core.training import workflow

        when = settings.get("evaluate", PROBE_EVALUATES if config is None else None)
        found = workflow.select(work.config, watched, file, then_train, evaluate=when, data=examples, base=work.base)
    probe = work.kept(found.snapshot)
    return Selection(probe, Scores.of(probe), work.kept(found.trained) if found.trained is not None else None)


@in_python
def evaluate(
    snapshot: Source,
    *,
    model: Model | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: str | None = None,
    data: Table | None = None,
    texts: Sequence[str] | None = None,
    text_pairs: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    name: str | None = None,
    biases: str = "post",
    progress: bool | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Where],
) -> Evaluation:
    """Put a snapshot, or a merge, back on its base model and score it on a task whose head it has.

    ``task``: of the registry; by default the only one that it has a head for. Or ``data``, or ``texts`` with
    ``labels``, all of which are scored, by the head called ``name`` (by default the only one). ``model``, with its
    ``tokenizer``: the base model, where it is not found under the name that the snapshot gives. ``biases``: ``post``,
    or ``pre`` for the base model under the snapshot's head.

    Raises:
        UserError: another base model, no head for the task, labels that it does not know, or changed weights.
    """
    opened = snapshot_of(snapshot)
    if biases not in ("post", "pre"):
        raise UserError(f"got biases = {str(biases)[:80]!r}", "post or pre")
    examples = Given(data, None, texts, text_pairs, labels, text=text, text_pair=text_pair, label=label)
    if examples.any and task is not None:
        raise UserError("got both a task and examples", "one of them", "name=..., for the head that they are of")
    scored = None
    if examples.any:
        scored = examples.scored(opened, name)
        about = f"{scored.source}, {len(scored.evals['validation'])} examples"
        given = recorded([opened], scored.spec.name)
    else:
        about = task if task is not None else only_task(opened)
        given = recorded([opened], about) | {"task": about}
    if isinstance(model, str | os.PathLike):
        given["model"] = model
    placed = arguments.named(settings, Where.__annotations__, keywords_of(evaluate))
    config = run_config(None, {**given, **placed})
    base = base_of(model, tokenizer)
    require_training()
    with watching(progress, observer) as watched:
        if base is None:
            watched.stage("find the model")
            locate(config.model)  # a name that leads nowhere is told before torch takes its seconds
        watched.stage("start PyTorch")
        from beft_core.training.evaluate import evaluate as evaluate_snapshot

        metrics = evaluate_snapshot(opened, config, biases=biases, observer=watched, data=scored, base=base)
    which = "" if biases == "post" else ", biases as before the fine-tune"
    return Evaluation(metrics, f"{opened.meta.task} ({opened.trained}) on {about}{which}")


# --- what they share -----------------------------------------------------------------------------------------------


def keywords_of(function: Callable[..., Any]) -> list[str]:
    """Keywords that a function names itself."""
    return [one.name for one in inspect.signature(function).parameters.values() if one.kind is one.KEYWORD_ONLY]


@dataclass(frozen=True)
class _Work:
    """Fine-tune as the engine takes it."""

    config: RunConfig
    data: TaskData | None
    """Examples in memory."""
    base: Copies | None
    """Copies a model in memory."""

    def kept(self, snapshot: Any) -> Snapshot:
        """Complete the snapshot of the engine; of examples in memory it says what they were."""
        made = Snapshot.of(snapshot)
        return made if self.data is None else made.with_source(self.data.source)


def _prepared(
    config: RunConfig | None,
    settings: Mapping[str, Any],
    examples: Given,
    named: tuple[str | None, str | None],
    model: tuple[Any, Any],
    keywords: Sequence[str],
    fields: Mapping[str, Any],
) -> _Work:
    """Check everything that can be checked without torch. ``named``: name and problem of the examples; ``model``: the
    model and its tokenizer; ``keywords``: of the function; ``fields``: of RunConfig, None where they were not given.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    name, problem = named
    base: dict[str, Any] = {}
    in_memory = examples.any and not examples.in_files
    if examples.any:
        if "task" in given:
            raise UserError("got both a task and examples", "one of them", "name=..., to call the examples something")
        base = examples.fields()
        if settings.get("prompt") is not None:
            if in_memory:
                raise UserError("got a prompt over examples in memory", "the path of a file", "data='films.jsonl'")
            base["text"] = examples.text  # a prompt names its columns
        if not in_memory:
            base |= {field: value for field, value in (("name", name), ("problem", problem)) if value is not None}
    elif name is not None or problem is not None:
        raise UserError(f"got {'name' if name is not None else 'problem'} without examples", "data or texts with it")
    elif "task" in given:
        base = dict.fromkeys(("train_file", "eval_file", "text", "text_pair", "label"))
    if isinstance(model[0], str | os.PathLike):
        given["model"] = model[0]
    made = run_config(config, {**given, **settings}, base, keywords)
    data = examples.task(name, problem) if in_memory else None
    return _Work(made, data, base_of(*model))


class Copies:
    """Makes copies of a loaded model, the first of them at once: what is wrong with it is told then."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        from beft_core.models.in_memory import copied

        self._copy = lambda: copied(model, tokenizer)
        self._first = [self._copy()]
        self.layout = self._first[0].layout

    def __call__(self) -> LoadedModel:
        """Give the next copy."""
        return self._first.pop() if self._first else self._copy()


def base_of(model: Any, tokenizer: Any) -> Copies | None:
    """Make what copies a loaded model; None for one that is named. Raises UserError for what is neither."""
    if model is None or isinstance(model, str | os.PathLike):
        if tokenizer is not None:
            raise UserError("got a tokenizer without a loaded model", "both", "model=AutoModel.from_pretrained(NAME)")
        return None
    require_training()
    return Copies(model, tokenizer)


def _file(checkpoint: str | os.PathLike[str] | None) -> Path | None:
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, str | os.PathLike):
        raise UserError(f"got checkpoint = {str(checkpoint)[:80]!r}", "the path of a file")
    path = user_path(checkpoint, "the checkpoint")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"got checkpoint = {str(checkpoint)[:80]!r}", "a file in a folder that exists")
    return path


def _ready(observer: Observer, work: _Work, probe: bool = False) -> tuple[_Work, TaskData]:
    """Read the examples, and check them and the model: what is wrong is told before torch takes its seconds.

    ``probe``: the work is that of a selection, which is returned with the biases that it adds.
    """
    require_training()
    config = work.config.probe() if probe else work.config
    for doubt in config.doubts():
        warnings.warn(keywords(doubt), stacklevel=4)  # at the line that called train or select
    data = checked_data(config, observer) if work.data is None else work.data
    if probe:
        work = _with_candidates(work, observer)
        config = work.config.probe()
    if work.base is None:
        require_model(config, observer)
    observer.stage("start PyTorch")
    return work, data


def _with_candidates(work: _Work, observer: Observer) -> _Work:
    """Add the biases that a selection compares where the model has none of them."""
    if work.base is None:
        observer.stage("find the model")
        layout = locate(work.config.model).layout
    else:
        layout = work.base.layout
    return replace(work, config=with_candidates(work.config, layout, observer))


def only_task(snapshot: Snapshot) -> str:
    """Find the task of the registry that a snapshot has a head for. Raises UserError unless there is exactly one."""
    known = [task for task in snapshot.meta.heads if task in TASKS]
    if len(known) != 1:
        heads = ", ".join(snapshot.meta.heads) or "none"
        raise UserError("got no task", f"one of the snapshot's heads: {heads}", "task=NAME, or data=..., or texts=...")
    return known[0]
