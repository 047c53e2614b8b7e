"""Card of this machine, what it offers and what it is doing: device, memory, models, runs, data."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from beft_core.execution import machine
from beft_core.extras import install_command, training_missing
from beft_core.models.source import BUNDLED_COMMAND
from beft_core.runs.run import Run, list_runs
from dashboard.shared import page
from dashboard.shared.sources import run_title
from dashboard.shared.text import plain

BENCHMARKS = {"demo": "demo tasks", "glue": "GLUE", "superglue": "SuperGLUE"}
MAX_NAMES = 4
"""Number of names that a line lists before it counts."""


def status_card() -> None:
    """Draw five facts and the runs at work, which lead to where they can be watched."""
    free, total = machine.memory()
    device = machine.device()
    facts = {
        ("memory", "Device"): f"{plain(device.name)}, {device.cores} core{'s' * (device.cores > 1)}",
        ("sd_card", "Memory"): f"{free:.1f} of {total:.1f} GiB free",
        ("smart_toy", "Models"): _openable(),
        ("database", "Data"): _data(),
        ("history", "Runs"): _runs(),
    }
    with st.container(border=True):
        st.markdown("**This machine**")
        grid = st.grid(min_column_width=250, gap=("xsmall", "medium"))
        for (icon, name), text in facts.items():
            grid.markdown(f":material/{icon}: **{name}:** {text}")
        for run in _at_work():
            kind = run.kind
            st.page_link(
                page.file_of(kind.page),
                label=plain(run_title(run)),
                icon=":material/play_circle:",
                query_params=page.kept(**{kind.link: run.id}),
            )


def _openable() -> str:
    if training_missing() is not None:
        return f"none can be opened: `{install_command()}`"
    return _few(_models(machine.hub_cache().as_posix())) or f"none: `{BUNDLED_COMMAND}`"


def _at_work() -> list[Run]:
    return [run for run in list_runs() if run.status().active][:MAX_NAMES]


def _runs() -> str:
    states = Counter(run.status().state for run in list_runs())
    return ", ".join(f"{count} {state}" for state, count in states.most_common()) or "none yet"


def _data() -> str:
    counts = []
    for one in machine.data():
        name = BENCHMARKS[one.source]
        count = f"{len(one.tasks)} of {len(one.tasks) + len(one.lacking)}" if one.lacking else f"{len(one.tasks)}"
        counts.append(f"{name} ({count})" if one.tasks else f"no {name} ({plain(one.missing, 160)})")
    return ", ".join(counts)


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def _models(cache: str) -> list[str]:
    """List the models on this machine; remembered, as each has a file to read. ``cache``: folder of the Hub's."""
    return machine.models()


def _few(names: list[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(map(plain, names[:MAX_NAMES])) + (f" and {more} more" if more > 0 else "")
