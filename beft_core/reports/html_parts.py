"""Templates of the HTML report, and the functions that they call on a table of the paper.

Every text is escaped by Jinja2: names in a result table may be a stranger's. Only pictures come in as Markup.
"""

from __future__ import annotations

from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined

from beft_core.reports.cells import Cell, Table, number, paper_text

NOTHING = "–"
"""Sign in the place of a missing number."""


def footnotes(table: Table) -> dict[str, int]:
    """Number the reasons why a number of ours is missing that the paper has, from 1 on in reading order: reason ->
    mark.
    """
    reasons: dict[str, int] = {}
    for row in table.rows:
        for cell in row.cells:
            if cell.ours is None and cell.reason and cell.paper is not None:
                reasons.setdefault(cell.reason, len(reasons) + 1)
    return reasons


def circumstances(cell: Cell) -> str:
    """Write learning rate, seeds and failures of a number, as ``lr 0.01, 3 seeds, 1 failed``."""
    said = []
    if cell.lr is not None:
        said.append(f"lr {cell.lr:g}")
        said += [f"{cell.seeds} seed{'s' * (cell.seeds != 1)}"] if cell.seeds else []
    if cell.failed:
        said.append(f"{cell.failed} failed")
    return ", ".join(said)


ENVIRONMENT = Environment(
    loader=PackageLoader("beft_core.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.globals |= {"nothing": NOTHING, "zip": partial(zip, strict=True)}
ENVIRONMENT.filters |= {
    "circumstances": circumstances,
    "footnotes": footnotes,
    "number": number,
    "paper_text": paper_text,
}
