"""Captions of the tables: whose numbers they are, at which learning rate, and why one is missing."""

from __future__ import annotations

import pandas as pd

from beft_core.reports import paper
from beft_core.reports.seed_means import LR_CHOICES, Key, LrChoice, Runs
from beft_core.tasks.registry import TASKS
from beft_core.terms import TERMS

SPREAD = "± is the standard deviation over seeds (n − 1)"
DAGGER = (
    "† selected by projection ratio: what most of the probes (all biases trained) select at the learning rate that the "
    "same choice gives them, or at any where no probe has it"
)
MISMATCHED = "a result table has one metric per fine-tune, here that on the matched validation set"


def ours_of(runs: Runs, model: str) -> str:
    """Name the model and data of our numbers."""
    size = runs.rows.loc[runs.rows["model"] == model, "total_parameters"].max()
    about = f" ({size / 1e6:,.1f} million parameters)" if pd.notna(size) else ""
    name = f"{model}, the lab's bundled all-MiniLM-L6-v2" if model == "bundled" else model
    return f"{name}{about}; validation sets"


def paper_of(table: str) -> str:
    """Name the model, data and source of the paper's numbers."""
    rows: pd.DataFrame = getattr(paper, table)()
    names = ", ".join(rows["model"].unique())
    return f"{names} on {rows['data'][0]} ({rows['source'][0]})"


def lr_note(choice: LrChoice) -> str:
    """Say at which learning rate a table takes its numbers."""
    where = LR_CHOICES.get(choice) if isinstance(choice, str) else f"all at {choice:g}"
    return f"learning rate: {where}"


def key_of(task: str) -> str:
    """Get the lab's name of a task that the paper lists."""
    return "mnli" if task in ("mnli_m", "mnli_mm") else task


def label(runs: Runs, task: str) -> str:
    """Write a task as the paper does, with the metric that counts."""
    spec = TASKS.get(key_of(task))
    metric = runs.metric(key_of(task)) or (spec.metrics[0] if spec else "")
    name = paper.task_labels().get(task, task)
    return f"{name} ({metric})" if metric else name


def no_task(task: str) -> str:
    """Say why a task that the lab has not is without numbers."""
    return f"{paper.task_labels().get(task, task)} is not a task of this lab"


def missing(runs: Runs, key: Key, choice: LrChoice) -> str:
    """Say why a fine-tune has no number."""
    model, task, regime, trains = key
    if task not in TASKS and not runs.has_task(task):
        return no_task(task)
    for known, what in enumerate(
        (
            f"no run of {model}",
            f"no run of {task} in the table",
            f"no run of {task} in the {regime} regime in the table",
            f"no run that trains {trains} on {task} in the {regime} regime",
        ),
        1,
    ):
        if not runs.has(*key[:known]):
            return what
    fine_tunes, failed, failure = runs.counted(key)
    if failed == fine_tunes:
        return f"all {failed} fine-tunes failed ({failure or 'no reason given'})"
    if choice != "best" and runs.at(key, "best"):
        lr = runs.named_lr(key, choice)
        return (
            f"no finished run at the learning rate {lr:g}" if lr else "no finished run of v that names a learning rate"
        )
    return "the finished fine-tunes have no metric"


def symbol(term: str) -> str:
    """Write the paper's symbol of a bias term; anything else as it is."""
    return TERMS[term].symbol if term in TERMS else term


def needs(name: str, runs: Runs, prompted: str = "") -> str:
    """Say why a model of the paper is without numbers, and how to get them. ``prompted``: the task of a decoder."""
    have = "the bundled model only; " if runs.models == ["bundled"] else f"no run of {name}; "
    command = f"beft compare-methods --task prompt-{prompted}" if prompted else "beft sweep"
    return f"{have}needs {name} from the Hub: {command} --model {paper.models()[name]}"
