"""Table 5 of the paper from comparisons of methods, in two halves, and whether LoRA collapses here as it does there.

In the paper LoRA stands at chance in places (50.5 on SST-2 with OPT-6.7B), perhaps because it got the learning rate of
BEFT. So there are two halves: all methods at one rate, and each at its best. The paper's models are larger than what
runs here, so its numbers stand beside ours to be read, not to be equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from beft_core.reports import paper
from beft_core.reports.captions import SPREAD
from beft_core.reports.cells import Cell, Column, Row, Table, mark_best
from beft_core.reports.methods.conditions import mixed
from beft_core.reports.methods.repeats import in_words
from beft_core.reports.methods.table import SETTINGS, Comparison
from beft_core.tasks.registry import TASKS

TECHNIQUES: dict[str, str] = {
    "b_v": "v",
    "b_q": "q",
    "b_k": "k",
    "LoRA": "lora",
    "prefix tuning": "prefix",
    "in-context learning": "icl",
    "zero-shot": "zero-shot",
}
"""Techniques of the paper's Table 5, each with the name of the method here."""
LORA, BEFT = "lora", "v"
BESIDE: tuple[str, ...] = tuple(paper.table5()["model"].unique())
"""Models of the paper's Table 5."""
TITLES: dict[str, str] = {"same": "one learning rate for all", "best": "each method at its best"}
"""Names of the halves, by setting."""


def models_of(found: Comparison) -> list[str]:
    """List the models of comparisons, in the order of their rows."""
    return list(dict.fromkeys(found.rows["model"]))


def table5(found: Comparison, model: str, setting: str, beside: str = "OPT-1.3B") -> Table:
    """Make one half of Table 5: every method that was compared on ``model``, a column per task, and of a task that was
    compared on several numbers of training examples one per number.

    ``setting``: a key of ``SETTINGS``; ``beside``: the paper's model whose numbers stand in the cells.
    """
    here = found.rows[(found.rows["model"] == model) & (found.rows["setting"] == setting)]
    theirs = paper.table5()
    theirs = theirs[theirs["model"] == beside].set_index(["technique", "task"])["value"].to_dict()
    asked = _asked(here)
    # In-context learning with few and with many demonstrations is one method that has two rows.
    twice = here.loc[here.duplicated(["method", "task", "n_train"]), "method"]
    kinds = here["trains"].where(here["method"].isin(twice), "")
    kinds_of = {method: list(dict.fromkeys(own)) for method, own in kinds.groupby(here["method"], sort=False)}
    ours = {
        (row["method"], kind, row["task"], _whole(row["n_train"])): row
        for kind, row in zip(kinds, here.to_dict("records"), strict=True)
    }
    named = {method: technique for technique, method in TECHNIQUES.items()}
    labels = dict(zip(here["method"], here["label"], strict=True))
    order = [*TECHNIQUES.values(), *(name for name in labels if name not in named)]
    several = {task for task, _ in asked if [one for one, _ in asked].count(task) > 1}
    columns = tuple(
        Column(f"{task} {_examples(size)}", f"{_heading(task, here)}, {_examples(size)}")
        if task in several
        else Column(task, _heading(task, here))
        for task, size in asked
    )
    rows = [
        Row(
            (f"{named.get(method) or labels[method]} {kind.partition(' ')[2]}".rstrip(),),
            tuple(
                _cell(ours.get((method, kind, task, size)), theirs.get((named.get(method), plain(task))))
                for task, size in asked
            ),
        )
        for method in order
        for kind in kinds_of.get(method, [""])
    ]
    sizes = ", ".join(f"{n:,.0f}" for n in sorted(here["n_train"].dropna().unique())) or "an unknown number of"
    return Table(
        f"table5-{setting}",
        f"Table 5, {TITLES[setting]}",
        ("technique",),
        columns,
        mark_best(rows, columns, lambda row: None),
        f"{model}, {sizes} training examples; validation sets",
        f"{beside}, low regime (Table 5)",
        (SETTINGS[setting], SPREAD, *_notes(here), *filter(None, [in_words(found.left_out)])),
    )


