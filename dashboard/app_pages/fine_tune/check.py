"""Panel of a fine-tune before its launch: what it trains and takes, the command that does the same, two buttons."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import streamlit as st

from beft_core.cli.command_line import command_line
from beft_core.errors import ModelNotHere, UserError
from beft_core.runs.kinds import KINDS
from beft_core.tasks.sources import table_preview
from beft_core.training.estimate.count import count_parameters
from dashboard.app_pages.fine_tune import setup as setup_form
from dashboard.app_pages.fine_tune.prompts import lengths_in_words
from dashboard.app_pages.fine_tune.setup import Setup
from dashboard.run_watch import card, fine_tunes
from dashboard.shared import hyperparameters, page
from dashboard.shared.model_service import ask
from dashboard.shared.text import bytes_in_words, plain
from dashboard.tour_mark import mark

MEASURED = "ft_measured"
"""Session state: key of a setup -> its estimate, as the model service answered."""
KEPT_ANSWERS = 32
SECONDS = 600.0
"""Seconds to wait for an estimate: a file of weights may have to be converted first, and prompts may be long."""
BUSY, UNEVEN = 1.2, 0.3
"""Load per core, and spread of the timed steps, above which other programs disturbed the measurement."""


def panel(setup: Setup) -> None:
    """Draw the panel "Check and start" of a setup."""
    with st.container(border=True):
        st.markdown("##### 3 · Check and start")
        if setup.config is None:
            assert setup.problem is not None
            st.warning(plain(setup.problem, 900), title="Not ready to start", icon=":material/edit:")
        asked = _buttons(setup)
        mark("run")
        if setup.config is None:
            return
        for doubt in setup.trained.doubts():
            st.warning(f"{doubt[:1].upper()}{doubt[1:]}.", icon=":material/speed:")
        if asked:
            _measure(setup)
        _numbers(setup)
        answer = measured(setup)
        if answer is not None:
            _details(answer)
        with page.control("details", "ft-command"):
            st.caption("The same from a terminal:")
            st.code(command_line(setup.kind, setup.config), language="bash", wrap_lines=True)


def measured(setup: Setup) -> dict[str, Any] | None:
    """Estimate of exactly this setup, if this tab has asked for it."""
    answers: dict[str, dict[str, Any]] = st.session_state.get(MEASURED, {})
    return answers.get(_key(setup)) if setup.config is not None else None


def _key(setup: Setup) -> str:
    assert setup.config is not None
    return json.dumps([setup.kind, setup.config.to_dict()], sort_keys=True)


def _buttons(setup: Setup) -> bool:
    """Draw the buttons; return whether a check was asked for."""
    why_not = page.locked()
    with st.container(horizontal=True):
        st.button(
            "Start",
            key="ft_start",
            type="primary",
            icon=":material/play_arrow:",
            on_click=_start,
            disabled=setup.config is None or why_not is not None,
            help=why_not or card.IN_BACKGROUND,
        )
        return st.button(
            "Check it first",
            key="ft_check",
            icon=":material/speed:",
            disabled=setup.config is None or page.read_only(),
            help="Loads the model and the data and times a few real steps.",
        )


def _start() -> None:
    setup = setup_form.current()
    if setup.config is None:
        return
    name = ""
    if setup.table is not None and page.locked() is None:
        try:
            setup_form.OWN.keep(setup.table)
        except UserError as error:
            card.could_not(fine_tunes.FULL, error)
            return
        name = f"{KINDS[setup.kind].trains(setup.config.to_dict())} on {setup.table.name}"
    fine_tunes.begin(setup.kind, setup.config, measured(setup), name)


def _measure(setup: Setup) -> None:
    assert setup.config is not None
    spinner = "Timing a few real steps"
    busy = len(card.at_work())
    try:
        if setup.table is None:
            answer = ask("preflight", spinner, SECONDS, config=setup.config.to_dict(), kind=setup.kind)
        else:
            with table_preview.on_disk(setup.table.name, setup.table.data) as path:
                there = dataclasses.replace(setup.config, train_file=str(path))
                answer = ask("preflight", spinner, SECONDS, config=there.to_dict(), kind=setup.kind)
    except UserError as error:
        page.report(error, "This could not be measured")
        return
    answers = {**st.session_state.get(MEASURED, {}), _key(setup): answer | {"busy": busy}}
    st.session_state[MEASURED] = dict(list(answers.items())[-KEPT_ANSWERS:])


def _numbers(setup: Setup) -> None:
    answer = measured(setup)
    trained, total = _count(setup, answer)
    examples = answer["examples"] if answer else setup.examples
    steps = answer["steps"] if answer else setup.steps
    trains = setup.trained.method.trains
    with st.container(horizontal=True, gap="medium"):
        if trained is not None and total:
            page.number(
                "Trained parameters",
                f"{trained:,}" if trained else "the head only" if trains else "none",
                f"{100 * trained / total:.3g} % of {_short(total)}",
                help="Counted as in the paper (Table 2): without the classifier's head.",
            )
        if steps is not None:
            page.number(
                "Steps",
                f"{steps:,}",
                f"{examples:,} examples × {hyperparameters.epochs_in_words(setup.trained.epochs)}"
                if trains
                else "scores the model as it is",
            )
        if answer is None:
            page.number(
                "Time and memory",
                "not measured",
                "check it first",
            )
            return
        page.number(
            "Time",
            f"about {card.duration(answer['seconds'])}",
            f"{answer['step_ms']:.0f} ms a step on {plain(answer['device'])}" if trains else plain(answer["device"]),
        )
        page.number(
            "Memory",
            bytes_in_words(answer["bytes"]),
            f"of {bytes_in_words(answer['memory'])} free",
        )


def _count(setup: Setup, answer: dict[str, Any] | None) -> tuple[int | None, int | None]:
    if answer is not None:
        return answer["trainable"], answer["total"]
    try:
        counted = count_parameters(setup.trained)
    except UserError as error:
        if not isinstance(error, ModelNotHere):  # the form reports models that are not here
            page.report(error, "This cannot be trained")
        return None, None
    return counted.trainable, counted.total


def _details(answer: dict[str, Any]) -> None:
    if answer["bytes"] > answer["memory"]:
        st.warning(
            "This needs more memory than is free. A smaller batch or fewer tokens per example help.",
            icon=":material/memory:",
        )
    if answer.get("prompts") is not None:
        st.caption(f":material/short_text: {lengths_in_words(answer['prompts'])}")
    if answer["busy"]:
        st.caption("Another run was at work while this was measured: alone it is faster.")
    elif answer["load"] > BUSY or answer["spread"] > UNEVEN:
        st.caption("This machine was busy with other programs while this was measured: the time is a rough guess.")
    with page.control("details", "ft-measured"), st.expander("How was this measured?", icon=":material/function:"):
        st.markdown(
            f"{plain(answer['how'], 900)}. The steps differed by {100 * answer['spread']:.0f} % of their median. "
            "Extrapolated over all steps, epochs and evaluations:"
        )
        parts = [(name, seconds) for name, seconds in answer["parts"].items() if seconds >= 0.05]
        st.dataframe(
            {"stage": [name for name, _ in parts], "seconds": [round(seconds, 1) for _, seconds in parts]},
            hide_index=True,
            width="content",
            height="content",
            alt="Estimated seconds of each stage",
        )
        st.caption("The estimate stays with the run, and the run tells afterwards how good it was.")


def _short(count: int) -> str:
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {sign}"
    return str(count)
