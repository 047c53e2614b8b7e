"""Values of the command line: several words after one flag, ranges of layers, modes among the terms."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from beft_core.errors import UserError
from beft_core.merging.methods import flags
from beft_core.presets import limited as limited
from beft_core.settings.aliases import canonical
from beft_core.terms import TERM_KEYS

_NUMBERS = re.compile(r"[-+]?[0-9.][0-9.,e+-]*")
_WORDS = re.compile(r"[^-].*")

SEVERAL = {
    "--terms": _WORDS,
    "--add-bias": _WORDS,
    "--targets": _WORDS,
    "--layers": _NUMBERS,
    "--tasks": _WORDS,
    "--regimes": _WORDS,
    "--n-train": _NUMBERS,
    "--lrs": _NUMBERS,
    "--probe-lrs": _NUMBERS,
    "--merges": _WORDS,
    "--methods": _WORDS,
    "--devices": _WORDS,
    "--candidates": _WORDS,
    "--lambdas": _NUMBERS,
    "--snapshots": _WORDS,
    "--join": _WORDS,
}
"""Patterns of a further word, by the flag that takes several; those of merge methods come from their registry."""
PATHS: tuple[str, ...] = ("--snapshots", "--join")
"""Flags of several paths: a path may hold a comma or a space, so the flag is repeated instead of its words joined."""


def join_values(arguments: Sequence[str]) -> list[str]:
    """Join ``--terms v q`` to ``--terms v,q``, so that a parser of fixed numbers of values takes it; paths are not
    joined, ``--snapshots a b`` becomes ``--snapshots a --snapshots b``.
    """
    several = SEVERAL | {parameter.flag: _NUMBERS for parameter, _ in flags().values() if parameter.is_list}
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        joined.append(word)
        if word == "--":
            return joined + rest
        if option := canonical(word, several):
            values = []
            while rest and several[option].fullmatch(rest[0]):
                values.append(rest.pop(0))
            if option in PATHS and values:
                joined += [part for value in values for part in (word, value)][1:]
            elif values:
                joined.append(",".join(values))
    return joined


def words(values: Iterable[str] | None) -> tuple[str, ...]:
    """Split the words of a flag that may be repeated and may hold several, separated by commas or spaces."""
    return tuple(word for value in values or () for word in re.split(r"[,\s]+", value) if word)


def candidates(values: Iterable[str] | None) -> tuple[str, ...]:
    """Split candidates at commas; unlike :func:`words`, one may have spaces within."""
    return tuple(word.strip() for value in values or () for word in value.split(",") if word.strip())


def joined_terms(values: Iterable[str] | None) -> tuple[str, ...]:
    """Split words as :func:`words` does, and terms that are joined by ``+``."""
    return tuple(term for word in words(values) for term in word.split("+"))


def terms_and_mode(values: Iterable[str] | None) -> dict[str, object]:
    """Read ``--terms``: bias terms that are trained together, or alone the name of a method that needs none, such as
    ``all`` or ``head``.

    Raises UserError for a mode among other words, and for terms that there are not.
    """
    from beft_core.methods import WITHOUT_TERMS

    chosen = joined_terms(values)
    modes = [word for word in chosen if word in WITHOUT_TERMS]
    if not modes:
        unknown = [word for word in chosen if word not in TERM_KEYS]
        if unknown:
            others = ", ".join(WITHOUT_TERMS)
            plain = unknown[0].removeprefix("b_")  # as the paper writes terms
            raise UserError(
                f"got --terms {unknown[0]}",
                f"some of {', '.join(TERM_KEYS)}, or one of {others}",
                f"--terms {plain}" if plain in TERM_KEYS else "",
            )
        return {"terms": chosen}  # none at all is for RunConfig to refuse, too
    if len(chosen) > 1:
        raise UserError(f"got --terms {' '.join(chosen)}", f"{modes[0]} alone, or bias terms", f"--terms {modes[0]}")
    return {"mode": modes[0], "terms": ()}


def method(name: str) -> dict[str, object]:
    """Read ``--method``: of one that trains no named bias terms, there are no terms.

    Raises UserError for a method that there is not.
    """
    from beft_core.methods import METHODS, WITHOUT_TERMS

    if name not in METHODS:
        close = difflib.get_close_matches(name.lower(), METHODS, n=1)
        raise UserError(f"got --method {name}", f"one of {', '.join(METHODS)}", f"--method {close[0]}" if close else "")
    return {"mode": name, "terms": ()} if name in WITHOUT_TERMS else {"mode": name}


def layers(values: Iterable[str] | None) -> tuple[int, ...] | None:
    """Read ``3-5`` or ``0,2,5`` or both as sorted layer numbers; None for no flag. Raises UserError."""
    if not values:
        return None
    numbers: set[int] = set()
    for word in words(values):
        match = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", word)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UserError(f"got --layers {word}", "layer numbers from 0 on", "--layers 3-5 or --layers 0,2,5")
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(numbers))


def numbers(flag: str, values: Iterable[str] | None) -> tuple[float, ...] | None:
    """Read the finite numbers of a flag; None for no flag. Raises UserError."""
    if not values:
        return None
    result = []
    for word in words(values):
        try:
            number = float(word)
        except ValueError:
            number = float("nan")
        if not abs(number) < float("inf"):
            raise UserError(f"got {flag} {word}", "finite numbers", f"{flag} 0.5 0.5")
        result.append(number)
    if not result:
        raise UserError(f"got {flag} without a number", "one for each snapshot", f"{flag} 0.5 0.5")
    return tuple(result)
