"""Checks of a fine-tune or an evaluation before it starts, without PyTorch, whose import takes longer than all of them.

What they read for it, the examples, is given on, so that nothing is read twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from beft_core.architectures.layout import Layout
from beft_core.architectures.targets import target_slots
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.extras import require_methods
from beft_core.methods import method_of
from beft_core.models.source import locate
from beft_core.presets import INPUTS
from beft_core.snapshots.adapter_folder import CONFIG, AdapterFolder, read_adapter
from beft_core.snapshots.snapshot import Snapshot, adapter_beside
from beft_core.tasks.examples import TaskData, subsample
from beft_core.tasks.load import load_task
from beft_core.tasks.own_table import columns_of
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources.official import find_folder
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.tasks.spec import TaskSpec
from beft_core.training.observer import Observer

# --- a fine-tune ---------------------------------------------------------------------------------------------------


def read_data(config: RunConfig) -> TaskData:
    """Load the task of a run, one of the registry or the user's own files, with all its validation examples, or with
    the training examples that the run sets aside instead.

    Raises:
        UserError: no such task or file, one that cannot be read as it should, or too few examples to set some aside.
    """
    table = config.table
    whole = table.load() if table is not None else None
    if whole is None:
        whole = load_task(config.task, folder=config.data_dir, inputs=config.inputs or "lab")
    return whole.held_out(config.hold_out)


def checked_data(config: RunConfig, observer: Observer) -> TaskData:
    """Load the task of a run as :func:`read_data`, and check that it has the training examples that the run draws.

    Raises:
        UserError: as :func:`read_data`, and for fewer examples than the run wants.
    """
    observer.stage("load data")
    resolved = config.resolved()
    data = read_data(resolved)
    require_something_to_train(resolved, data.spec)
    if resolved.method.trains:
        subsample(data.train, resolved.n_train, resolved.seed, resolved.sampler or "generator")
    return data


def require_something_to_train(config: RunConfig, spec: TaskSpec) -> None:
    """Check that a method can train here, and trains what the task has: prompts are answered without a head, others
    not.

    Raises:
        UserError: a head that there is not, an answer without one, or a method whose library is not installed.
    """
    if config.method.adapter is not None:
        require_methods(config.mode)
    if spec.prompt is None and not config.method.trains:
        raise UserError(
            f"got --terms {config.mode} for {spec.name}, whose answers a head gives that must be trained",
            "a task of prompts",
            "--task prompt-sst2, or --terms head",
        )
    if config.fisher and not config.method.trains:
        raise UserError(f"got --fisher with --terms {config.mode}", "a fine-tune, which draws training examples")
    if spec.prompt is not None:
        _require_no_head(config, spec.name)


def _require_no_head(config: RunConfig, task: str) -> None:
    if config.mode == "head":
        raise UserError(
            f"got --terms head for {task}, whose prompts a language model answers without a trained head",
            "bias terms",
            "--terms v (with --add-bias v for a model without biases), or --terms none for the model as it is",
        )


def require_data(configs: Iterable[RunConfig]) -> None:
    """Check that the data of many runs are there: tables of the user's own are read, of other tasks the folder is
    looked for.

    Raises:
        UserError: as :func:`read_data`, and for tables with fewer examples than a run wants.
    """
    most: dict[tuple[str, OwnTable | None], RunConfig] = {}
    for config in configs:
        key = (config.task, config.table)
        if key not in most or (config.n_train or 0) > (most[key].n_train or 0):
            most[key] = config
    for (task, table), config in most.items():
        if table is not None:
            subsample(table.load().train, config.n_train, config.seed)
        elif (spec := get_task(task)).source != "demo":
            find_folder(spec, config.data_dir)


def require_model(config: RunConfig, observer: Observer) -> None:
    """Find the model of a run, and check that it has the terms and the layers that the run trains, and that it can
    answer prompts where the task has some.

    Raises:
        UserError: no such model, terms, layers or language-model head.
    """
    observer.stage("find the model")
    layout = locate(config.model).layout
    with_added = layout.with_added(config.add_bias)
    wanted_terms(config, with_added)
    require_targets(config, layout)
    require_biases(config, with_added)
    if answers_prompts(config):
        require_language_model(layout)


def with_candidates(config: RunConfig, layout: Layout, observer: Observer) -> RunConfig:
    """Let a selection add zero biases b_q, b_k and b_v to a model that has none of them, unless it says what it adds.

    ``observer`` hears of it.
    """
    added = () if config.add_bias else layout.candidates_to_add()
    if not added:
        return config
    observer.message(
        f"this {layout.model_type} model has none of b_q, b_k and b_v: zero ones are added and trained "
        f"(--add-bias {' '.join(added)})"
    )
    return dataclasses.replace(config, add_bias=added)


def require_models(configs: Iterable[RunConfig], observer: Observer) -> None:
    """Check the models of many runs as :func:`require_model` does, once for all runs that train the same parts.

    Raises:
        UserError: as :func:`require_model`.
    """
    observer.stage("find the model")
    first: dict[tuple[object, ...], RunConfig] = {}
    for config in configs:
        trained = (config.mode, config.terms, config.targets, config.layers, config.add_bias)
        first.setdefault((config.model, answers_prompts(config), *trained), config)
    for config in first.values():
        if answers_prompts(config):
            _require_no_head(config, config.task)
        require_model(config, Observer())


def answers_prompts(config: RunConfig) -> bool:
    """Say whether the task of a run is one of prompts; nothing of it is read."""
    return config.prompt is not None or (config.train_file is None and get_task(config.task).prompt is not None)


def require_biases(config: RunConfig, layout: Layout) -> None:
    """Check that a model has bias terms, if without one there is nothing to train or a snapshot would hold nothing.

    ``layout``: of the model, with the biases that the run adds.

    Raises:
        UserError: it has none.
    """
    if not layout.terms and (config.method.needs_biases or answers_prompts(config)):
        addable = layout.candidates_to_add()
        raise UserError(
            f"got a {layout.model_type} model without a bias term for --method {config.mode}, which leaves nothing to "
            "train or to keep",
            "a model with biases, or zero ones, which change nothing before they are trained",
            f"--add-bias {' '.join(addable)}" if addable else "",
        )


def require_targets(config: RunConfig, layout: Layout) -> None:
    """Check that a model has the modules that an adapter wraps.

    Raises:
        UserError: it lacks some, has them in one matrix with others, or the PEFT library cannot wrap them.
    """
    adapter = config.method.adapter
    if adapter is None or not adapter.wraps:
        return
    if layout.inputs_first and not adapter.conv1d:
        raise UserError(
            f"got --method {config.mode} for {layout.model_type}, whose projections are Conv1D",
            "a model of linear modules, which are all that PEFT can wrap for it",
            "--terms v, which trains the same biases",
        )
    target_slots(layout, config.targets or adapter.targets, config.layers, config.mode)


def require_language_model(layout: Layout) -> None:
    """Check that a model can answer prompts.

    Raises:
        UserError: it has no language-model head.
    """
    if layout.lm is None:
        raise UserError(
            f"got {layout.model_type}, which is no language model, for a task of prompts",
            "a decoder, which goes on with a text",
            "--model gemma-3-270m, or the task without prompt-",
        )


def wanted_terms(config: RunConfig, layout: Layout) -> tuple[str, ...]:
    """List the bias terms that a run asks for in a model; none where its method trains none.

    Raises:
        UserError: terms or layers that the model does not have.
    """
    if not config.method.trains_terms:
        return ()
    wanted = config.method.terms(config.terms, layout.terms)
    layout.require(wanted)
    if config.layers is not None and max(config.layers) >= layout.layers:
        raise UserError(f"got layer {max(config.layers)}", f"0 to {layout.layers - 1}, the layers of this model")
    return wanted


def stands_alone(config: RunConfig, layout: Layout) -> bool:
    """Say whether a run can share no pass with others: it trains a bias, or a matrix, in which rows of one pass cannot
    differ.
    """
    method = config.method
    trained = method.terms(config.terms, layout.terms) if method.trains_terms else ()
    if method.adapter is not None:
        trained = config.targets or method.adapter.targets
    return not set(trained).isdisjoint(layout.reads_positions)


# --- an evaluation -------------------------------------------------------------------------------------------------


def refuse_before_text(mode: str) -> None:
    """Refuse a method whose vectors stand before the text.

    Raises:
        UserError: it is one.
    """
    if method_of(mode).before_text:
        raise UserError(
            f"got a snapshot of mode {mode}, whose vectors stand before the text",
            "a method that changes weights or biases, which a plain model has a place for",
            "the adapter itself, which PeftModel.from_pretrained loads",
        )


def with_adapter(snapshot: Snapshot, file: Path) -> Snapshot:
    """Give a snapshot that was read from ``file`` the adapter that lies beside it, if its method left one.

    Raises:
        UserError: the adapter is not there, is damaged, or is that of another fine-tune; or the library that puts it
            into a model is not installed.
    """
    if method_of(snapshot.meta.mode).adapter is None:
        return snapshot
    require_methods(snapshot.meta.mode)
    snapshot.adapter = own_adapter(snapshot, file)
    return snapshot


def own_adapter(snapshot: Snapshot, file: Path) -> AdapterFolder:
    """Read the adapter of a snapshot that was read from ``file``: from the folder beside it, or, as ``beft push``
    writes it for the Hub, from the folder in which both lie.

    Raises:
        UserError: the adapter is not there, is damaged, or is that of another fine-tune.
    """
    folder = adapter_beside(file)
    if not folder.exists() and (file.parent / CONFIG).is_file():
        folder = file.parent
    adapter = read_adapter(folder)
    if adapter.digest() != snapshot.meta.provenance.get("adapter"):
        raise UserError(
            f"got {folder}, which is not the adapter of {file.name}",
            "the folder that the same fine-tune wrote",
            "copying both together",
        )
    return adapter


def head_of(snapshot: Snapshot, task: str) -> dict[str, np.ndarray]:
    """Read what a snapshot keeps for a task besides its bias terms: part of a bank -> float32 of the part's shape.

    Of a prompted task there is no head among them: the model's own language-model head is read.

    Raises:
        UserError: the snapshot has no head for the task.
    """
    prefix = f"extra.{task}."
    head = {name.removeprefix(prefix): value for name, value in snapshot.extra.items() if name.startswith(prefix)}
    if "head.weight" not in head and not snapshot.meta.is_prompted(task):
        have = sorted(snapshot.meta.heads) or ["none"]
        raise UserError(f"got a snapshot without a head for {task}", f"one of its tasks: {', '.join(have)}")
    return head


def outputs_of(head: Mapping[str, np.ndarray]) -> int | None:
    """Count the outputs of a head that :func:`head_of` read; None: the model's own language-model head is read."""
    return len(head["head.weight"]) if "head.weight" in head else None


