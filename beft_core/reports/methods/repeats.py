"""Rows of one method that stand in a table of comparisons several times: which of them counts, and what is left out.

Two comparisons of one task, model and number of training examples may share methods, such as a later one with more of
them. Whoever reads a table by method would get whichever row came last. Rows of other conditions
(:mod:`beft_core.reports.methods.conditions`) stand in each other's place too, and what is said of them tells those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from beft_core.reports.methods.conditions import conditions

KEY = ("task", "model", "n_train", "setting", "trains")
"""Columns that no two rows agree in."""
RULE = "a row with a number counts before one without, then the one of more seeds, then the first"
"""Rule by which one of several rows is chosen."""
MAX_NAMED = 20
"""Most rows that are named of those that were left out."""


def key_of(row: Mapping[str, Any], trains: str = "trains") -> tuple[Any, ...]:
    """Make the key of a row; ``trains``: the column that has its method, of a pair ``first`` or ``second``."""
    return tuple(None if _is_nan(row[name]) else row[name] for name in (*KEY[:-1], trains))


def without_repeats(rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], tuple[str, ...]]:
    """Choose one row of each key, by :data:`RULE`.

    Returns the positions of the rows that stay, in order, and a sentence for every row that is left out and is not the
    same as the one that stays.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    for at, row in enumerate(rows):
        found.setdefault(key_of(row), []).append(at)
    kept, said = [], []
    for positions in found.values():
        best = max(positions, key=lambda at: (*_worth(rows[at]), -at))
        kept.append(best)
        said += [_sentence(rows[best], rows[at]) for at in positions if at != best and not _equal(rows[at], rows[best])]
    return sorted(kept), tuple(said)


def in_words(left_out: Sequence[str]) -> str:
    """Say in one sentence what was left out, the first few by name; empty where nothing was."""
    if not left_out:
        return ""
    more = f"; and {len(left_out) - MAX_NAMED:,} more" if len(left_out) > MAX_NAMED else ""
    return f"rows that stood in the place of another ({RULE}): {'; '.join(left_out[:MAX_NAMED])}{more}"


def _worth(row: Mapping[str, Any]) -> tuple[bool, float]:
    done = row["state"] == "done" and not _is_nan(row["value"])
    return done, 0.0 if _is_nan(row["seeds"]) or row["seeds"] is None else float(row["seeds"])


def _where(row: Mapping[str, Any]) -> str:
    size = "" if _is_nan(row["n_train"]) or row["n_train"] is None else f", {row['n_train']:,.0f} examples"
    return f"{row['label'] or row['trains']} on {row['task']} ({row['model']}{size}), {row['setting']}"


def _sentence(stays: Mapping[str, Any], leaves: Mapping[str, Any]) -> str:
    """Say which of two rows counts; where they are of other conditions, of which."""
    apart = conditions(stays) != conditions(leaves)
    first, second = (_number(row) + f" ({conditions(row)})" * apart for row in (stays, leaves))
    return f"{_where(leaves)}: {first} counts, {second} is left out"


def _number(row: Mapping[str, Any]) -> str:
    """Write a row's number, with what tells it from another."""
    done, seeds = _worth(row)
    if not done:
        return "one without a number"
    rate = "" if _is_nan(row["lr"]) or row["lr"] is None else f" at {row['lr']:g}"
    return f"{100 * row['value']:.1f} of {seeds:.0f} seed{'s' * (seeds != 1)}{rate}"


def _equal(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return all(first[name] == second[name] or (_is_nan(first[name]) and _is_nan(second[name])) for name in first)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
