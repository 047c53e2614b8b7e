"""Sweep in the background: starting it, watching it, cancelling it, going on with it, finding it again.

Which one is looked at stands in the URL (``?sweep_run=ID``); one that is at work is found on disk anyway.
"""

from __future__ import annotations

import shlex
from math import prod

import streamlit as st

from beft_core.cli.command_line import sweep_command, sweep_file
from beft_core.errors import UserError
from beft_core.execution.clusters.settings import profiles
from beft_core.execution.clusters.slurm import is_here
from beft_core.execution.start import launch
from beft_core.runs.overview import Overview, overview, overviews
from beft_core.runs.run import Run
from beft_core.sweeps.spec import SweepSpec
from dashboard.app_pages.sweep import results
from dashboard.app_pages.sweep import setup as sweep_setup
from dashboard.app_pages.sweep.setup import Setup
from dashboard.run_watch import card
from dashboard.shared import page
from dashboard.shared.text import plain

EARLIER = "sweep_earlier"
WHERE, HERE = "sweep_where", "this machine"
"""Key of the choice where a sweep is done, and its first value."""
FILE = "sweep.yaml"
"""Name under which a reader of the page may save the grid as YAML."""
MAX_EARLIER = 50


def _outcome(run: Run, seconds: float) -> str:
    return f": {overview(run).summary or 'nothing'}."


CARD = card.Card(
    page="sweep",
    link="sweep_run",
    what="sweep",
    cancel_help="Stops after the current step; what is finished is kept and can be gone on from.",
    units=" steps",
    again="Resume",
    retry=results.retry,
    tour="run",
    outcome=_outcome,
    so_far=results.how_far,
    actions=results.evaluation_link,
    body=lambda run, records, ended: results.show_results(run, ended),
)


# --- which one -----------------------------------------------------------------------------------------------------


def sweeps() -> list[Overview]:
    """List all sweeps of this machine, newest first."""
    return [one for one in overviews() if one.row.page == CARD.page]


def _earlier() -> None:
    """Draw the list of all other sweeps, to look at one."""
    current = card.watched(CARD)
    titles: dict[str, str] = {}
    for one in sweeps()[:MAX_EARLIER]:
        if one.run != current:
            titles[f"{one.name} · {one.status.state} · {card.moment(one.status.created)}"] = one.id
    if titles:
        with page.control("choose", "sweep-earlier", width="content"):
            card.choose_other(CARD, EARLIER, "Other sweeps of this machine", titles)


# --- starting ------------------------------------------------------------------------------------------------------


def panel(setup: Setup) -> None:
    """Draw the panel "Start" of a setup: how much it is, the button, the command that does the same."""
    with st.container(border=True):
        st.markdown("##### 3 · Start")
        if setup.problem is not None:
            st.warning(plain(setup.problem, 900), title="Not ready to start", icon=":material/edit:")
        _numbers(setup)
        _where()
        why_not = page.locked()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Start the sweep",
                key="sw_start",
                type="primary",
                icon=":material/play_arrow:",
                on_click=_start,
                disabled=setup.spec is None or why_not is not None,
                help=why_not or card.IN_BACKGROUND,
            )
            _earlier()
        if setup.spec is not None:
            with page.control("details", "sw-command"):
                _command(setup.spec)


def _command(spec: SweepSpec) -> None:
    """Draw the command of a sweep; where flags cannot say it, with the file that does."""
    again = "started again, it does only what is missing:"
    if len(spec.tables) > 1 or not spec.terms or any(len(entry) > 1 for entry in spec.methods):
        st.caption(f"The same from a terminal, with the file below as {FILE}; {again}")
        st.code(f"beft sweep --config {FILE} --out {shlex.quote(_folder(spec))}", language="bash", wrap_lines=True)
        st.code(sweep_file(spec), language="yaml", wrap_lines=True)
        return
    st.caption(f"The same from a terminal; {again}")
    st.code(sweep_command(spec, _folder(spec)), language="bash", wrap_lines=True)


def _numbers(setup: Setup) -> None:
    if setup.spec is None or setup.counted is None:
        return
    spec, counted = setup.spec, setup.counted
    passes = len(counted.banks)
    with st.container(horizontal=True, gap="medium"):
        page.number(
            "Fine-tunes",
            f"{len(counted.runs):,}",
            _product(spec, len(counted.runs)),
        )
        if counted.steps is not None:
            page.number(
                "Steps",
                f"{counted.steps:,}",
                "of single fine-tunes",
            )
        page.number(
            "Passes over the model",
            f"about {passes:,}" if passes > 1 else "1",
            f"up to {max(counted.banks)} fine-tunes share one" if passes > 1 else "all fine-tunes share it",
            help="Fine-tunes of one task share a pass: each has its own biases, head, learning rate, seed and data. "
            "How many fit is seen from the memory that is free when the sweep starts.",
        )


def _product(spec: SweepSpec, count: int) -> str:
    """Write the grid as a product of what it has several of; "in the grid" where it is none."""
    parts = {
        "tasks": len(spec.tasks),
        "sizes": max(1, len(spec.regimes) + len(spec.n_train)),
        "kinds": len(spec.terms) + len(spec.methods),
        "learning rates": max(1, len(spec.lrs)),
        "seeds": len(spec.seeds),
    }
    if prod(parts.values()) != count:
        return "in the grid"
    return " × ".join(f"{number} {what}" for what, number in parts.items() if number > 1) or "alone"


def _clusters() -> list[str]:
    """List the profiles of clusters that this machine may submit to."""
    return profiles() if is_here() else []


def _where() -> None:
    """Draw the choice between this machine and clusters; nothing where there is no profile of one."""
    if names := _clusters():
        st.selectbox(
            "Where",
            [HERE, *names],
            key=WHERE,
            help="On this machine, or by jobs of a cluster, as a profile in the folder clusters/ of BEFT_HOME says.",
        )


def _started(spec: SweepSpec) -> Run:
    """Start a sweep where the page says."""
    where = st.session_state.get(WHERE, HERE)
    if where not in _clusters():
        return launch("sweep", spec)
    return launch("sweep", spec, executor="slurm", settings={"profile": where})


def _folder(spec: SweepSpec) -> str:
    return "sweep-" + "-".join(spec.tasks)[:60]


def _start() -> None:
    setup = sweep_setup.current()
    if setup.spec is None:
        return
    spec = setup.spec
    if page.locked() is None:
        try:
            for form, table in setup.tables:
                form.keep(table)
        except UserError as error:
            card.could_not(CARD, error)
            return
    card.begin(CARD, lambda: _started(spec))
