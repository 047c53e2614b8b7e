"""Tables 1 to 5 of the paper from a sweep's result table, the paper's numbers beside ours, and its figures as data.

Every function takes a result table (``beft_core.sweeps.table``) and a choice of the learning rate (:data:`LR_CHOICES`,
or a number) and returns a :class:`Table`, all metrics in percent. A cell without a number of ours says why. The data of
Figures 1 and 4 and of section 3.4 come from :mod:`beft_core.reports.series`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from beft_core.reports import paper
from beft_core.reports.captions import (
    DAGGER,
    MISMATCHED,
    SPREAD,
    key_of,
    label,
    lr_note,
    missing,
    needs,
    ours_of,
    paper_of,
    symbol,
)
from beft_core.reports.cells import Cell, Column, Row, Table, mark_best
from beft_core.reports.merges import BASE, MERGED, Merge, read_merges
from beft_core.reports.seed_means import LR_CHOICES, Key, LrChoice, Mean, Results, Runs
from beft_core.reports.series import figure1, figure4, metric_vs_epoch, score_vs_lr
from beft_core.scores.approaches import PAPER
from beft_core.tasks.registry import REGIMES, TASKS
from beft_core.terms import TERM_KEYS

__all__ = [
    "LR_CHOICES",
    "Cell",
    "Column",
    "Merge",
    "Row",
    "Table",
    "figure1",
    "figure4",
    "metric_vs_epoch",
    "read_merges",
    "reference",
    "score_vs_lr",
    "table1",
    "table2",
    "table2_cases",
    "table3",
    "table3_cases",
    "table4",
    "table5",
]

TERM_ORDER: tuple[str, ...] = ("v", "q", "k")
"""Candidates in the order of the paper's tables."""
HERE = "here"
"""Name of the column of Table 1 with the mean over the tasks that both have."""
# --- what all tables share ---------------------------------------------------------------------------------


def _metric_cell(runs: Runs, key: Key, choice: LrChoice, **of_paper: Any) -> Cell:
    """Make a cell with the metric of a fine-tune beside the paper's."""
    failed = runs.counted(key)[1]
    mean = runs.at(key, choice)
    if mean is None:
        return Cell(reason=missing(runs, key, choice), failed=failed, **of_paper)
    # Seeds that failed leave a mean of the others, which may be better for it.
    fewer = f"only {mean.seeds} of {runs.most_seeds(key)} seeds" if mean.seeds < runs.most_seeds(key) else ""
    return Cell(mean.value, mean.spread, mean.seeds, lr=mean.lr, failed=failed, note=fewer, **of_paper)


def _task_cell(runs: Runs, model: str, task: str, regime: str, term: str, choice: LrChoice, **of_paper: Any) -> Cell:
    """Make a cell with the metric of a term alone on a task as the paper lists it, with our dagger."""
    if task == "mnli_mm" and runs.has(model, "mnli"):
        return Cell(reason=MISMATCHED, **of_paper)
    task = key_of(task)
    cell = _metric_cell(runs, (model, task, regime, term), choice, **of_paper)
    if cell.ours is None:
        return cell
    votes = runs.votes(model, task, regime, choice)
    if votes.winner != term:
        return cell
    where = f"at {votes.lr:g}" if votes.lr is not None else "at all learning rates"
    chosen = f"selected by {votes.counts[term]} of {votes.probes} probes {where}"
    return replace(cell, dagger=True, note="; ".join(filter(None, (chosen, cell.note))))


# --- Table 1 -----------------------------------------------------------------------------------------------


