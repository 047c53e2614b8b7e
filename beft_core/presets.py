"""Presets: settings that fill in what a fine-tune leaves open, and what older records mean that lack a setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from beft_core.architectures.layout import Layout
from beft_core.errors import UserError
from beft_core.models.source import locate
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.registry import TASKS, get_task
from beft_core.tasks.spec import TaskSpec

EPSILON_PLACES: dict[str, str] = {
    "before": "added to the root of the second moment before its bias correction, as transformers 4.41's AdamW does "
    "(the epsilon-hat of Kingma and Ba, https://arxiv.org/abs/1412.6980, section 2)",
    "after": "added after the bias correction, as torch.optim.AdamW does (their Algorithm 1)",
}
"""Places where AdamW can add its epsilon, each with its description. Before the correction it weighs 1 / sqrt(1 -
beta2^t) times as much: 32 times in the first step, 3.6 times in the eightieth.
"""
SAMPLERS: dict[str, str] = {
    "generator": "numpy's default_rng([seed, 0]).permutation",
    "randomstate": "numpy's legacy RandomState(seed).permutation, as the authors' np.random.seed(seed) and "
    "np.random.permutation draw",
}
"""Ways in which a seed draws the training examples, each with its description. Both take the first N of a permutation
of the training set in its order.
"""
INPUTS: dict[str, str] = {
    "lab": "the columns that the task is about: WiC's word stands before its first sentence",
    "paper": "the columns that the authors feed: of WiC the two sentences alone, without the word",
}
"""Choices of the columns of a task that are read, each with its description; they differ for tasks with a
``paper_text``, which WiC alone has.
"""


@dataclass(frozen=True)
class Preset:
    """Settings of a preset that are the same for all tasks; learning rates and epochs are the task's."""

    schedule: str
    adam_epsilon: float
    adam_epsilon_at: str
    """Place of AdamW's epsilon, a key of :data:`EPSILON_PLACES`."""
    sampler: str
    """Sampler, a key of :data:`SAMPLERS`."""
    inputs: str
    """Choice of inputs, a key of :data:`INPUTS`."""


PRESETS: dict[str, Preset] = {
    # The authors call transformers.optimization.AdamW, whose default epsilon is 1e-6, with correct_bias=True.
    "paper": Preset("constant", 1e-6, "before", "randomstate", "paper"),
    "quick": Preset("linear", 1e-8, "after", "generator", "lab"),
}
"""Presets by name, with the settings that they fill in: the authors' settings, or ours that suit a small model."""

BUILT_IN: dict[str, Any] = {name: value for name, value in asdict(PRESETS["quick"]).items() if name != "schedule"}
"""Settings that were built in, to these values, before they could be chosen: what a record without them means."""
LATER: dict[str, Any] = {
    "plain": False,
    "gradient_checkpointing": False,
    "name": None,
    "problem": None,
    "n_eval": None,
    "table_sha256": None,
    "rewrite_scale": None,
    "hold_out": None,
    "demonstrations": 0,
    "prompt": None,
    "candidates": None,
    "candidates_column": None,
    "targets": None,
    "rank": None,
    "alpha": None,
    "virtual_tokens": None,
}
"""Settings that came later, with what a record without them means."""
MAX_SCALE = 1000.0
"""Largest factor by which weights are scaled against each other, and, inverted, the smallest."""
RECORD_VERSION = 2
"""Version of the configurations in run and sweep folders. Those of version 1 carry no number and lack :data:`BUILT_IN`.
"""


def paper_epochs(task: TaskSpec, layout: Layout | None) -> int | None:
    """Number of epochs that the authors train a task on a model; None where they depend on the model and that is not
    known.
    """
    if task.epochs_larger is None:
        return task.epochs
    return None if layout is None else task.epochs_larger if beyond_bert_base(layout) else task.epochs


def beyond_bert_base(layout: Layout) -> bool:
    """Whether the authors' longer training applies, which they use for RoBERTa-base and BERT-large: RoBERTa of any
    size, and every model that is deeper or wider than BERT-base."""
    return layout.model_type == "roberta" or layout.layers > 12 or layout.hidden_size > 768


def limited(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the fields of a run of a prompted task, or of a prompt over a table of the user's own, how many tokens it
    may have, and under the ``paper`` preset the authors' number of examples per step. What is there stays.

    Raises UserError for a task that there is not.
    """
    task = fields.get("task")
    if fields.get("train_file") is not None:
        own = fields.get("prompt") is not None
        return {"max_length": PromptSpec.max_length, **fields} if own else dict(fields)
    prompt = get_task(task).prompt if isinstance(task, str) else None
    if prompt is None:
        return dict(fields)
    of_paper = {"batch_size": prompt.batch_size} if fields.get("preset") == "paper" else {}
    return {"max_length": prompt.max_length, **of_paper, **fields}


def layout_here(model: str) -> Layout | None:
    """Layout of a model whose files are on this machine, else None: what is wrong with a name is told by whoever
    loads the model."""
    try:
        return locate(model, local_only=True).layout
    except UserError:
        return None


def completed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the configuration of a fine-tune's folder of version 1 with the ``paper`` preset, as it was meant then:
    with :data:`BUILT_IN`, and with BERT-base's epochs whatever the model. That of any other preset stays as it is.

    ``fields``: of a RunConfig.
    """
    if fields.get("preset") != "paper":
        return dict(fields)
    task = TASKS.get(str(fields.get("task", "demo-sentiment")))
    epochs = fields.get("epochs")
    if epochs is None and task is not None and fields.get("train_file") is None:
        epochs = task.epochs
    return {**BUILT_IN, **fields, "epochs": epochs}


def completed_sweep(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the grid of a sweep folder of version 1, as :func:`completed` does for a fine-tune.

    ``fields``: of a SweepSpec, whose epochs differ by task: ``task_epochs``.
    """
    settings = fields.get("settings")
    if not isinstance(settings, Mapping) or settings.get("preset") != "paper":
        return dict(fields)
    then = {"task_epochs": _epochs_then(fields.get("tasks"))} if settings.get("epochs") is None else {}
    return {**fields, **then, "settings": {**BUILT_IN, **settings}}


def _epochs_then(tasks: object) -> dict[str, int]:
    """Epochs by task, of those tasks for which the ``paper`` preset of version 1 had others on a larger model."""
    names = tasks if isinstance(tasks, list | tuple) else ()
    found = [TASKS[name] for name in names if isinstance(name, str) and name in TASKS]
    return {task.name: task.epochs for task in found if task.epochs_larger is not None}


def chosen(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration without those that say what was built in before they could be chosen: what names a
    fine-tune in checkpoints and sweep folders, so that those from before the settings existed keep their names.
    """
    built_in = {**BUILT_IN, **LATER}
    return {name: value for name, value in fields.items() if name not in built_in or value != built_in[name]}


def hyperparameters(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters of a snapshot; those in :data:`BUILT_IN` are added to one of the lab's from before they could be
    chosen.
    """
    return {**(BUILT_IN if recorded.get("optimizer") == "AdamW" else {}), **recorded}
