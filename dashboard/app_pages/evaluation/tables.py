"""Tabs of the paper's tables with our numbers in them: ours on top, the paper's below, and why a cell has none."""

from __future__ import annotations

from html import escape

import streamlit as st

from beft_core.reports import tables
from beft_core.reports.cells import Cell, Column, Table, ours_text, paper_text, with_ours
from beft_core.sweeps.table import NAME
from dashboard.app_pages.evaluation.view import View, in_html
from dashboard.shared import page
from dashboard.shared.figure import offer_table
from dashboard.shared.text import in_words

CASE, MERGE, WHOLE = "case", "merge", "whole"
"""Keys of the lists of Tables 2 and 3 and of the switch for what only the paper has, and their names in the URL."""

# A table that goes on to the right fades there, until it is scrolled to its end; the terms stay, on the colour of what
# is behind the table. (A "<" in here would have Streamlit drop all of it.)
_STYLE = """<style>
@keyframes paper-edge { from { mask-size: 100% 100%; } to { mask-size: calc(100% + 4rem) 100%; } }
.paper-table {
  overflow-x: auto; mask-image: linear-gradient(to right, black calc(100% - 4rem), transparent);
  mask-size: calc(100% + 4rem) 100%; mask-repeat: no-repeat;
  animation: paper-edge linear; animation-timeline: scroll(self inline);
}
.paper-table table { border-collapse: collapse; width: 100%; font-size: 0.85rem; }
.paper-table th, .paper-table td {
  padding: 0.25rem 0.28rem; text-align: right; white-space: nowrap; border-bottom: 1px solid rgba(128, 128, 128, 0.25);
}
.paper-table th.label { text-align: left; font-weight: 400; }
.paper-table th.label:not(:has(+ th.label)) { position: sticky; left: 0; z-index: 1; background: var(--behind); }
.paper-table thead th { font-weight: 600; vertical-align: bottom; white-space: normal; min-width: 3.8rem; }
.paper-table tr.block th, .paper-table tr.block td { border-top: 2px solid rgba(128, 128, 128, 0.5); }
.paper-table .theirs { display: block; opacity: 0.65; font-size: 0.78rem; }
.paper-table .unit { font-weight: 400; opacity: 0.65; }
.paper-table sup { opacity: 0.8; line-height: 0; }
</style>"""


def table_1(view: View) -> None:
    """Draw the tab "Table 1"."""
    st.markdown(
        "Each bias term fine-tuned alone, on three amounts of data. Is ours in the same order as the paper's, and does "
        "the † of the probes stand at the best?"
    )
    show_table(tables.table1(view.runs, view.model, view.lr))


def table_2(view: View) -> None:
    """Draw the tab "Table 2"."""
    st.markdown(
        "What one bias term costs and is worth, beside as many random biases, all biases, and all parameters. Seconds "
        "are of different machines: compare rows, not columns."
    )
    cases = {f"{task} {regime}": (task, regime) for task, regime in tables.table2_cases(view.runs, view.model)}
    task, regime = cases[_choose("Task and training examples", list(cases), CASE)]
    show_table(tables.table2(view.runs, task, regime, view.model, view.lr))


def table_3(view: View) -> None:
    """Draw the tab "Table 3"."""
    st.markdown("Two fine-tunes of one bias term on different tasks, merged into one model that serves both.")
    merges = view.table.merges
    cases = {
        f"{' and '.join(tasks)}, {term}, {method}": (tasks, term, method)
        for tasks, term, method in tables.table3_cases(merges)
    }
    pair, term, method = cases[_choose("Merge", list(cases), MERGE)]
    show_table(tables.table3(merges, pair, term, method))
    if merges is None:
        st.caption(
            f":material/info: Merges are read from the sweep's folder; a single {NAME} file has none. `beft sweep "
            "--merges sst2+rte` makes them; the page Merge merges runs by hand."
        )


def table_4(view: View) -> None:
    """Draw the tab "Table 4"."""
    st.markdown(
        "Does it hold for other models? The paper's models are in this table as soon as a sweep of them is opened."
    )
    show_table(tables.table4(view.whole.results, view.lr))


def reference(view: View) -> None:
    """Draw the paper's numbers of a table, to read beside ours."""
    show_table(tables.reference(view.runs, view.model, view.lr))


def _choose(label: str, options: list[str], key: str) -> str:
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]  # what another table had
    if len(options) == 1:
        return options[0]
    with page.control("settings", key):
        return str(st.selectbox(label, options, key=key, bind="query-params", width=320))


# --- one table -----------------------------------------------------------------------------------------------------