def table1(results: Results, model: str | None = None, lr: LrChoice = "best") -> Table:
    """Make Table 1: b_v, b_q and b_k alone, regime by term by task. ``model``: by default the one with most finished
    runs.

    Tasks and regimes that only the paper has are there with a reason, those that only we have without its numbers.
    Two averages: over the tasks for which both have all three terms (``here``), and over the paper's nine columns.

    Raises:
        UserError: not a result table.
    """
    runs = Runs.of(results)
    model = model or runs.models[0]
    theirs = paper.table1().set_index(["regime", "term", "task"])[["value", "dagger"]].apply(tuple, axis=1).to_dict()
    tasks = [*paper.tasks("table1")]
    tasks += [task for task in runs.tasks(model) if task not in {key_of(name) for name in tasks}]
    regimes = list(dict.fromkeys(regime for regime, _, _ in theirs))
    regimes = _in_order([*regimes, *(name for name in runs.regimes(model) if name not in regimes)])
    rows = []
    for regime in regimes:
        block = {}
        for term in TERM_ORDER:
            cells = []
            for task in tasks:
                value, dagger = theirs.get((regime, term, task), (None, False))
                cells.append(_task_cell(runs, model, task, regime, term, lr, paper=value, paper_dagger=dagger))
            block[term] = dict(zip(tasks, cells, strict=True))
        for term, cells_of in block.items():
            averages = _averages(block, term, theirs.get((regime, term, paper.AVERAGE), (None, False))[0])
            rows.append(Row((regime, symbol(term)), (*cells_of.values(), *averages)))
    columns = [Column(task, label(runs, task)) for task in tasks]
    columns += [Column(HERE, "Mean of tasks here"), Column(paper.AVERAGE, "Avg. of the paper's nine")]
    return Table(
        "table1",
        "Table 1: fine-tuning one bias term",
        ("regime", "term"),
        tuple(columns),
        mark_best(rows, columns, lambda row: row.labels[0]),
        ours_of(runs, model),
        paper_of("table1"),
        (lr_note(lr), SPREAD, DAGGER, *runs.remarks(model)),
    )


def _averages(block: dict[str, dict[str, Cell]], term: str, printed: float | None) -> tuple[Cell, Cell]:
    """Average over the tasks where all three terms have a number of ours, and over all of the paper's."""
    of_paper = paper.tasks("table1")
    complete = [task for task in of_paper if all(cells[task].ours is not None for cells in block.values())]
    lacking = [paper.task_labels()[task] for task in of_paper if task not in complete]
    mean = _mean_of([block[term][task] for task in complete])
    here = (
        replace(mean, note=f"mean of {', '.join(complete)}")
        if complete
        else replace(mean, reason="no task has all three")
    )
    if lacking:
        return here, Cell(paper=printed, reason=f"no number of all three terms for {', '.join(lacking)}")
    return here, replace(mean, paper=printed)


def _mean_of(cells: Sequence[Cell]) -> Cell:
    """Average our numbers and the paper's, each where all cells have one; without a spread, because tasks are no
    sample.
    """
    ours, theirs = ([getattr(cell, name) for cell in cells] for name in ("ours", "paper"))
    return Cell(
        ours=sum(ours) / len(ours) if ours else None,
        seeds=min((cell.seeds for cell in cells), default=0),
        paper=sum(theirs) / len(theirs) if theirs and None not in theirs else None,
    )


def _in_order(regimes: Sequence[str]) -> list[str]:
    """Sort regimes: low to all, then the others as they come."""
    return sorted(regimes, key=lambda name: REGIMES.index(name) if name in REGIMES else len(REGIMES))


# --- Table 2 -----------------------------------------------------------------------------------------------

PARAMETERS = Column("parameters", "Parameters", "", 0, "lowest")
SHARE = Column("share", "Share of all, %", "%", 3, "lowest", paper_decimals=2)
SECONDS = Column("seconds", "Seconds", "s", 1, "lowest")


