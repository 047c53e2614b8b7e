"""Report of a reproduction: the tables of each experiment with ours beside the paper's, and what deviates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from jinja2 import ChoiceLoader, PackageLoader
from markupsafe import Markup

from beft_core.errors import UserError
from beft_core.files.safe_io import atomic_write
from beft_core.reports import html_page, paper, tables
from beft_core.reports.cells import Table, with_ours
from beft_core.reports.claims.table import Judged, headline, judge
from beft_core.reports.claims.verdicts import RULE as CLAIMS_RULE
from beft_core.reports.html_parts import ENVIRONMENT
from beft_core.reports.merges import Merge
from beft_core.reports.methods.table import SETTINGS, Comparison, joined
from beft_core.reports.methods.table5 import models_of, table5, verdicts
from beft_core.reports.seed_means import Runs
from beft_core.reports.selection.pretrained import with_norms
from beft_core.reproduction import deviations, statements
from beft_core.reproduction.experiments import EXPERIMENTS, PROMPT, Grid
from beft_core.reproduction.plan import Plan, Step
from beft_core.reproduction.results import comparisons_of, merges_of, of_experiment, rows_of
from beft_core.reproduction.statements import Statement
from beft_core.sweeps.spec import SweepSpec

PAGE = "report.html"
"""Name of the page in the folder of a reproduction."""
TITLE = "BEFT: the paper, measured again"

Merges = tuple[Merge, ...] | None


@dataclass(frozen=True)
class Section:
    """Experiment with what was measured of it."""

    name: str
    title: str
    says: str
    tables: tuple[Table, ...]
    statements: tuple[Statement, ...]
    charts: tuple[tuple[str, list[Markup]], ...]
    """Charts of ranks, by their titles."""
    curves: tuple[html_page.Titled, ...]
    """Tables over learning rates and epochs, whose cells are texts and small pictures."""
    notes: tuple[str, ...]
    """Sentences on what one must know: other models, stand-ins, what is missing."""
    fine_tunes: int
    """Number of its finished fine-tunes."""

    def summary(self) -> str:
        """Write in two sentences what agrees."""
        parts = [deviations.compared(self.tables).in_words()] if any(t.has_paper for t in self.tables) else []
        parts += [statements.in_words(self.statements)] if self.statements else []
        return " ".join(parts)


@dataclass(frozen=True)
class Report:
    """All sections, and the verdict on every claim by all fine-tunes together."""

    sections: tuple[Section, ...]
    claims: tuple[Judged, ...]
    small: bool

    def frames(self) -> dict[str, pd.DataFrame]:
        """Give every table as data by name."""
        found = {}
        for section in self.sections:
            own = [deviations.frame(table).assign(title=table.title) for table in section.tables]
            if own:
                found[section.name] = pd.concat(own, ignore_index=True)
            if section.statements:
                found[f"{section.name}-statements"] = statements.frame(section.statements)
        return found


def _one_term(table: Callable[[Runs, str], Table]) -> Callable[[Runs, Merges], list[Table]]:
    return lambda runs, merges: [table(runs, model) for model in runs.models]


def _figure_values(runs: Runs, merges: Merges) -> list[Table]:
    """Take from Table 1 the rows and tasks of what was trained: what the figures plot against the ranks."""
    found = []
    for model in runs.models:
        table = tables.table1(runs, model)
        tasks = [at for at, column in enumerate(table.columns) if column.key not in (tables.HERE, paper.AVERAGE)]
        shown = replace(
            table,
            title="What each term alone achieves",
            columns=tuple(table.columns[at] for at in tasks),
            rows=tuple(replace(row, cells=tuple(row.cells[at] for at in tasks)) for row in table.rows),
        )
        found.append(with_ours(shown)[0])
    return found


SHOWN: dict[str, Callable[[Runs, Merges], list[Table]]] = {
    "figure1": lambda runs, merges: [
        *_figure_values(runs, merges),
        *(tables.reference(runs, model) for model in runs.models),
    ],
    "figure4": _figure_values,
    "table1": _one_term(tables.table1),
    "table2": lambda runs, merges: [
        tables.table2(runs, str(task), "low", model) for model in runs.models for task in runs.tasks(model)
    ],
    "table3": lambda runs, merges: [
        tables.table3(merges, *case, model=", ".join(runs.models))
        for case in tables.table3_cases(merges)
        if merges is None or any(set(case[0]) == set(one.tasks) for one in merges)
    ],
    "table4": lambda runs, merges: [tables.table4(runs)],
    "section3.4": lambda runs, merges: [],
    "table5": lambda runs, merges: [],  # of comparisons, which have tables of their own
}
"""Tables of an experiment, from its own fine-tunes and merges."""
RANKED: tuple[str, ...] = ("figure1", "figure4")
"""Experiments whose ranks are drawn."""


def report(plan: Plan) -> Report:
    """Make the report of what is finished in the folder of a plan.

    Raises:
        UserError: nothing is finished.
    """
    everything = rows_of(plan.steps)
    if everything.empty:
        raise UserError(
            f"got no finished fine-tune in {plan.folder}", "at least one", "beft reproduce, without --dry-run"
        )
    with_norm, _ = with_norms(everything)
    sections = tuple(_section(plan, name) for name in plan.experiments)
    return Report(sections, judge(with_norm, merges_of(plan.steps)), plan.small is not None)


def _section(plan: Plan, name: str) -> Section:
    steps = of_experiment(plan, name)
    about = EXPERIMENTS[name]
    rows = rows_of(steps)
    notes = _notes(steps, plan if name == plan.experiments[0] else None)
    if rows.empty:
        return Section(name, about.title, about.says, (), (), (), (), notes, 0)
    runs = Runs(rows)
    grids = [step.grid for step in steps if isinstance(step.grid, Grid)]
    regimes = tuple(dict.fromkeys(regime for grid in grids for regime in grid.regimes))
    stand_ins = {task: own for step in steps for task, own in step.stand_ins.items()}
    specs = [step.spec for step in steps if isinstance(step.spec, SweepSpec)]
    tasks = tuple(dict.fromkeys(task for spec in specs for task in spec.tasks))
    said: list[Statement] = []
    charts: tuple[tuple[str, list[Markup]], ...] = ()
    curves: tuple[html_page.Titled, ...] = ()
    if name in RANKED:
        said = [
            one
            for one in statements.selections(runs, stand_ins, regimes)
            if name == "figure4" or one.of.startswith(("SST-2", f"{stand_ins.get('sst2', 'SST-2')} "))
        ]
        charts = tuple(html_page.rank_charts(tables.figure4(runs)))
    if name == "section3.4":
        said = statements.rates_and_epochs(runs, tasks)
        curves = (
            *html_page.rate_tables(tables.score_vs_lr(runs)),
            *html_page.epoch_tables(tables.metric_vs_epoch(runs)),
        )
    compared = comparisons_of(steps)
    shown = (*SHOWN[name](runs, merges_of(steps)), *_halves(compared))
    notes += tuple(one for _, found in compared for setting in SETTINGS for one in verdicts(found, setting))
    return Section(name, about.title, about.says, shown, tuple(said), charts, curves, notes, len(rows))


def _halves(compared: list[tuple[Step, Comparison]]) -> list[Table]:
    """Make both halves of Table 5 for each of our models, beside the paper's model that it stands in for."""
    found = []
    for model, beside in dict.fromkeys((step.model, step.paper_model) for step, _ in compared):
        own = joined([one for step, one in compared if (step.model, step.paper_model) == (model, beside)])
        for named in models_of(own):
            found += [table5(own, named, setting, beside) for setting in SETTINGS]
    return found