def verdicts(found: Comparison, setting: str) -> list[str]:
    """Say in a sentence for each model, task and number of training examples whether LoRA is at chance, as the paper
    has it in places.

    It is judged seed by seed, by the error of so many examples. A collapse counts only where b_v, at the same setting,
    is above chance with every seed: where nothing is learned, nothing collapses.
    """
    said = []
    here = found.rows[found.rows["setting"] == setting].dropna(subset=["model", "task"])
    sizes = here.groupby(["model", "task"])["n_train"].nunique(dropna=False).to_dict()
    for (model, task, size), group in here.groupby(["model", "task", "n_train"], sort=False, dropna=False):
        of = {row["method"]: row for row in group.to_dict("records")}
        lora = of.get(LORA)
        if lora is None or lora["at_chance"] is None:
            continue
        constant = f"{_percent(lora['constant'])} of a constant answer"
        numbers = f"{_percent(lora['value'])}{_interval(lora)} against {constant}"
        of_several = f", {_examples(size)}" if sizes[model, task] > 1 else ""
        where = f"LoRA on {task} ({model}{of_several}), {TITLES[setting]}, at {lora['lr']:g}"
        said.append(f"{where}: {_verdict(lora, of.get(BEFT))}; {numbers}")
    return said


def _verdict(lora: Mapping[str, Any], beft: Mapping[str, Any] | None) -> str:
    low, seeds = _whole(lora["seeds_at_chance"]), _whole(lora["seeds"])
    if not low:
        sure = lora["at_chance"] == "no"
        return "collapse refuted here" if sure else "no seed is at chance, but they are too few to be sure of the mean"
    if beft is None or beft["at_chance"] != "no" or beft["seeds_at_chance"] > 0:
        return f"at chance in {low} of {seeds} seeds, but b_v is not above it in all of its own"
    return "collapse confirmed here" if low == seeds else f"at chance in {low} of {seeds} seeds, b_v in none"


def plain(task: str) -> str:
    """Name the task that the paper has, of a prompted one too."""
    return task.removeprefix("prompt-")


def _asked(here: pd.DataFrame) -> list[tuple[str, int]]:
    """List the tasks of rows with their training examples, 0 where unknown: the paper's in its order, then the others.

    Comparisons of one task on few and on many examples are different ones.
    """
    known = paper.tasks("table5")
    own = list(dict.fromkeys(zip(here["task"], map(_whole, here["n_train"]), strict=True)))
    return sorted(own, key=lambda one: known.index(plain(one[0])) if plain(one[0]) in known else len(known))


def _examples(size: float) -> str:
    return f"{_whole(size):,} examples" if _whole(size) else "an unknown number of examples"


def _heading(task: str, here: pd.DataFrame) -> str:
    metrics = here.loc[here["task"] == task, "metric"].dropna()
    metric = metrics.iloc[0] if len(metrics) else TASKS[task].metrics[0] if task in TASKS else ""
    name = paper.task_labels().get(plain(task), task)
    return f"{name} ({metric})" if metric else name


def _cell(row: Mapping[str, Any] | None, of_paper: float | None) -> Cell:
    if row is None:
        return Cell(reason="not among the methods that were compared", paper=of_paper)
    if row["state"] != "done" or pd.isna(row["value"]):
        return Cell(reason=row["reason"] or "no number", paper=of_paper, failed=_whole(row["failed"]))
    return Cell(
        100 * row["value"],
        None if pd.isna(row["spread"]) else 100 * row["spread"],
        _whole(row["seeds"]),
        paper=of_paper,
        lr=None if pd.isna(row["lr"]) else row["lr"],
        failed=_whole(row["failed"]),
        note=_note(row),
    )


def _note(row: Mapping[str, Any]) -> str:
    """Say how sure a number is, and whether it is more than a constant answer gets."""
    parts = []
    if not pd.isna(row["low"]):
        parts.append(f"95 % interval {_percent(row['low'])} to {_percent(row['high'])}")
    if row["at_chance"] is not None:
        chance = "not above" if row["at_chance"] == "yes" else "above"
        parts.append(f"{chance} a constant answer, {_percent(row['constant'])}")
    edge, reason = (cell if isinstance(cell := row[name], str) else "" for name in ("edge", "reason"))
    if edge:
        parts.append(f"the best rate is the {edge} of its range")
    if reason:
        parts.append(reason)
    return "; ".join(parts)


def _notes(here: pd.DataFrame) -> tuple[str, ...]:
    """List what holds for the whole table: chance, what is null, and which numbers are of other conditions."""
    notes = ["a cell says how sure it is, and whether it is above the best constant answer, where one points at it"]
    if "k" in set(here["method"]):
        notes.append(
            "b_k is certified null in most encoders: alone it moves nothing but the head and a bias of the pooler"
        )
    return (*notes, *mixed(here))


def _interval(row: Mapping[str, Any]) -> str:
    return "" if pd.isna(row["low"]) else f" ({_percent(row['low'])} to {_percent(row['high'])})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _whole(value: float) -> int:
    return 0 if pd.isna(value) else int(value)