def table2(
    results: Results, task: str = "rte", regime: str = "low", model: str | None = None, lr: LrChoice = "best"
) -> Table:
    """Make Table 2: one term, as many random biases, all biases and everything: parameters, seconds and metric.

    The paper's numbers stand beside ours for the task and the regime that it reports.

    Raises:
        UserError: not a result table.
    """
    runs = Runs.of(results)
    model = model or runs.models[0]
    runs = _each_alone(runs, model, task, regime)
    columns = (PARAMETERS, SHARE, SECONDS, Column("value", label(runs, task), decimals=2))
    rows = []
    for theirs in paper.table2().to_dict("records"):
        same = (theirs["task"], theirs["regime"]) == (task, regime)
        key = (model, task, regime, theirs["trains"])
        value = _metric_cell(
            runs, key, lr, paper=theirs["value"] if same else None, paper_spread=theirs["std"] if same else None
        )
        mean = runs.at(key, lr)
        count, share, seconds = (
            replace(_cost_cell(mean, read), reason=value.reason, paper=theirs[name] if same and name else None)
            for read, name in (
                (lambda mean: (mean.parameters, None), ""),
                (lambda mean: (mean.share, None), "parameters_percent"),
                (lambda mean: (mean.seconds, mean.seconds_spread), "seconds"),
            )
        )
        if mean and mean.together > 1:
            seconds = replace(seconds, note=f"its share of a pass over {mean.together:.0f} fine-tunes")
        rows.append(Row((theirs["technique"],), (count, share, seconds, value)))
    devices = sorted(set(runs.rows.loc[runs.rows["model"] == model, "device"].dropna().astype(str)))
    cost = (
        f"seconds on {', '.join(devices) or 'an unknown device'}; where fine-tunes were trained in one pass, its share"
    )
    return Table(
        "table2",
        f"Table 2: cost and metric on {task}, {regime} regime",
        ("technique",),
        columns,
        mark_best(rows, columns, lambda row: None),
        ours_of(runs, model),
        paper_of("table2"),
        (lr_note(lr), SPREAD, "parameters are those that are trained, without the head", cost, *runs.remarks(model)),
    )


def _each_alone(runs: Runs, model: str, task: str, regime: str) -> Runs:
    """Keep only the fine-tunes that had the machine for themselves, where b_v and another technique have such: a share
    of a pass over many is no runtime to compare.
    """
    rows = runs.rows
    alone = rows[
        (rows["model"] == model) & (rows["task"] == task) & (rows["regime"] == regime) & (rows["bank_runs"] == 1)
    ]
    done = set(alone.loc[~alone["is_failed"], "trains"])
    return Runs(alone.drop(columns="is_failed")) if "v" in done and len(done) > 1 else runs


def _cost_cell(mean: Mean | None, read: Callable[[Mean], tuple[float, float | None]]) -> Cell:
    ours, spread = read(mean) if mean else (None, None)
    if mean is None or ours is None or pd.isna(ours):
        return Cell()
    return Cell(ours, spread, mean.seeds)


def table2_cases(results: Results, model: str | None = None) -> list[tuple[str, str]]:
    """List the tasks and regimes with b_v and at least one of the other techniques, the paper's first in any case."""
    runs = Runs.of(results)
    model = model or runs.models[0]
    first = paper.table2().iloc[0]
    cases = [(str(first["task"]), str(first["regime"]))]
    for task in runs.tasks(model):
        for regime in runs.regimes(model, task):
            rest = any(runs.at((model, task, regime, what), "best") for what in ("random", "full"))
            if rest and runs.at((model, task, regime, "v"), "best"):
                cases.append((task, regime))
    return list(dict.fromkeys(cases))


# --- Table 3 -----------------------------------------------------------------------------------------------