def _notes(steps: list[Step], plan: Plan | None) -> tuple[str, ...]:
    """List what one must know of some steps, and of the whole ``plan``, which the first section says."""
    notes = []
    for step in steps:
        if step.is_other_model:
            notes.append(f"{step.model} stands in for {step.paper_model}: what deviates may be the model's doing.")
        named = {task: paper.task_labels().get(task.removeprefix(PROMPT), task) for task in step.stand_ins}
        notes += [
            f"{own}, answered by a head, stands in for prompts of {named[task]}."
            if task.startswith(PROMPT)
            else f"{own} stands in for {named[task]}."
            for task, own in step.stand_ins.items()
        ]
        notes += [f"Not run on {step.model}: {one.what} ({one.why}); {one.command}." for one in step.missing]
    if plan is not None and plan.small is not None:
        sizes = ", ".join(f"{regime} {count}" for regime, count in plan.small.examples.items())
        notes.append(
            f"A rehearsal: regimes of {sizes} examples, {plan.small.settings['epochs']} epochs. It shows that "
            "everything runs; its numbers say nothing about the paper."
        )
    return tuple(dict.fromkeys(notes))


def write(found: Report, folder: Path) -> list[Path]:
    """Write ``report.html`` and a CSV file for each table; returns the files, the page first.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"got {folder}, which cannot be made ({error.strerror})", "a folder to write to") from None
    documents = {PAGE: html(found)} | {
        f"{name}.csv": frame.to_csv(index=False, lineterminator="\n") for name, frame in found.frames().items()
    }
    for name, document in documents.items():
        atomic_write(folder / name, [document.encode()])
    return [folder / name for name in documents]


_TEMPLATES = ENVIRONMENT.overlay(
    loader=ChoiceLoader([PackageLoader("beft_core.reproduction"), PackageLoader("beft_core.reports")])
)
_TEMPLATES.filters = {**ENVIRONMENT.filters, "deviation": deviations.deviation}


def html(found: Report) -> str:
    """Render a report as one document that fetches nothing."""
    return _TEMPLATES.get_template("reproduction.html").render(
        title=TITLE,
        versions=paper.VERSIONS,
        small=found.small,
        sections=found.sections,
        rule=deviations.RULE,
        head=statements.HEAD,
        claims={
            "headline": headline(found.claims),
            "rule": CLAIMS_RULE,
            "rows": [
                (one.claim.says, one.claim.paper, str(one.finding.verdict), one.finding.numbers, one.finding.trivial)
                for one in found.claims
            ],
        },
    )
