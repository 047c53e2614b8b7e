"""Other names of options and commands: what users of transformers type, and older names.

Names of :data:`ALIASES` work everywhere, and help hides them. What has no equal here is told: :data:`INSTEAD` says what
the lab does in its place, :data:`COMMANDS` which command was meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIASES: dict[str, tuple[str, ...]] = {
    "--learning-rate": ("--lr", "--lrs"),
    "--num-train-epochs": ("--epochs",),
    "--num-epochs": ("--epochs",),
    "--per-device-train-batch-size": ("--batch-size",),
    "--train-batch-size": ("--batch-size",),
    "--max-seq-length": ("--max-length",),
    "--max-seq-len": ("--max-length",),
    "--max-train-samples": ("--n-train",),
    "--max-grad-norm": ("--clip",),
    "--lr-scheduler-type": ("--schedule",),
    "--adam-eps": ("--adam-epsilon",),
    "--model-name-or-path": ("--model", "--base"),
    "--model-name": ("--model", "--base"),
    "--task-name": ("--task",),
    "--validation-file": ("--eval-file",),
    "--text-column-name": ("--text",),
    "--label-column-name": ("--label",),
    "--output": ("--out",),
    "--output-file": ("--out",),
    "--output-dir": ("--out",),
    "--overwrite-output-dir": ("--force",),
    "--evaluate-when": ("--evaluate",),
    "--eval-strategy": ("--evaluate",),
    "--evaluation-strategy": ("--evaluate",),
    "--max-eval-samples": ("--n-eval",),
    "--resume-from-checkpoint": ("--checkpoint",),
}
"""Options that another name may stand for, by that name; a command takes it for the first of these that it has."""


_FLOAT = ("biases and their gradients are float32 always, the frozen products may be bfloat16", "--precision bfloat16")
_WARM_UP = ("the learning rate has no warm-up; it is constant, or decays linearly", "--schedule linear")
_STATE = ("the state is saved every few seconds where a file for it is named", "--checkpoint FILE")
_COMMAND = "what is done is the command's name"
_LAST = ("the last epoch counts, as in the paper, and every epoch is in the snapshot", "--epochs N")

INSTEAD: dict[str, tuple[str, str]] = {
    "--fp16": _FLOAT,
    "--bf16": _FLOAT,
    "--tf32": _FLOAT,
    "--warmup-ratio": _WARM_UP,
    "--warmup-steps": _WARM_UP,
    "--max-steps": ("a fine-tune is as long as its epochs", "--epochs N"),
    "--gradient-accumulation-steps": ("a batch is one step, whatever memory takes it in", "--batch-size N"),
    "--per-device-eval-batch-size": ("validation batches are as large as memory likes", "--batch-size N, for training"),
    "--do-train": (_COMMAND, "beft train"),
    "--do-eval": (_COMMAND, "beft evaluate; beft train scores the validation set too"),
    "--do-predict": (_COMMAND, "beft evaluate"),
    "--save-steps": _STATE,
    "--save-strategy": _STATE,
    "--save-total-limit": _STATE,
    "--eval-steps": ("the validation set is scored after epochs", "--evaluate epoch"),
    "--logging-steps": ("every step is shown while it runs, every epoch is in the snapshot", "--evaluate epoch"),
    "--load-best-model-at-end": _LAST,
    "--metric-for-best-model": _LAST,
    "--early-stopping-patience": _LAST,
    "--optim": ("the optimizer is AdamW always", "--adam-epsilon X, --weight-decay RATE"),
    "--dataset-name": ("data sets are tasks of the lab, or files", "--task NAME, or --train-file FILE"),
    "--dataset-config-name": ("data sets are tasks of the lab, or files", "--task NAME, or --train-file FILE"),
    "--test-file": ("the second table is for validation", "--eval-file FILE"),
    "--no-cuda": ("the device has a name", "--device cpu"),
    "--use-cpu": ("the device has a name", "--device cpu"),
    "--gpu": ("the device has a name", "--device cuda"),
    "--target-modules": ("modules are chosen by the terms of their biases, in every architecture", "--targets q v"),
    "--torch-compile": ("layers are compiled on request", "--compile"),
    "--push-to-hub": ("a snapshot becomes a folder for the Hub, with an adapter and a card", "beft push FILE ORG/NAME"),
    "--trust-remote-code": ("code of a model is never run", "--model NAME, of an architecture in beft docs models"),
}
"""Options of transformers' scripts that have no equal -> what the lab does instead, and what to try."""

COMMANDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("finetune", "fine-tune", "fine_tune", "tune", "fit", "run"), ("train",)),
    **dict.fromkeys(("eval", "test", "validate"), ("evaluate",)),
    **dict.fromkeys(("infer", "inference", "ask"), ("predict",)),
    **dict.fromkeys(("probe", "choose", "bitfit"), ("select",)),
    **dict.fromkeys(("compare", "diff"), ("score", "merge")),
    **dict.fromkeys(("rank", "scores"), ("score",)),
    **dict.fromkeys(("show", "info", "describe", "cat", "view"), ("inspect",)),
    **dict.fromkeys(("grid", "search", "sweeps"), ("sweep",)),
    **dict.fromkeys(("average", "combine", "soup"), ("merge",)),
    **dict.fromkeys(("convert", "snapshot"), ("extract",)),
    **dict.fromkeys(("import", "adapter"), ("peft",)),
    "lora": ("train", "peft"),
    "save": ("export",),
    **dict.fromkeys(("table", "tables", "results"), ("report",)),
    **dict.fromkeys(("ui", "gui", "app", "serve", "web", "start"), ("dashboard",)),
    **dict.fromkeys(("list", "ls"), ("tasks", "models")),
    **dict.fromkeys(("data", "datasets", "download"), ("tasks",)),
    **dict.fromkeys(("help", "man", "doc"), ("docs",)),
}
"""Words that are typed for a command -> the commands that may be meant."""


def _dashed(option: str) -> str:
    """Write ``--learning_rate``, as transformers does, with dashes: ``--learning-rate``."""
    return option.replace("_", "-")


def canonical(option: str, own: Iterable[str]) -> str | None:
    """Find the option of a command that a name stands for, out of its ``own`` ones; None if it stands for none
    of them.
    """
    have, name = set(own), _dashed(option)
    return next((target for target in (name, *ALIASES.get(name, ())) if target in have), None)


def others(option: str, own: Iterable[str]) -> list[str]:
    """List the hidden names of one of a command's ``own`` options, each with dashes and with underscores."""
    have = set(own)
    names = [option, *(alias for alias in ALIASES if alias not in have and canonical(alias, have) == option)]
    both = [form for name in names for form in (name, f"--{name[2:].replace('-', '_')}")]
    return [name for name in dict.fromkeys(both) if name not in have]


def instead(option: str, own: Iterable[str]) -> tuple[str, str] | None:
    """Say what the lab does instead of an option of transformers, and what to try; None for another option, and for a
    command that does not have what there is to try.
    """
    found = INSTEAD.get(_dashed(option))
    if found is None or (found[1].startswith("--") and found[1].split()[0].rstrip(",") not in set(own)):
        return None
    return found


def closest_commands(typed: str, own: Iterable[str]) -> tuple[str, ...]:
    """Find the commands among ``own`` that a word which is none may have meant."""
    have = list(own)
    meant = tuple(name for name in COMMANDS.get(typed.lower(), ()) if name in have)
    return meant or tuple(difflib.get_close_matches(typed.lower().replace("_", "-"), have, n=1))


def closest(unknown: str, own: Iterable[str]) -> str | None:
    """Find the option that was most likely meant by a name that is none; None where nothing is close."""
    have = list(own)
    names = {name: option for option in have for name in (option, *others(option, have))}
    found = difflib.get_close_matches(_dashed(unknown), names, n=1)
    return names[found[0]] if found else None