def table3(
    merges: Sequence[Merge] | None,
    tasks: Sequence[str] = ("sst2", "rte"),
    term: str = "v",
    method: str = "mean",
    model: str = "",
) -> Table:
    """Make Table 3: what fine-tunes of one term on several tasks are worth merged, on each task: mean over seeds.

    ``merges``: of :func:`read_merges`; None where there is no such file. ``model``: theirs, in words. The paper's
    numbers stand beside ours for its own pair, averaged.
    """
    wanted = (set(tasks), term, method)
    here = [merge for merge in merges or () if (set(merge.tasks), merge.term, merge.method) == wanted]
    reason = "" if here else "there is no merges.json beside the result table: beft sweep --merges"
    if merges is not None and not here:
        reason = f"merges.json has no merge of {' and '.join(tasks)} by {method} of {symbol(term)}"
    theirs: dict[Any, float] = {}
    shape: dict[str, float | None] = {"cosine": None, "angle": None}
    if wanted == (set(paper.tasks("table3")), "v", "mean"):
        theirs = paper.table3().set_index(["adaptation", "task"])["value"].to_dict()
        shape.update(paper.merge_geometry())
    rows = []
    for row in (BASE, *reversed(tasks), MERGED):
        cells = [_seeds([merge.value(row, task) for merge in here], theirs.get((row, task)), reason) for task in tasks]
        geometry = [
            _seeds([getattr(merge, name) for merge in here], value, reason) if row == MERGED else Cell()
            for name, value in shape.items()
        ]
        words = {BASE: "without fine-tuning", MERGED: "merged"}.get(row, f"{symbol(term)} fine-tuned on {row}")
        rows.append(Row((words,), (*cells, *geometry)))
    columns = [Column(task, f"{paper.task_labels().get(task, task)} ({_metric_name(here, task)})") for task in tasks]
    columns += [Column("cosine", "Cosine", "", 2, "none"), Column("angle", "Angle", "°", 1, "none")]
    between = "the two biases" if len(tasks) == 2 else f"the biases of {' and '.join(list(tasks)[:2])}"
    return Table(
        "table3",
        f"Table 3: merging {symbol(term)} of {' and '.join(tasks)} by {method}",
        ("adaptation",),
        tuple(columns),
        tuple(rows),
        f"{model or 'the model of the sweep'}; validation sets, each task with its own head",
        paper_of("table3"),
        (SPREAD, f"cosine and angle are between {between} after fine-tuning"),
    )


def _metric_name(merges: Sequence[Merge], task: str) -> str:
    found = next((merge.metrics[task] for merge in merges if task in merge.metrics), "")
    return found or (TASKS[task].metrics[0] if task in TASKS else "its metric")


def _seeds(values: Sequence[float | None], of_paper: float | None, reason: str) -> Cell:
    numbers = pd.Series([value for value in values if value is not None], dtype=float)
    if numbers.empty:
        return Cell(paper=of_paper, reason=reason or "no merge has a finite value")
    spread = float(numbers.std()) if len(numbers) > 1 else None
    return Cell(float(numbers.mean()), spread, len(numbers), paper=of_paper)


def table3_cases(merges: Sequence[Merge] | None) -> list[tuple[tuple[str, ...], str, str]]:
    """List the arguments of :func:`table3` for everything that was merged: tasks, term, method; the paper's first."""
    found: dict[tuple[frozenset[str], str, str], tuple[tuple[str, ...], str, str]] = {}
    for case in [(paper.tasks("table3"), "v", "mean"), *((m.tasks, m.term, m.method) for m in merges or ())]:
        found.setdefault((frozenset(case[0]), case[1], case[2]), case)
    return list(found.values())


# --- Tables 4 and 5 ----------------------------------------------------------------------------------------


def _model_blocks(runs: Runs, table: str) -> list[tuple[str, str | None, str | None]]:
    """List (label, our model, the paper's model) of a table over models: the paper's first, then our others.

    One of the two is None where only the other has the model.
    """
    names = {"table4": paper.table4, "table5": paper.table5}[table]()["model"].unique()
    blocks: list[tuple[str, str | None, str | None]] = []
    for name in names:
        ours = [model for model in runs.models if paper.model_of(model) == name]
        blocks += [(f"{name} ({model})", model, name) for model in ours] or [(name, None, name)]
    return blocks + [(model, model, None) for model in runs.models if paper.model_of(model) is None]


def table4(results: Results, lr: LrChoice = "best") -> Table:
    """Make Table 4: b_v, b_q and b_k alone over models, low regime: the paper's models and all of ours.

    Raises:
        UserError: not a result table.
    """
    runs = Runs.of(results)
    tasks = paper.tasks("table4")
    theirs = paper.table4().set_index(["model", "term", "task"])[["value", "dagger"]].apply(tuple, axis=1).to_dict()
    rows = []
    for shown, model, name in _model_blocks(runs, "table4"):
        for term in TERM_ORDER:
            cells = []
            for task in tasks:
                value, dagger = theirs.get((name, term, task), (None, False))
                if model is None:
                    cells.append(Cell(reason=needs(str(name), runs), paper=value, paper_dagger=dagger))
                else:
                    cells.append(_task_cell(runs, model, task, "low", term, lr, paper=value, paper_dagger=dagger))
            rows.append(Row((shown, symbol(term)), tuple(cells)))
    return _over_models("table4", "Table 4: one bias term over models, low regime", "term", runs, rows, lr)


