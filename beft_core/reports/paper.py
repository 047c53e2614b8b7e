"""Numbers that the paper reports (arXiv 2509.15974v1), as tidy tables: a row per number, in percent unless a column
says else.

The numbers are in ``paper.json``, typed from Tables 1 to 5, and from the authors' notebook for what is called the
reference. Every table names its ``model``, its ``data`` and its ``source``. The paper gives no spread but in Table 2.
Its average of b_q in the high regime is printed as 64.7; the nine numbers beside it give 64.77.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from beft_core.errors import UserError
from beft_core.files.safe_io import read_json_file
from beft_core.scores.approaches import PAPER
from beft_core.terms import CANDIDATES, TERM_KEYS

FILE = Path(__file__).with_name("paper.json")
VERSIONS = (
    "The paper has two versions. Reproduced here is the first (arXiv 2509.15974v1), which proposes the projection "
    "ratio as a way to select a term. The second (ACL 2026, “in Low-Data Regimes”) drops the claim of a selection "
    "method and keeps that b_v generally performs best."
)
"""Sentence about which version of the paper the lab reproduces, where the two differ."""
AVERAGE = "average"
"""Value of the column ``task`` of :func:`table1` for the paper's own mean over its nine columns."""
ORIGIN: tuple[str, ...] = ("model", "data", "source")
"""Names of the columns that every table ends with: base model, data sets and amount, number of the table."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "table1": ("regime", "term", "task", "value", "dagger", *ORIGIN),
    "table2": ("technique", "trains", "task", "regime", "parameters_percent", "seconds", "value", "std", *ORIGIN),
    "table3": ("adaptation", "task", "value", *ORIGIN),
    "table4": ("term", "task", "value", "dagger", *ORIGIN),
    "table5": ("technique", "trains", "parameters_percent", "task", "kind", "value", *ORIGIN),
    "reference": ("term", PAPER, "magnitude_mean_abs", "accuracy", *ORIGIN),
}
"""Names of each table's columns. ``dagger``: the paper's approach selected this term. ``trains``: as in a sweep's
result table. ``adaptation``: base model, the task of a fine-tune, or merged.
"""


def table1() -> pd.DataFrame:
    """Return Table 1: b_q, b_k and b_v alone, BERT-base on GLUE, low to high regime; and the average of each row."""
    return _table("table1")


def table2() -> pd.DataFrame:
    """Return Table 2: techniques by parameters (percent of all), seconds (one T4 GPU) and accuracy; RTE, low regime,
    BERT-base.
    """
    return _table("table2")


def table3() -> pd.DataFrame:
    """Return Table 3: b_v of SST-2 and RTE, merged by averaging, on both tasks."""
    return _table("table3")


def table4() -> pd.DataFrame:
    """Return Table 4: b_q, b_k and b_v alone on three models, low regime; only two daggers are printed."""
    return _table("table4")


def table5() -> pd.DataFrame:
    """Return Table 5: two OPT models, the three terms beside LoRA, prefix tuning, in-context learning and zero-shot."""
    return _table("table5")


def reference() -> pd.DataFrame:
    """Return the numbers of the authors' notebook: scores of all terms (not percent) and accuracy of the candidates
    (NaN for the others).
    """
    return _table("reference")


def merge_geometry() -> dict[str, float]:
    """Return ``cosine`` and ``angle`` (degrees) between the two b_v of Table 3 (section 3.3)."""
    about = _content()["table3"]
    return {"cosine": about["cosine"], "angle": about["angle"]}


def tasks(table: str) -> tuple[str, ...]:
    """List the tasks of a table, in the paper's order: keys of :func:`task_labels`."""
    return tuple(_content()[table]["tasks"])


def task_labels() -> dict[str, str]:
    """Map the key of a task to how the paper writes it. Keys are the lab's, but for ``mnli_m`` and ``mnli_mm``."""
    return dict(_content()["tasks"])


def models() -> dict[str, str]:
    """Map a model as the paper calls it to its id on the Hub. The paper does not say cased; the authors'
    notebook does.
    """
    return {name: ids[0] for name, ids in _content()["models"].items()}


