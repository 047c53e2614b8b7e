"""Keywords of the library's functions as settings of a fine-tune, checked so that no wrong value meets the engine.

Keywords are the fields of RunConfig, some also under the names that users of transformers and PEFT know.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.settings import aliases, arguments

NOT_KEYWORDS: dict[str, str] = {"mode": "terms", "train_file": "data", "eval_file": "eval_data", "table_sha256": "data"}
"""Keywords that say the same as fields of RunConfig that are no keywords, by the field."""
FIELDS = frozenset(field.name for field in dataclasses.fields(RunConfig)) - NOT_KEYWORDS.keys()
"""Fields of RunConfig that are keywords."""


def _keyword(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


ALIASES: dict[str, str] = {
    _keyword(alias): field
    for alias, options in aliases.ALIASES.items()
    if (field := next((name for name in map(_keyword, options) if name in FIELDS | NOT_KEYWORDS.keys()), None))
}
"""Name in transformers' TrainingArguments or its kin -> the field; the same as those of the command line."""


class Where(TypedDict, total=False):
    """Settings that an evaluation has too; `beft_core.config.RunConfig` says what each means and is by default."""

    data_dir: str | None
    n_eval: int | None
    max_length: int
    precision: Literal["float32", "bfloat16"]
    device: Literal["auto", "cpu", "cuda", "mps"]


class Settings(Where, total=False):
    """Settings of a fine-tune beyond those that the functions name themselves."""

    targets: str | Iterable[str] | None
    rank: int | None
    alpha: float | None
    virtual_tokens: int | None
    prompt: str | None
    candidates: str | Iterable[str] | None
    candidates_column: str | None
    hold_out: int | None
    demonstrations: int
    train_null: bool
    rewrite_scale: float | None
    add_bias: str | Iterable[str]
    regime: Literal["low", "medium", "high", "all"] | None
    preset: Literal["quick", "paper"]
    sampler: Literal["generator", "randomstate"] | None
    inputs: Literal["lab", "paper"] | None
    schedule: Literal["constant", "linear"] | None
    batch_size: int
    dropout: bool
    weight_decay: float
    adam_epsilon: float | None
    adam_epsilon_at: Literal["before", "after"] | None
    clip: float
    pad: str
    compile: bool
    gradient_checkpointing: bool
    plain: bool
    evaluate: Literal["epoch", "last", "never"]
    trajectory_every: int | None
    fisher: bool
    fisher_tuned: bool
    fisher_examples: int | None
    record_wall_seconds: bool


def run_config(
    config: object, given: Mapping[str, Any], base: Mapping[str, Any] | None = None, also: Iterable[str] = ()
) -> RunConfig:
    """Make the configuration of a fine-tune: ``config``, or the default, with what was ``given`` as keywords.

    ``base``: fields that the function knows otherwise. ``also``: further keywords of the function, which a misspelt one
    may have meant.

    Raises:
        UserError: an unknown keyword, a value of the wrong type or out of bounds, or settings that do not fit.
    """
    if config is not None and not isinstance(config, RunConfig):
        raise UserError(
            f"got a {type(config).__name__} as the first argument", "a RunConfig, or keywords alone", "terms='v'"
        )
    values = {**({} if config is None else config.to_dict()), **(base or {})}
    for name, value in named(given, FIELDS, also).items():
        values |= _READ[name](value) if name in _READ else {name: _plain(value)}
    made = RunConfig.from_dict(arguments.limited(values))
    made.resolved()
    return made


def named(given: Mapping[str, Any], fields: Iterable[str], also: Iterable[str] = ()) -> dict[str, Any]:
    """Give the values of keywords by the fields that they name, some by another name of :data:`ALIASES`.

    Raises:
        UserError: a keyword that names none of ``fields``, with the one that may have been meant, also one of ``also``;
            or a field that is named twice.
    """
    known = set(fields)
    aliases_here = {alias: field for alias, field in ALIASES.items() if field in known}
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        field = aliases_here.get(name, name)
        if field not in known:
            other = aliases.instead(f"--{name}", [f"--{one.replace('_', '-')}" for one in (*known, *also)])
            if other is not None:
                raise UserError(f"got the unknown keyword {name}: {other[0]}", try_=other[1])
            names = sorted({*known, *aliases_here, *also})
            meant = NOT_KEYWORDS.get(ALIASES.get(name, name)) or next(
                iter(difflib.get_close_matches(name, names, 1)), ""
            )
            raise UserError(f"got the unknown keyword {name}", f"one of {', '.join(names)}", meant)
        if field in chosen:
            raise UserError(f"got both {name} and {field}", "one of them")
        chosen[field] = value
    return chosen


def listed(name: str, value: object) -> list[str]:
    """Read one word or several as a list of words. Raises UserError for anything else."""
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple | set | frozenset) or not all(isinstance(one, str) for one in several):
        raise UserError(f"got {name} = {str(value)[:80]!r}", "a text, or a list of texts", f"{name}=['q', 'v']")
    return list(several)


def _terms(value: object) -> dict[str, Any]:
    return {"mode": "terms"} | dict(arguments.terms_and_mode(listed("terms", value)))


def _layers(value: object) -> dict[str, Any]:
    """Read layers from ``3``, ``"3-5"``, ``range(3, 6)`` or ``[3, 4, 5]``; None: all."""
    if value is None:
        return {"layers": None}
    if isinstance(value, str):
        return {"layers": arguments.layers([value])}
    several = [value] if isinstance(_plain(value), int) else value
    numbers = [_plain(one) for one in several] if isinstance(several, list | tuple | range | set) else [None]
    if not numbers or not all(type(one) is int for one in numbers):
        raise UserError(
            f"got layers = {str(value)[:80]!r}", "layer numbers from 0 on", "layers='3-5', or layers=[3, 4]"
        )
    return {"layers": tuple(sorted(set(numbers)))}


def _plain(value: object) -> object:
    """Turn paths and the scalars of numpy, torch and pandas into what JSON has."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if (
        not isinstance(value, str | bool | int | float)
        and getattr(value, "shape", None) == ()
        and hasattr(value, "item")
    ):
        return value.item()
    return value


_READ: dict[str, Any] = {
    "targets": lambda value: {"targets": None if value is None else arguments.joined_terms(listed("targets", value))},
    "terms": _terms,
    "layers": _layers,
    "add_bias": lambda value: {"add_bias": arguments.words(listed("add_bias", value))},
    "candidates": lambda value: {"candidates": None if value is None else tuple(listed("candidates", value))},
}
"""Readers of keywords by field, where a keyword may be more than the field's own type."""