def table5(results: Results, lr: LrChoice = "best") -> Table:
    """Make Table 5: OPT by all techniques, low regime, prompted tasks; ours where such a model is in the table. Other
    models, each method at its best, are in :mod:`beft_core.reports.methods.table5`.

    Raises:
        UserError: not a result table.
    """
    runs = Runs.of(results)
    tasks = paper.tasks("table5")
    theirs = paper.table5()
    rows = []
    for shown, model, name in _model_blocks(runs, "table5"):
        if name is None:
            continue
        for technique, group in theirs[theirs["model"] == name].groupby("technique", sort=False):
            trains = group["trains"].iloc[0]
            values = group.set_index("task")["value"]
            cells = []
            for task in tasks:
                of_paper = float(values[task])
                if model is None:
                    cells.append(Cell(reason=needs(str(name), runs, task), paper=of_paper))
                    continue
                ours = _as_prompt(runs, model, task)
                regime = "low" if TASKS[ours].regimes.get("low") is not None else "all"
                cells.append(_task_cell(runs, model, ours, regime, trains, lr, paper=of_paper))
            rows.append(Row((shown, str(technique)), tuple(cells)))
    return _over_models("table5", "Table 5: decoders, low regime", "technique", runs, rows, lr)


def _as_prompt(runs: Runs, model: str, task: str) -> str:
    """Find the lab's name of a task that the paper asks decoders: in words, unless only a head was trained on it."""
    prompted = f"prompt-{task}"
    return task if runs.has(model, task) and not runs.has(model, prompted) else prompted


def _over_models(key: str, title: str, kind: str, runs: Runs, rows: list[Row], lr: LrChoice) -> Table:
    """Make a table with a column per task whose rows are labelled (model, ``kind``); the best is marked per model."""
    columns = tuple(Column(task, label(runs, task)) for task in paper.tasks(key))
    return Table(
        key,
        title,
        ("model", kind),
        columns,
        mark_best(rows, columns, lambda row: row.labels[0]),
        "the model that each row names; validation sets",
        paper_of(key),
        (lr_note(lr), SPREAD, DAGGER),
    )


# --- the authors' notebook ---------------------------------------------------------------------------------


def reference(results: Results, model: str | None = None, lr: LrChoice = "best") -> Table:
    """Make the table of the scores of all terms and metrics of the candidates on SST-2, low regime, beside the authors'
    notebook.

    Raises:
        UserError: not a result table.
    """
    runs = Runs.of(results)
    model = model or runs.models[0]
    theirs = paper.reference().set_index("term")
    probes, probe_lr = runs.probes(model, "sst2", "low", lr)
    columns = (
        Column(PAPER, "Projection ratio", "", 3),
        Column("magnitude_mean_abs", "Magnitude (mean)", "", 3),
        Column("accuracy", label(runs, "sst2")),
    )
    rows = []
    for term in TERM_KEYS:
        cells = []
        for approach in (PAPER, "magnitude_mean_abs"):
            values = pd.to_numeric(probes[f"{approach}.{term}"]).dropna().tolist()
            reason = "" if len(probes) else missing(runs, (model, "sst2", "low", "all"), lr)
            cell = _seeds(values, float(theirs.loc[term, approach]), reason or "the probes have no such score")
            cells.append(replace(cell, lr=probe_lr if cell.ours is not None else None))
        accuracy = theirs.loc[term, "accuracy"]
        known = pd.notna(accuracy)
        cells.append(_metric_cell(runs, (model, "sst2", "low", term), lr, paper=float(accuracy)) if known else Cell())
        rows.append(Row((symbol(term),), tuple(cells)))
    return Table(
        "reference",
        "Scores on SST-2, low regime, beside the authors' notebook",
        ("term",),
        columns,
        mark_best(rows, columns, lambda row: None),
        ours_of(runs, model),
        paper_of("reference"),
        (lr_note(lr), SPREAD, *runs.remarks(model)),
    )