def model_of(name: str) -> str | None:
    """Find how the paper calls the model of a Hub id or a folder; None where it has none such. By the last part of a
    path, without a revision.
    """
    plain = name.split("@")[0].rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1].lower()
    for paper_name, ids in _content()["models"].items():
        if plain in {identity.rsplit("/", 1)[-1] for identity in ids}:
            return str(paper_name)
    return None


@cache
def _content() -> dict[str, Any]:
    return load(FILE)


@cache
def _rows(name: str) -> tuple[Mapping[str, Any], ...]:
    content = _content()
    origin = {"source": content[name]["source"], "data": content[name]["data"], "model": content[name].get("model")}
    return tuple(origin | row for row in _READERS[name](content[name], content))


def _table(name: str) -> pd.DataFrame:
    # A new one each time: a caller may change it.
    return pd.DataFrame(_rows(name), columns=list(COLUMNS[name]))


# --- from the layout of the paper to one row per number ----------------------------------------------------


def _by_task(about: Mapping[str, Any], content: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Expand rows that hold one value for each of the table's tasks; what else they say is repeated for every value."""
    kind_of = {task: kind for kind, names in content["kinds"].items() for task in names}
    for row in about["rows"]:
        shared = {key: value for key, value in row.items() if key not in ("values", "average", "selected")}
        chosen = row.get("selected", [])
        for task, value in zip(about["tasks"], row["values"], strict=True):
            yield shared | {"task": task, "value": value, "dagger": task in chosen, "kind": kind_of[task]}
        if "average" in row:
            yield shared | {"task": AVERAGE, "value": row["average"], "dagger": False}


def _by_row(about: Mapping[str, Any], content: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for row in about["rows"]:
        yield row | {"task": about["task"], "regime": about["regime"]}


def _by_term(about: Mapping[str, Any], content: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    quantities = (PAPER, "magnitude_mean_abs", "accuracy")
    for term in TERM_KEYS:
        yield {"term": term} | {name: about[name].get(term) for name in quantities}


_READERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Iterable[dict[str, Any]]]] = {
    "table1": _by_task,
    "table2": _by_row,
    "table3": _by_task,
    "table4": _by_task,
    "table5": _by_task,
    "reference": _by_term,
}


# --- validation --------------------------------------------------------------------------------------------


def load(path: Path) -> dict[str, Any]:
    """Read the content of ``paper.json``, checked: every table whole, every task and term known, every number in range.

    Raises:
        UserError: not readable, or anything of that is wrong.
    """
    content = read_json_file(path)
    try:
        _check(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path.name}: {type(error).__name__} {error}", "the paper's tables, whole") from None
    return content


def _check(content: Mapping[str, Any]) -> None:
    known = set(content["tasks"])
    _require(known == {task for names in content["kinds"].values() for task in names}, "a task without a kind")
    for name in COLUMNS:
        about = content[name]
        _require(bool(about["source"] and about["data"]), f"{name} does not name its source and data")
        if name == "reference":
            _require(set(about[PAPER]) == set(TERM_KEYS), f"{name}: terms")
            _require(set(about["accuracy"]) == set(CANDIDATES), f"{name}: candidates")
            continue
        for row in about["rows"]:
            where = f"{name}, row {row}"[:200]
            _require(row.get("model", about.get("model")) in content["models"], f"{where}: model")
            _require(row.get("term", "v") in CANDIDATES, f"{where}: term")
            if "tasks" in about:
                _require(set(about["tasks"]) <= known, f"{name}: tasks")
                _require(len(row["values"]) == len(about["tasks"]), f"{where}: number of values")
                _require(set(row.get("selected", [])) <= set(about["tasks"]), f"{where}: selected")
            numbers = [*row.get("values", []), *(row[key] for key in ("value", "average") if key in row)]
            _require(all(_is_percent(value) for value in numbers), f"{where}: a value that is no percentage")


def _is_percent(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 100


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
