"""Other names of options: what users of transformers type, and older names. They work everywhere; help hides them."""

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
}
"""Options that another name may stand for, by that name; a command takes it for the first of these that it has."""


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


def closest(unknown: str, own: Iterable[str]) -> str | None:
    """Find the option that was most likely meant by a name that is none; None where nothing is close."""
    have = list(own)
    names = {name: option for option in have for name in (option, *others(option, have))}
    found = difflib.get_close_matches(_dashed(unknown), names, n=1)
    return names[found[0]] if found else None
