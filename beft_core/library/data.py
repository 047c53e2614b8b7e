"""Examples that a notebook holds, as a task: lists of texts with labels, and tables of pandas and its kin.

They meet the checks that files meet (:mod:`beft_core.tasks.own_table`); rows are counted from 0 here, as Python does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from beft_core.errors import UserError
from beft_core.files.paths import user_path
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.own_table import (
    Columns,
    RawTable,
    checked_name,
    collect,
    columns_of,
    make_task,
    scored_task,
)
from beft_core.tasks.sources.user_files import ScoredTable, own_prompt_of, read_rows

if TYPE_CHECKING:
    import pandas as pd

IN_PYTHON = "given in Python"
"""Origin that a snapshot records for such examples, behind what they were."""
TEXT, PAIR, LABEL = "text", "text_pair", "label"
"""Names of a table's columns unless others are given, and of the columns made of lists."""


@dataclass(frozen=True)
class Given:
    """Examples as the keywords of a function name them."""

    data: Any = None
    """Table with the training examples, or the path of one."""
    eval_data: Any = None
    texts: Any = None
    text_pairs: Any = None
    labels: Any = None
    eval_texts: Any = None
    eval_text_pairs: Any = None
    eval_labels: Any = None
    text: Any = None
    """Name of the column of the text; likewise ``text_pair`` and ``label``."""
    text_pair: Any = None
    label: Any = None

    def __post_init__(self) -> None:
        for name in ("text", "text_pair", "label"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise UserError(
                    f"got {name} = {str(value)[:80]!r}", "the name of a column", f"{name}s=[...] for a list"
                )
        if self.data is not None and self.texts is not None:
            raise UserError("got both data and texts", "one of them")
        if self.texts is None:
            for name in ("text_pairs", "labels", "eval_texts", "eval_labels", "eval_text_pairs"):
                if getattr(self, name) is not None:
                    raise UserError(f"got {name} without texts", "both")
        elif self.labels is None:
            raise UserError("got texts without labels", "one label for each text", "labels=[0, 1, ...]")
        if self.data is None:
            for name in ("eval_data", "text", "text_pair", "label"):
                if getattr(self, name) is not None:
                    raise UserError(f"got {name} without data", "both")
        if (self.eval_texts is None) != (self.eval_labels is None):
            raise UserError("got one of eval_texts and eval_labels", "both, or none")

    @property
    def any(self) -> bool:
        """Whether any examples are given; else the task is one of the registry."""
        return self.data is not None or self.texts is not None

    @property
    def in_files(self) -> bool:
        """Whether all examples are in files, which the engine reads itself."""
        return _is_path(self.data) and (self.eval_data is None or _is_path(self.eval_data))

    @property
    def columns(self) -> Columns:
        """Names of the columns, as given or by default. Raises UserError for one name twice."""
        if self.texts is not None:
            return Columns(TEXT, None if self.text_pairs is None else PAIR, LABEL)
        return Columns(self.text or TEXT, self.text_pair, self.label or LABEL)

    def fields(self) -> dict[str, Any]:
        """Fields of RunConfig that name the files and their columns; for examples in memory, words that
        describe them.
        """
        columns = self.columns
        files = {"train_file": self.data, "eval_file": self.eval_data}
        named: dict[str, Any] = {"train_file": self._source, "eval_file": None}
        if self.in_files:
            named = {name: None if file is None else str(user_path(file, name)) for name, file in files.items()}
        return {
            **named,
            "text": columns.text,
            "text_pair": columns.text_pair,
            "label": columns.label,
        }

    def task(self, name: str | None, problem: str | None) -> TaskData:
        """Make a task to train on, of the validation examples given, or of a fifth that is held out.

        Raises UserError for everything that can be wrong with them.
        """
        train = self._table("data", "texts")
        assert train is not None
        validation = self._table("eval_data", "eval_texts")
        called = checked_name(name) if name is not None else "texts" if self.texts is not None else "table"
        return make_task(train, validation, self.columns, name=called, problem=problem)

    def scored(self, snapshot: Snapshot, name: str | None) -> TaskData:
        """Make a task of the examples to score the head that a snapshot has for them.

        ``name``: of the head; None: the only one. Raises UserError where there is none, or labels are not its own.
        """
        heads = snapshot.meta.heads
        if name is None and len(heads) != 1:
            raise UserError(
                f"got a snapshot with {len(heads)} heads", f"one of {', '.join(heads) or 'none'}", "name=..."
            )
        called = next(iter(heads)) if name is None else name
        if called not in heads:
            raise UserError(f"got the head {str(called)[:80]!r}", f"one of {', '.join(heads) or 'none'}")
        head = heads[called]
        if own_prompt_of(head) is not None:
            if not _is_path(self.data):
                raise UserError(
                    f"got examples in memory for {called}, which answers prompts",
                    "the path of a file",
                    "data='films.jsonl'",
                )
            return ScoredTable(str(self.data), self.text, self.text_pair, self.label).load(called, head)
        given, recorded = self, columns_of(head)
        if self.data is not None and recorded is not None:  # whichever is not named is as it was in the training
            given = replace(
                self,
                text=self.text or recorded.text,
                text_pair=self.text_pair or recorded.text_pair,
                label=self.label or recorded.label,
            )
        labels = head.get("labels")
        if head.get("kind") == "classification" and labels is None:
            raise UserError(f"got the head {called}, which does not say what its classes are called", "one that does")
        table = given._table("data", "texts")
        assert table is not None
        return scored_task(table, given.columns, name=called, labels=None if labels is None else tuple(labels))

    def _table(self, table: str, texts: str) -> RawTable | None:
        """Checked rows of a table or of lists, by the names of their keywords; None where there are none."""
        columns = self.columns
        if self.texts is not None:
            lists = getattr(self, texts)
            if lists is None:
                return None
            prefix = texts.removesuffix("texts")
            return collect(f"{texts} {IN_PYTHON}", columns, _rows_of_lists(self, prefix))
        value = getattr(self, table)
        if value is None:
            return None
        if _is_path(value):
            return read_rows(value, columns)
        return collect(f"{_kind(value)} {IN_PYTHON}", columns, _rows_of_table(value, columns.wanted))

    @property
    def _source(self) -> str:
        return f"texts {IN_PYTHON}" if self.texts is not None else f"{_kind(self.data)} {IN_PYTHON}"


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _kind(value: object) -> str:
    return type(value).__name__


# --- lists ---------------------------------------------------------------------------------------------------------


def _rows_of_lists(given: Given, prefix: str) -> Iterator[tuple[int, Sequence[Any]]]:
    names = [f"{prefix}texts", f"{prefix}labels"]
    if given.text_pairs is not None:
        names.append(f"{prefix}text_pairs")
    elif getattr(given, f"{prefix}text_pairs") is not None:
        raise UserError(f"got {prefix}text_pairs without text_pairs", "both")
    lists = [_items(name, getattr(given, name)) for name in names]
    for name, items in zip(names[1:], lists[1:], strict=True):
        if len(items) != len(lists[0]):
            raise UserError(f"got {len(items)} {name} for {len(lists[0])} {names[0]}", "as many")
    return enumerate(zip(*lists, strict=True))


def _items(name: str, value: object) -> list[Any]:
    """Get the items of a list, a tuple, an array or a column. Raises UserError for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise UserError(f"got {name} = {str(value)[:80]!r}", "a list", f"{name}=[...]")
    return list(value)


# --- tables --------------------------------------------------------------------------------------------------------


def _rows_of_table(value: Any, wanted: Sequence[str]) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield (position, cells of the wanted columns) of each row; what pandas calls missing is None."""
    frame = _frame(value)
    names = [str(name) for name in frame.columns]
    cells = []
    for column in wanted:
        if names.count(column) != 1:
            what = "no column" if column not in names else "several columns"
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise UserError(f"{_kind(value)}: got {what} {column!r}", f"one of its columns: {shown}", "text=, label=")
        series = frame.iloc[:, names.index(column)]
        items = series.astype(object).where(series.notna(), None).tolist()
        cells.append(_class_names(value, column, items))
    return enumerate(zip(*cells, strict=True))


def _frame(value: Any) -> pd.DataFrame:
    """Make a pandas table of what was given. Raises UserError for what is no table."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value
    if callable(getattr(value, "to_pandas", None)) and not isinstance(value, Mapping):
        return value.to_pandas()
    splits = isinstance(value, Mapping) and any(hasattr(one, "column_names") for one in value.values())
    if splits:
        first = next(iter(value))
        raise UserError(
            f"got a {_kind(value)} of the parts {', '.join(map(str, value))}", "one part", f"data[{first!r}]"
        )
    rows = isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(row, Mapping) for row in value)
    if isinstance(value, Mapping) or rows:
        try:
            return pd.DataFrame(value)
        except ValueError as error:
            raise UserError(f"got a {_kind(value)} that is no table ({error})", "columns of one length") from None
    raise UserError(
        f"got a {_kind(value)} for a table",
        "a DataFrame, a data set, a dict of columns, a list of rows, or the path of a file",
        "texts=[...], labels=[...] for lists",
    )


def _class_names(value: Any, column: str, items: list[Any]) -> list[Any]:
    """Names for the numbers of a class column of ``datasets``; its -1, no label, becomes None."""
    features = getattr(value, "features", None)
    names = getattr(features.get(column), "names", None) if isinstance(features, Mapping) else None
    if not isinstance(names, list):
        return items
    return [names[item] if isinstance(item, int) and 0 <= item < len(names) else None for item in items]
