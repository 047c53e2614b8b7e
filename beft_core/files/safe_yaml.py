"""Reader of YAML that a stranger wrote: a table of plain values, refused before it can grow.

YAML can say more than a configuration needs. An alias repeats what stands elsewhere, so nine lines can stand for a
billion values; a tag asks for a type, whose reader raises whatever it likes; dates are checked by nobody. Here a table
is what JSON could say, written by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.safe_io import read_bounded

MAX_BYTES = 2**18
MAX_VALUES = 20_000
"""Most keys and values together; the reader takes some 20 microseconds for each."""
DEEPEST = 8
"""Most levels of tables and lists inside each other."""
LARGEST = 2**63
"""Bound of whole numbers, which lie between this and its negative, as in JSON that others can read."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the table in a YAML file: texts, numbers, true, false, null, lists and tables of these.

    Raises:
        UserError: no such file, not YAML, not a table, too large, or with aliases, tags, or numbers out of range.
    """
    import yaml

    raw = read_bounded(path, MAX_BYTES, "a YAML file")
    try:
        text = raw.decode("utf-8")
        _require_plain(path.name, yaml.parse(text, Loader=yaml.SafeLoader))
        table = yaml.safe_load(text)
    except UserError:
        raise
    # Besides its own errors, the reader passes on what int(), float(), datetime() and a table of words raise.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path.name} is not YAML: {' '.join(str(error).split())[:200]}", "a YAML file") from None
    if not isinstance(table, dict):
        raise UserError(f"{path.name} holds no table", "names and values, such as tasks: [sst2, rte]")
    _require_values(path.name, table)
    return {str(key): value for key, value in table.items()}


def _require_plain(name: str, events: Any) -> None:
    """Check the text's structure, piece by piece, before a value is made of it. Raises UserError."""
    import yaml

    values = depth = 0
    for event in events:
        where = f"{name}, line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise UserError(f"{where}: got the alias {str(event.anchor)[:40]!r}", "the values themselves")
        if getattr(event, "tag", None) is not None:
            raise UserError(f"{where}: got the tag {str(event.tag)[:60]!r}", "plain values")
        if isinstance(event, yaml.NodeEvent):
            values += 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if values > MAX_VALUES or depth > DEEPEST:
            most = f"{MAX_VALUES:,} values" if values > MAX_VALUES else f"{DEEPEST} lists inside each other"
            raise UserError(f"{where}: got more than {most}", "fewer", "seeds: 5 for the seeds 0 to 4")


def _require_values(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _require_values(name, key)
            _require_values(name, item)
    elif isinstance(value, list | tuple):
        for item in value:
            _require_values(name, item)
    elif type(value) is int and not -LARGEST < value < LARGEST:
        raise UserError(f"{name}: got a whole number of {value.bit_length()} bits", "at most 63")
    elif not isinstance(value, str | int | float | None):
        raise UserError(f"{name}: got a value of type {type(value).__name__}", "texts, numbers, true, false, lists")