def show_table(table: Table, whole_key: str = WHOLE) -> None:
    """Draw a table of the paper with ours in it, its reasons, its download and how it was computed.

    ``whole_key``: key of the switch for what only the paper has; each table of a tab needs its own.
    """
    shown, left_out = with_ours(table)
    if left_out:
        with page.control("settings", f"whole-{table.key}"):
            whole = st.toggle(
                "Also what only the paper has",
                key=whole_key,
                bind="query-params",
                help=f"Without a number of ours: {in_words(', '.join(left_out))}.",
            )
        shown = table if whole else shown
    html, reasons = drawn(shown)
    light, dark = (st.get_option(f"theme.{name}.backgroundColor") for name in ("light", "dark"))
    behind = f"<style>.paper-table {{ --behind: light-dark({light}, {dark}); }}</style>"
    st.html(_STYLE + behind + html)
    st.caption(
        "Metrics in percent. **Bold**: the best of ours. † selected by projection ratio. In grey below: the paper's."
        + (f"  \nOurs: {in_words(table.ours)}." if table.ours else "")
        + (f"  \nThe paper's: {in_words(table.paper)}." if table.paper else "")
    )
    if reasons:
        st.caption(
            "Without a number of ours:  \n" + "  \n".join(f"**{mark}** {in_words(why)}" for why, mark in reasons)
        )
    with page.control("downloads", table.key, horizontal=True, horizontal_alignment="right"):
        offer_table("Download the table (CSV)", table.frame, f"{table.key}.csv", f"{table.key}-csv")
    with page.control("details", table.key), st.expander("How was this computed?", icon=":material/function:"):
        st.markdown("\n".join(f"- {in_words(note)}" for note in table.notes))
        st.markdown(
            "Metrics are those after the last epoch on the validation set, in percent. Model, devices and seeds are "
            "ours, so levels differ from the paper's; the order of the terms is what can be compared."
        )


def drawn(table: Table) -> tuple[str, list[tuple[str, str]]]:
    """Write a table as HTML, every text escaped; and its reasons with the marks that stand in its cells."""
    marks: dict[str, str] = {}
    head = "".join(f'<th class="label">{escape(name)}</th>' for name in table.heads)
    head += "".join(f"<th>{_column(column)}</th>" for column in table.columns)
    body, before = "", None
    for row in table.rows:
        new_block = len(table.heads) > 1 and row.labels[0] != before
        labels = [label if at or new_block or len(table.heads) == 1 else "" for at, label in enumerate(row.labels)]
        before = row.labels[0]
        cells = "".join(f'<th class="label">{in_html(escape(label))}</th>' for label in labels)
        cells += "".join(_cell(cell, column, marks) for cell, column in zip(row.cells, table.columns, strict=True))
        body += f"<tr class='{'block' if new_block else ''}'>{cells}</tr>"
    html = f'<div class="paper-table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return html, list(marks.items())


def _column(column: Column) -> str:
    # Percent goes without saying: eleven times it would make the table wider than the page. Seconds say it themselves.
    unit = f' <span class="unit">{escape(column.unit)}</span>' if column.unit not in ("", "%", "s") else ""
    return escape(column.label) + unit


def _cell(cell: Cell, column: Column, marks: dict[str, str]) -> str:
    ours = escape(ours_text(cell, column))
    title = "; ".join(filter(None, (cell.note, _seeds(cell), _failed(cell))))
    if cell.ours is not None:
        ours = f"<b>{ours}</b>" if cell.bold else ours
        ours += "†" if cell.dagger else ""
    elif cell.reason:
        title = cell.reason
        mark = marks.setdefault(cell.reason, _letters(len(marks)))
        ours = f'<span class="unit">n/a</span><sup>{mark}</sup>'
    theirs = paper_text(cell, column)
    below = f'<span class="theirs">{escape(theirs)}</span>' if theirs else ""
    return f'<td title="{escape(title)}">{ours}{below}</td>'


def _seeds(cell: Cell) -> str:
    if cell.ours is None or not cell.seeds:
        return ""
    at = f" at learning rate {cell.lr:g}" if cell.lr is not None else ""
    return f"{cell.seeds} seed{'s' * (cell.seeds > 1)}{at}"


def _failed(cell: Cell) -> str:
    return f"{cell.failed} failed" if cell.failed else ""


def _letters(number: int) -> str:
    """Write a number as letters: a, b, ..., z, aa, ab, ..."""
    return ("" if number < 26 else _letters(number // 26 - 1)) + chr(ord("a") + number % 26)
