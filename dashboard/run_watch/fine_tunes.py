"""Probes and single fine-tunes on the page: the one-minute experiment, starting any other, and their card."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import streamlit as st

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.start import launch
from beft_core.files.safe_io import parse_json
from beft_core.methods import method_of
from beft_core.runs import about
from beft_core.runs.run import Run
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.scores.learning import of_fine_tune, of_probe
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.terms import TERMS
from beft_core.training.estimate.count import judge_estimate
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex
from dashboard.run_watch import again, card, charts, check
from dashboard.run_watch.card import Records
from dashboard.shared import address, page
from dashboard.shared.picker import CHOICE, OPEN_NEXT, TRY_CHOICE
from dashboard.shared.sources import run_title
from dashboard.shared.text import plain

DEMO = "BEFT_DEMO"
"""Environment variable that :func:`demo_config` reads."""
SWITCH = "active_run"


def demo_config() -> RunConfig:
    """Configure the one-minute experiment. ``BEFT_DEMO`` may change its fields as a JSON object (for tests).

    Raises:
        UserError: ``BEFT_DEMO`` is no such object, or one of its fields is none of a run.
    """
    fields: dict[str, Any] = {"task": "demo-sentiment", "n_train": 300}
    if text := os.environ.get(DEMO, "").strip():
        try:
            fields |= parse_json(text, "its value")
            return RunConfig.from_dict(fields)
        except UserError as error:
            raise UserError(
                f"{DEMO} in the environment: {error.got}", error.expected, error.try_ or f"unset {DEMO}"
            ) from None
    return RunConfig.from_dict(fields)


def launcher(strong: bool = True) -> None:
    """Draw the button that starts the one-minute experiment; inactive while the watched run is at work.

    ``strong``: whether it stands out, as what the page is for.
    """
    run = card.watched(FULL)
    why_not = page.cannot_train()
    st.button(
        "Run the one-minute experiment",
        key="launch",
        icon=":material/play_arrow:",
        type="primary" if strong else "secondary",
        on_click=_begin_demo,
        disabled=why_not is not None or (run is not None and run.status().active),
        help=why_not
        or "Fine-tunes all biases of the bundled model on 300 generated sentences, on this machine, in "
        "the background, then scores every term. Closing this tab does not stop it.",
    )


def _begin_demo() -> None:
    try:
        config = demo_config()
    except UserError as error:
        card.could_not(FULL, error)
    else:
        begin("select", config)


def begin(kind: str, config: RunConfig, estimate: dict[str, Any] | None = None, name: str = "") -> Run | None:
    """Launch a run and watch it, from a callback; the card reports what goes wrong.

    ``estimate``: what was measured for this configuration; ``name``: what lists shall call it.
    """
    run = card.begin(FULL, lambda: launch(kind, config))
    if run is None:
        return None
    try:
        if name:
            about.rename(run, name[: about.NAME_CHARACTERS])
        if estimate is not None:
            about.set_estimate(run, estimate["seconds"], int(estimate["bytes"]))
    except UserError:
        pass  # the run is at work; what only describes it is not worth an error
    return run


# --- the card ------------------------------------------------------------------------------------------------------


def _title(run: Run) -> str:
    return plain(run_title(run))


def _switch(run: Run) -> None:
    """Draw the switch to other fine-tunes at work; nothing where there is only one."""
    runs = [one for one in card.at_work() if one.kind.page == FULL.page]
    if len(runs) < 2:
        return
    titles = {run_title(one): one.id for one in runs}
    st.session_state[SWITCH] = run_title(run)
    st.segmented_control(
        "Runs at work, in the order in which they were started",
        list(titles),
        key=SWITCH,
        required=True,
        on_change=lambda: address.put(FULL.link, titles.get(st.session_state[SWITCH], run.id)),
    )


def _estimated(run: Run, seconds: float) -> str:
    estimate = about.about(run).estimate
    if estimate is None:
        return "."
    expected = estimate["seconds"]
    took = f"took {card.duration(seconds)}: {judge_estimate(expected, seconds)}"
    return f". Estimated {card.duration(expected)}, {took}."


def _actions(run: Run, elsewhere: bool) -> None:
    """Draw what can be done with a run that has ended: show it, check its selection, set it up again."""
    if run.kind.single and _is_adapter(run):
        _try_link(run)
    elif run.kind.single:
        _show_button(run, elsewhere)
    if check.can_be_checked(run):
        check.button(run, lambda: card.begin(FULL, lambda: check.launched(run)))
    again.link(run)


def _is_adapter(run: Run) -> bool:
    """Say whether a run trains an adapter, so that no bias of its snapshot has moved."""
    try:
        return method_of(run.config()[1].get("mode")).adapter is not None
    except UserError:  # damaged
        return False


def _try_link(run: Run) -> None:
    """Draw the way to where an adapter can be asked; nothing before there is one."""
    if run.snapshot.is_file():
        st.page_link(
            page.file_of("try_it"),
            label="Try it",
            icon=":material/chat_bubble:",
            query_params={**page.kept(), TRY_CHOICE: [run_title(run)]},
            help="Asks it about sentences of yours, beside fine-tunes of biases.",
        )


def _show_button(run: Run, elsewhere: bool) -> None:
    done = run.recorded().state == "done"
    if done and not elsewhere and st.session_state.get(CHOICE) == run_title(run):
        return  # it is on this page already
    if run.snapshot.is_file() or done:
        label = "Show it" if done else "Show what it had"
        st.button(label, icon=":material/visibility:", on_click=_show, args=(run, elsewhere))


def _show(run: Run, elsewhere: bool) -> None:
    st.session_state[OPEN_NEXT] = run_title(run)
    card.dismiss(FULL)
    if elsewhere:
        st.switch_page(page.file_of("importance"), query_params=page.kept())


def _open_next(run: Run) -> None:
    st.session_state[OPEN_NEXT] = run_title(run)


def _everything(run: Run, records: Records, ended: bool) -> None:
    if ended and run.recorded().state == "done":
        for line in _results(run, records):
            st.markdown(line)
    charts.everything(records, run.id, ended=ended)


def _loss(run: Run, records: Records, ended: bool) -> None:
    if not ended:
        charts.loss(records, run.id)


def _results(run: Run, records: Records) -> list[str]:
    """Write what came out, in a few lines of Markdown."""
    lines = []
    last: dict[str, Any] = next((record for record in reversed(records) if record["type"] == "epoch"), {})
    values = [
        f"{plain(name)} **{value:.3f}**"
        for name, value in last.items()
        if name not in ("type", "seconds", "run", "epoch", "step") and isinstance(value, float | int)
    ]
    if values:
        when = f"After epoch {last['epoch']}" if last.get("epoch") else "As it is"
        lines.append(f"{when}: " + ", ".join(values).replace("train\\_loss", "training loss"))
    try:
        selected = run.read_result().get("selected")
    except UserError:  # none, or a damaged one
        selected = None
    lines += check.lines(run)
    if selected:
        chosen = [
            f"{APPROACHES[key].label} selects **{latex(term)}**"
            for key, term in selected.items()
            if key in APPROACHES and term in TERMS
        ]
        lines.append(" · ".join(chosen))
    scores: dict[str, dict[str, float]] = next(
        (record["scores"] for record in reversed(records) if record["type"] == "scores"), {}
    )
    turned = {t: s[PAPER] for t, s in scores.items() if t in TERMS and PAPER in s}
    if turned:
        order = sorted(turned, key=lambda term: -turned[term])
        lines.append("Projection ratio: " + ", ".join(f"{latex(term)} {short(turned[term])}" for term in order))
    if nothing := _nothing_learned(run):
        lines.append(f":orange[{plain(nothing[:1].upper() + nothing[1:], 400)}]")
    return lines


def _nothing_learned(run: Run) -> str:
    """Say that a run did not beat a constant answer; empty where it did, has not ended, or its file does not say."""
    if not run.snapshot.is_file():
        return ""
    try:
        meta = read_snapshot(run.snapshot).meta
    except UserError:  # damaged
        return ""
    return of_probe(meta) if method_of(meta.mode).every_bias else of_fine_tune(meta)


def _last_stage(run: Run) -> str:
    try:
        measures_afterwards = run.config()[1].get("fisher_tuned")
    except UserError:  # damaged
        measures_afterwards = False
    return "" if measures_afterwards else "train"


FULL = card.Card(
    page="fine_tune",
    link="run",
    what="run",
    cancel_help="Stops after the current step; partial results stay.",
    title=_title,
    last_stage=_last_stage,
    tour="run",
    outcome=_estimated,
    above=_switch,
    actions=lambda run: _actions(run, elsewhere=True),
    body=_everything,
)
"""Card with every curve, for the page where runs are the matter."""
ASIDE = replace(FULL, adopts=False, on_done=_open_next, actions=lambda run: _actions(run, elsewhere=False), body=_loss)
"""Card of pages of which a run is a detail, of one that was started there: when it is done, the page shows its
snapshot. The bar tells of all others."""
