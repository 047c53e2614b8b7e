"""Section on the results of a sweep so far: a picture, a table of means or of every fine-tune, downloads, links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.runs.run import Run
from beft_core.scores.approaches import PAPER
from beft_core.sweeps.importance import Importance, importances
from beft_core.sweeps.rows import count_lacking_memory, plan_columns
from beft_core.sweeps.seed_means import over_seeds
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import NAME
from beft_core.tasks.metrics import metric_in_words
from dashboard.figures.parts.labels import as_written
from dashboard.figures.sweep import MAX_PANELS, MAX_SEEDS, by_setting, by_term_and_rate, setting_in_words
from dashboard.result_tables.source import CHOICE, OpenTable, TableSource, open_table, tables
from dashboard.shared import page
from dashboard.shared.figure import show
from dashboard.shared.text import exact, plain

if TYPE_CHECKING:
    import pandas as pd

LARGE = 5_000
"""Number of fine-tunes above which a grid is not listed for the sake of a picture, which would take seconds."""
LARGE_PANELS = 3
"""Most panels of the picture of a large sweep: with each, an answer to a filter takes longer."""
ROWS_SENT = 1_000
"""Most rows of a table that are sent to the browser; the files have all."""
FILTERS: dict[str, tuple[str, str]] = {
    "task": ("Task", "rows_task"),
    "trains": ("Trained", "rows_trained"),
    "lr": ("Learning rate", "rows_rate"),
}
"""Columns by which rows are filtered -> label and key, which is the name in the URL."""
EVERY = "every"
LOOK = "sweep_rows"
"""Key of the switch between means and fine-tunes, and its name in the URL."""
MATTERED = "mattered_on"
"""Key of the choice of the task of the bars, and its name in the URL."""
MEANS, ALL = "means over seeds", "every fine-tune"
ROWS_SHOWN = 12
_ROW_PIXELS = 35
_SAME = ["task", "examples", "metric"]
"""Columns that are left out where they say the same in every row: room is scarce."""
_MIME = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


def finished(run: Run) -> OpenTable | None:
    """Read the result table as far as it is; None before the first pass has ended."""
    path = run.sweep / f"{NAME}.parquet"
    if not path.is_file():
        return None
    try:
        return open_table(TableSource(run.id, path))
    except UserError:
        return None


@lru_cache(maxsize=16)
def _count(path: Path) -> int:
    """Count the fine-tunes of the sweep of a folder, finished or not; how many never changes.

    Raises:
        UserError: it has not begun, or the folder is damaged.
    """
    most = SweepFolder(path).spec().at_most()
    return most if most > LARGE else len(_grid(path))


@lru_cache(maxsize=16)
def _grid(path: Path) -> pd.DataFrame:
    """List every fine-tune of the sweep of a folder, finished or not; which those are never changes.

    Raises:
        UserError: it has not begun, or the folder is damaged.
    """
    import pandas as pd

    configs = SweepFolder(path).spec().runs()
    table = pd.DataFrame([plan_columns(config) for config in configs])
    sizes = [f"{config.n_train:,} examples" if config.n_train else "all examples" for config in configs]
    return table[["run", "task", "trains", "lr", "seed"]].assign(size=sizes)


def how_far(run: Run) -> str:
    """Write how far a sweep came that did not come to its end."""
    done = finished(run)
    try:
        total = _count(run.sweep)
    except UserError:
        return ""
    count = 0 if done is None else len(done.results) - count_lacking_memory(done.results)
    return f"{count:,} of {total:,} fine-tunes are finished; going on does only the rest."


def retry(run: Run) -> str:
    """Label the button that starts a finished sweep again; empty where memory ran out for none of its fine-tunes."""
    done = finished(run)
    count = 0 if done is None else count_lacking_memory(done.results)
    return f"Try {counted(count, 'fine-tune')} again that lacked memory" if count else ""


def show_results(run: Run, ended: bool) -> None:
    """Draw picture and table; nothing before the first pass has ended. ``ended``: whether the run has."""
    opened = finished(run)
    if opened is None:
        if not ended:
            st.caption("The first results come when the first pass is through: its fine-tunes end together.")
        return
    try:
        total = _count(run.sweep)
        grid = _grid(run.sweep) if total <= LARGE else None
    except UserError as error:
        page.report(error, "The grid of this sweep cannot be read")
        return
    done = opened.results
    if len(done) < total:
        failed = int((done["state"] != "done").sum())
        st.markdown(f"**{len(done):,} of {total:,} fine-tunes**" + (f", {failed:,} of them failed" if failed else ""))
    chosen = _choose(done)
    _picture(grid, chosen)
    if ended:  # before that some settings have hardly begun
        _what_mattered(opened)
    _table(chosen)
    if ended:
        _downloads(run)


def _in_places(grid: pd.DataFrame | None, done: pd.DataFrame) -> pd.DataFrame:
    """Put metrics of finished fine-tunes beside the places of the grid; None, of a large sweep: only where there is
    one, and places of the others stay empty.
    """
    if grid is not None:
        return grid.merge(done[["run", "metric", "value"]], on="run", how="left")
    own = done[["run", "task", "trains", "lr", "seed", "n_train", "metric", "value"]][done["value"].notna()]
    words = {n: f"{n:,.0f} examples" for n in own["n_train"].dropna().unique()}
    own.insert(5, "size", own.pop("n_train").map(words).fillna("all examples"))
    return own


def _choose(done: pd.DataFrame) -> pd.DataFrame:
    """Draw lists to filter a large table by, and return the rows that are chosen: all of a small one."""
    if len(done) <= ROWS_SENT:
        return done
    with page.control("settings", "sweep-filters", horizontal=True):
        for column, (label, key) in FILTERS.items():
            names = values_by_name(done[column].dropna().unique())
            if st.session_state.get(key) not in (None, EVERY, *names):
                del st.session_state[key]  # what another sweep had
            name = str(st.selectbox(label, [EVERY, *names], key=key, bind="query-params", width=200))
            if name != EVERY:
                done = done[done[column] == names[name]]
    return done


def values_by_name(values: Iterable[Any]) -> dict[str, Any]:
    """Name the values that rows can be filtered by, in order: each has a name of its own, near rates too."""
    return {exact(value) if isinstance(value, float) else str(value): value for value in sorted(values)}


def _picture(grid: pd.DataFrame | None, done: pd.DataFrame) -> None:
    """Draw every metric; ``grid``: as of :func:`_in_places`."""
    if done["value"].notna().sum() == 0:
        return
    rows, most = _in_places(grid, done), MAX_PANELS if grid is not None else LARGE_PANELS
    show(
        by_term_and_rate(rows, page.dark(), most),
        "sweep-values",
        "Validation metric of everything that was trained, by learning rate: a dot per seed, a line at the mean",
        data=lambda: rows,
    )
    panels = len(rows.loc[rows["value"].notna(), ["task", "size"]].drop_duplicates())
    more = f" The first {most} of {panels}; the evaluation shows all." if panels > most else ""
    if rows["seed"].nunique() > MAX_SEEDS:
        more = f" Dots are the first {MAX_SEEDS} seeds, means are over all.{more}"
    st.caption(f"After the last epoch, by learning rate; a dot is a seed, a line the mean over seeds.{more}")


@st.cache_data(max_entries=16, show_spinner=False)
def _importances(token: str, _results: pd.DataFrame) -> list[Importance]:
    return importances(_results)


def _what_mattered(opened: OpenTable) -> None:
    """Draw how much of the variance of the metric each setting explains, on one task."""
    import pandas as pd

    found = _importances(opened.token, opened.results)
    if not found:
        return
    tasks = list(dict.fromkeys(one.task for one in found))
    task = tasks[0]
    st.markdown("**Which setting mattered**")
    if len(tasks) > 1:
        with page.control("settings", "sweep-mattered"):
            task = str(st.selectbox("On", tasks, key=MATTERED, bind="query-params", width=240))
    own = [one for one in found if one.task == task]
    first = own[0]
    st.markdown(
        f"On {plain(as_written(task), 60)}, **{setting_in_words(first.setting)}** explains {100 * first.share:.0f} % "
        f"of the variance of {plain(metric_in_words(first.metric), 40)} over {first.runs:,} fine-tunes."
    )
    show(
        by_setting(own, page.dark()),
        "sweep-settings",
        f"Share of the variance of the final metric on {as_written(task)} that each setting explains",
        data=lambda: pd.DataFrame([asdict(one) for one in own]),
    )
    st.caption(
        "One-way eta squared, setting by setting; the upright mark is what a setting without any effect explains by "
        "chance. What only a combination of settings does is in none of the bars."
    )


def _table(done: pd.DataFrame) -> None:
    with page.control("settings", "sweep-rows"):
        look = st.segmented_control(
            "Rows",
            [MEANS, ALL],
            default=MEANS,
            required=True,
            key=LOOK,
            bind="query-params",
            label_visibility="collapsed",
        )
    whole = len(done)
    table = _means(done) if look == MEANS else _fine_tunes(done.head(ROWS_SENT))
    rows, table = len(table) if look == MEANS else whole, table.head(ROWS_SENT)
    same = [name for name in _SAME if table[name].nunique() <= 1]
    table = table.drop(columns=same).dropna(axis="columns", how="all")
    column = st.column_config
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        alt=f"Result of the sweep: {look}",
        height=(min(len(table), ROWS_SHOWN) + 1) * _ROW_PIXELS + 3,
        column_config={
            "examples": column.NumberColumn(format="localized"),
            "learning rate": column.NumberColumn("rate", format="%g", help="Learning rate."),
            **{name: column.NumberColumn(format="%.1f") for name in ("mean, %", "spread", "value, %", "best, %")},
            "spread": column.NumberColumn(format="%.1f", help="Standard deviation over seeds, in points."),
            "selects": column.TextColumn(help="By the projection ratio, of probes (all)."),
            "seconds": column.NumberColumn(format="%.2f", help="Of its pass, divided by the fine-tunes in it."),
        },
    )
    if rows > len(table):
        st.caption(f"The first {len(table):,} of {rows:,} rows: choose a task above, or take the file, which has all.")


def _means(done: pd.DataFrame) -> pd.DataFrame:
    table = over_seeds(done)
    table["failed"] = table["failed"].replace(0, None)
    return _named(table.assign(mean=100 * table["mean"].astype(float), std=100 * table["std"].astype(float)))[
        [*_SAME, "trains", "learning rate", "mean, %", "spread", "seeds", "selects", "failed"]
    ]


def _fine_tunes(done: pd.DataFrame) -> pd.DataFrame:
    table = done.assign(value=100 * done["value"], best_value=100 * done["best_value"])
    table["selects"] = done[f"selected.{PAPER}"]
    return _named(table)[
        [*_SAME, "trains", "learning rate", "seed", "value, %", "best, %", "selects", "seconds", "failure"]
    ]


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(
        columns={
            "n_train": "examples",
            "lr": "learning rate",
            "mean": "mean, %",
            "std": "spread",
            "value": "value, %",
            "best_value": "best, %",
        }
    )


def _downloads(run: Run) -> None:
    with page.control("downloads", "sweep-results", horizontal=True):
        for kind, mime in _MIME.items():
            path = run.sweep / f"{NAME}.{kind}"
            if path.is_file():
                st.download_button(
                    f"The table ({'CSV' if kind == 'csv' else 'Parquet'})",
                    path.read_bytes,
                    f"beft-sweep-{run.id[-6:]}.{kind}",
                    mime,
                    icon=":material/download:",
                    key=f"sweep-{kind}",
                    on_click="ignore",
                )


def evaluation_link(run: Run) -> None:
    """Draw the link to the page that compares a sweep with the paper; nothing where it has no table."""
    path = run.sweep / f"{NAME}.parquet"
    title = next((source.title for source in tables() if source.path == path), None)
    if title is not None:
        st.page_link(
            page.file_of("evaluation"),
            label="Beside the paper's",
            icon=":material/fact_check:",
            query_params=page.kept(**{CHOICE: title}),
        )
