"""Trap of the naive ranking: train b_k all the same, and rounding noise looks like importance."""

from __future__ import annotations

import dataclasses

import pandas as pd
import streamlit as st

from beft_core.errors import UserError
from beft_core.execution.start import launch
from beft_core.methods import EVERY_BIAS, method_of
from beft_core.scores.approaches import PAPER
from beft_core.scores.plane import trajectory
from beft_core.scores.table import rank_terms, select_term
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import CANDIDATES, TERMS
from dashboard.app_pages.why.epsilon import compared, epsilon, epsilon_in_words, precision
from dashboard.app_pages.why.setup import SEEN
from dashboard.figures.curves.growth import Growth, growth
from dashboard.figures.parts.style import latex
from dashboard.run_watch import fine_tunes
from dashboard.shared import address, page
from dashboard.shared.figure import show
from dashboard.shared.sources import Opened, Source, open_source, samples
from dashboard.shared.text import plain

STARTED, START_ERROR = "why_started", "why_start_error"
CHECKPOINT_STEPS = 15


def trap(dark: bool) -> None:
    """Draw the trap, from the samples that are one fine-tune with b_k frozen and trained."""
    st.markdown(
        "$b_k$ cannot do anything. Suppose nobody told the trainer: **train all biases, $b_k$ too**, then rank them by "
        "how far they turned (projection ratio). The arithmetic is bfloat16, as usual on a GPU. Which one wins?"
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        guess = st.segmented_control(
            "The highest score goes to …",
            [TERMS[term].symbol for term in CANDIDATES],
            key="why_trap",
            bind="query-params",
        )
        if st.query_params.get(SEEN) != "trap":
            st.button(
                "Show what happens",
                key="why-show-trap",
                type="primary",
                icon=":material/visibility:",
                on_click=address.put,
                args=(SEEN, "trap"),
            )
            return
    _answer(guess, dark)
    _live()


def probes_of_null(sources: list[Source]) -> list[Opened]:
    """Open the probes of models in which b_k is null. Samples that cannot be read are left out."""
    opened = []
    for source in sources:
        try:
            opened.append(open_source(source))
        except UserError:
            continue
    return [one for one in opened if method_of(one.meta.mode).every_bias and "k" in one.meta.null_terms]


def same_but_for_the_null(probes: list[Opened]) -> list[Opened]:
    """Find probes that differ only in whether, and how finely, a null b_k was trained: frozen, float32, bfloat16.

    Empty where there is no such set.
    """
    for noisy in probes:
        if _trained_null(noisy.meta):
            kin = [one for one in _kin(noisy, probes) if epsilon(one.meta) == epsilon(noisy.meta)]
            return sorted(kin, key=lambda one: (_trained_null(one.meta), precision(one.meta) == "bfloat16"))
    return []


def _kin(of: Opened, probes: list[Opened]) -> list[Opened]:
    """Find the probes of the same experiment, whatever their epsilon and precision, and whether they trained b_k."""
    return [one for one in probes if _experiment(one.meta) == _experiment(of.meta)]


def _experiment(meta: SnapshotMeta) -> tuple[object, ...]:
    return meta.model.base, meta.task, meta.n_train, meta.seed, meta.hyperparameters.get("steps")


def _trained_null(meta: SnapshotMeta) -> bool:
    return "k" in meta.trained_terms


def _answer(guess: str | None, dark: bool) -> None:
    try:
        probes = probes_of_null(samples())
    except UserError:
        probes = []
    runs = same_but_for_the_null(probes)
    curves = [(one, curve) for one in runs if (curve := _growth(one)) is not None]
    if not curves:
        st.info("The samples of this experiment are not here. Run it live below.", icon=":material/inventory_2:")
        return
    worst, _ = curves[-1]
    winner = select_term(worst.scores.mean_scores(PAPER))  # the naive choice: the lab itself selects no null term
    if winner is not None:
        _verdict(guess, winner, worst)
    show(
        growth([curve for _, curve in curves], dark),
        "why-trap-growth",
        "Projection ratio of the three biases along three fine-tunes",
        data=lambda: pd.concat(
            [pd.DataFrame({"run": c.title, "step": c.steps, **c.scores}) for _, c in curves], ignore_index=True
        ),
    )
    for column, (one, _) in zip(st.columns(len(curves)), curves, strict=True):
        column.markdown(_ranking(one))
    _explained([one for one, _ in curves], [one for one in _kin(worst, probes) if _trained_null(one.meta)])


def _growth(one: Opened) -> Growth | None:
    meta = one.meta
    title = f"b<sub>k</sub> in {precision(meta)}" if _trained_null(meta) else "b<sub>k</sub> frozen"
    stack = one.scores.stacks[0]
    assert one.source is not None
    path = _path(one.source.read(), stack)
    if path is None:
        return None
    steps, scores = path
    full = {term: scores.get(term, [0.0] * len(steps)) for term in CANDIDATES}  # a frozen term stays where it was
    return Growth(title, steps, full, frozenset({"k"} if _trained_null(meta) else ()))


def _path(snapshot: Snapshot, stack: str) -> tuple[list[int], dict[str, list[float]]] | None:
    followed = trajectory(snapshot, stack)
    if followed is None:
        return None
    return followed.steps.tolist(), {path.term: path.scores[PAPER].mean(axis=1).tolist() for path in followed.paths}


def _verdict(guess: str | None, winner: str, worst: Opened) -> None:
    noise = winner == "k" and _trained_null(worst.meta)
    with st.container(border=True):
        st.markdown(
            f"In {precision(worst.meta)} the naive ranking selects **{latex(winner)}**"
            + (": **rounding noise**, in a bias that cannot change one prediction." if noise else ".")
        )
        if guess is not None:
            right = guess == TERMS[winner].symbol
            st.caption(
                ":green[:material/check: as you predicted]"
                if right
                else f":yellow[:material/close: you predicted {plain(guess)}]"
            )


def _ranking(one: Opened) -> str:
    """Write the naive ranking as Markdown, under what tells the run from the others: on a phone it has no panel."""
    how = f"in {precision(one.meta)}" if _trained_null(one.meta) else "frozen"
    scores = one.scores.mean_scores(PAPER)
    ranks = rank_terms({term: scores[term] for term in CANDIDATES if term in scores})
    rows = []
    for term in sorted(ranks, key=ranks.__getitem__):
        null = term in one.meta.null_terms
        remark = " :yellow[⚠ noise]" if null and term in one.meta.trained_terms else " frozen" if null else ""
        rows.append(f"{ranks[term]}. {latex(term)} {scores[term]:.2f}{remark}")
    name = one.meta.metric or ""
    value = one.meta.final_metrics.get(name)
    metric = f"\n\n:small[{plain(metric_in_words(name))} {100 * value:.1f}]" if value is not None else ""
    return "\n".join([f"**{latex('k')} {how}**\n", *rows]) + metric


def _explained(runs: list[Opened], noisy: list[Opened]) -> None:
    """Draw how it was computed. ``runs``: what is drawn; ``noisy``: those that train b_k, with any epsilon."""
    st.markdown("##### Why noise wins")
    st.markdown(
        "The exact gradient of $b_k$ is zero. What is computed instead is a sum of rounding errors. AdamW divides "
        "every step by the size of the gradients it has seen, up to an $\\varepsilon$:"
    )
    compared(noisy)
    st.markdown(
        "Noise well above $\\varepsilon$ takes steps as long as a real gradient does. bfloat16 keeps 8 binary "
        "digits: its noise is far above, and because the pre-trained $b_k$ is short, it has soon turned to nowhere in "
        "particular, which the projection ratio scores near 1. Noise of float32 lies near PyTorch's $\\varepsilon$: "
        "how much of it becomes movement depends on the data, the order of sums and the number of steps. The other "
        "scores, and what the model gets right, are nearly the same in all three. **So the lab freezes a bias that is "
        "certified null, unless one asks for it, and flags it in every ranking.**"
    )
    with (
        page.control("details", "why-trap-computed"),
        st.expander("How was this computed?", icon=":material/function:"),
    ):
        st.markdown(
            "Three fine-tunes that differ in nothing but $b_k$ and the precision of the matrix products. A score is "
            "the projection ratio `1 − pre·post / max(‖pre‖, ‖post‖)²` of a checkpoint against the biases before the "
            "fine-tune, in float64, mean over layers. The table of epsilons takes the same fine-tunes again with the "
            "authors' epsilon."
        )
        st.dataframe(
            [
                {
                    "sample": one.title,
                    "task": one.meta.task,
                    "examples": one.meta.n_train,
                    "seed": one.meta.seed,
                    "steps": one.meta.hyperparameters.get("steps"),
                    "learning rate": one.meta.hyperparameters.get("lr"),
                    "precision": precision(one.meta),
                    "epsilon, bias correction": epsilon_in_words(one.meta),
                    "device": one.meta.device,
                    "versions": ", ".join(f"{name} {v}" for name, v in one.meta.versions.items()),
                }
                for one in {id(one): one for one in [*runs, *noisy]}.values()
            ],
            hide_index=True,
            alt="Inputs of the fine-tunes",
        )


def _live() -> None:
    """Draw the same experiment as a run of one's own."""
    st.markdown("##### Do it live")
    why = page.cannot_train()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Train b_k in bfloat16, here and now",
            key="why-live",
            icon=":material/play_arrow:",
            on_click=_launch,
            disabled=why is not None,
            help=why
            or "All biases of the bundled model on 300 made-up sentences, in the "
            "background. On a processor without bfloat16 it is emulated and takes some minutes.",
        )
        started = st.session_state.get(STARTED)
        if started:
            st.page_link(
                page.file_of("importance"),
                label="It has started: watch it, then see the ranking",
                icon=":material/monitoring:",
                query_params=page.kept(**{fine_tunes.FULL.link: started}),
            )
    if st.session_state.get(START_ERROR):
        st.error(st.session_state[START_ERROR], title="The run could not be started", icon=":material/error:")


def _launch() -> None:
    st.session_state.pop(START_ERROR, None)
    if page.locked():
        return
    try:
        config = dataclasses.replace(
            fine_tunes.demo_config(),
            mode=EVERY_BIAS,
            fisher=True,
            train_null=True,
            precision="bfloat16",
            trajectory_every=CHECKPOINT_STEPS,
        )
        st.session_state[STARTED] = launch("select", config).id
    except UserError as error:
        st.session_state[START_ERROR] = plain(error, 900)
