"""Options of a command as a YAML file: read as defaults, checked name by name, and printed again.

A name is that of the option, ``batch_size`` for ``--batch-size``, and of an argument, ``files``. Options that fill a
field of a configuration have the field's name and its values, as in the file of a sweep: ``dropout: false`` for
``--no-dropout``.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.paths import user_path
from beft_core.files.safe_yaml import read_yaml
from beft_core.settings import aliases

FIELD = "flag_"
"""Prefix of the parameters that fill a field of a configuration; the field's name follows it."""
NEGATIVE = "--no-"
"""Prefix of the switches that set their field to false."""
NOT_IN_FILES = ("help", "options_file", "print_config", "trust_file")


def defaults(path: str, params: Iterable[Any]) -> dict[str, Any]:
    """Read the values of a command's parameters from a file: parameter -> value as the command line would give it.

    Raises:
        UserError: no plain YAML, a name that the command does not have, or a value that the option cannot have.
    """
    known = {_name(param): param for param in params if param.name not in NOT_IN_FILES}
    if Path(path).suffix == ".json" and "model_config" in known:
        return {"model_config": path}  # what --config of such a command meant before it meant this file
    file = user_path(path, "--config")
    found: dict[str, Any] = {}
    for key, value in read_yaml(file).items():
        param = _find(key, known, file.name)
        if value is not None:
            found[param.name] = _given(f"{file.name}: {key}", value, param)
    return found


def _name(param: Any) -> str:
    return str(param.name).removeprefix(FIELD)


def _find(key: str, known: Mapping[str, Any], file: str) -> Any:
    name = key.replace("-", "_")
    if name in known:
        return known[name]
    options = {option: param for param in known.values() for option in param.opts if not option.startswith(NEGATIVE)}
    option = aliases.canonical(f"--{name}", options)
    if option is not None:
        return options[option]
    if (other := aliases.instead(f"--{name}", options)) is not None:
        raise UserError(f"{file}: got the unknown option {key[:80]!r}: {other[0]}", try_=other[1])
    near = difflib.get_close_matches(name, known, n=1)
    if not near and (meant := aliases.closest(f"--{name}", options)):
        near = [_name(options[meant])]
    raise UserError(
        f"{file}: got the unknown option {key[:80]!r}", f"some of {', '.join(known)}", near[0] if near else ""
    )


def _given(where: str, value: Any, param: Any) -> Any:
    """Convert a value of a file to what the parser would have. Raises UserError for one of another kind."""
    if getattr(param, "is_flag", False):
        if not isinstance(value, bool):
            raise UserError(f"{where} = {str(value)[:80]}", "true or false")
        return value is not any(option.startswith(NEGATIVE) for option in param.opts)
    many = getattr(param, "multiple", False) or param.nargs != 1
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not many:
        raise UserError(f"{where} = {str(value)[:80]}", "one value")
    if any(isinstance(one, bool | list | dict) or one is None for one in values):
        raise UserError(f"{where} = {str(value)[:80]}", "words or numbers" if many else "a word or a number")
    texts = [repr(one) if isinstance(one, float) else str(one) for one in values]
    return texts if many else texts[0]


def values_of(
    values: Mapping[str, Any],
    params: Iterable[Any],
    effective: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Make what a file must say for the same options: name -> value, without those that are not given.

    Args:
        values: parameter -> value, after parsing.
        effective: from these to the fields of the configuration that some of them fill.
    """
    fields = effective(dict(values)) if effective is not None else {}
    own = {
        param.name: values.get(param.name)
        for param in params
        if param.name not in NOT_IN_FILES and not param.name.startswith(FIELD)
    }
    given = {name: value for name, value in own.items() if value is not False and value not in (None, (), [])}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in (fields | given).items()}


def show(values: Mapping[str, Any]) -> None:
    """Print values as YAML."""
    sys.stdout.write(written(values))


def written(values: Mapping[str, Any]) -> str:
    """Write values as YAML."""
    import yaml

    return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=False, width=1000))
