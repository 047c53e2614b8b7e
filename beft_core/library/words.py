"""Translation of messages into Python's words: the engine names settings by their flags, a notebook by its keywords."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from beft_core.errors import UserError
from beft_core.methods import METHODS
from beft_core.terms import TERM_KEYS

P = ParamSpec("P")
R = TypeVar("R")

KEYWORDS = {
    "train-file": "data",
    "eval-file": "eval_data",
    "no-dropout": "dropout=False",
    "no-snapshots": "snapshots=False",
    "out": "path",
}
"""Keywords by flag, where the keyword is not the flag with underscores."""

_FLAG = re.compile(
    r"(?<!pip install )--(?P<name>[a-z]+(?:-[a-z]+)*)(?: (?P<number>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)(?![\w.+-]))?"
)

_WORD = "(?:" + "|".join(sorted((*TERM_KEYS, *METHODS), key=len, reverse=True)) + ")"
_TERMS = re.compile(rf"--(?P<name>terms|add-bias) (?P<words>{_WORD}(?: {_WORD})*)(?![\w+-])")
"""Flags that take bias terms, or names of methods in their place, with these."""

_TABLE_OF_HEAD = re.compile(r"--file ([\w-]+)=FILE\b")
"""What names the rows that the head of a user's own table is scored on."""


def in_python(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of the library raise its UserErrors with keywords for flags: ``n_train=5`` for ``--n-train 5``."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            raise UserError(*map(keywords, (error.got, error.expected, error.try_))) from None

    return wrapper


def keywords(text: str) -> str:
    """Write the flags of a message as keywords; those of pip stay."""

    def keyword(match: re.Match[str]) -> str:
        name = KEYWORDS.get(match["name"], match["name"].replace("-", "_"))
        return f"{name}={match['number']}" if match["number"] else name

    def of_terms(match: re.Match[str]) -> str:
        words = [f'"{word}"' for word in match["words"].split()]
        value = words[0] if len(words) == 1 else f"({', '.join(words)})"
        return f"{match['name'].replace('-', '_')}={value}"

    text = _TERMS.sub(of_terms, _TABLE_OF_HEAD.sub(r"data={'\1': table}", text))
    return _FLAG.sub(keyword, text)