def require_suited(snapshot: Snapshot, spec: TaskSpec) -> None:
    """Raises UserError where a task does not suit the head of its name: other labels, or the same in another order; of
    a table of the user's own also one text for a head that was trained on pairs, or pairs for one that was not.
    """
    recorded = snapshot.meta.heads.get(spec.name)
    if recorded is None:
        return
    if spec.source != "file" and sorted(recorded.get("labels") or ()) != sorted(spec.labels or ()):
        return  # of the lab's tasks a head from elsewhere may know the classes by other names, or by none
    columns = columns_of(recorded)
    if columns is not None and (columns.text_pair is None) != (spec.text_pair is None):
        got, expected = ("pairs of texts", "one text each") if columns.text_pair is None else ("one text each", "pairs")
        raise UserError(
            f"got {spec.title} with {got} for the head {spec.name}",
            f"{expected}, as it was trained",
            "--text-pair COLUMN" if columns.text_pair is not None else "the same without a second text",
        )
    labels = recorded.get("labels")
    known = None if labels is None else tuple(labels)
    if (recorded["kind"], known) != (spec.target.kind, spec.labels):
        what = spec.target.kind if spec.labels is None else ", ".join(spec.labels[:8])
        head = str(recorded["kind"]) if known is None else ", ".join(known[:8])
        raise UserError(
            f"got {spec.title} with the labels {what}",
            f"those of the head {spec.name}: {head}",
            "beft evaluate --file, which reads labels as the head has them",
        )


def inputs_of(snapshot: Snapshot, task: str) -> str:
    """Find out which columns the head of a task was trained on: a key of :data:`beft_core.presets.INPUTS`."""
    recorded = snapshot.meta.heads.get(task, {}).get("inputs")
    return recorded if isinstance(recorded, str) and recorded in INPUTS else "lab"
