"""Question of the page Start, to predict and then to reveal: which of the three biases wins on the first sample."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from beft_core.architectures.certified import certified
from beft_core.scores.approaches import PAPER
from beft_core.scores.regimes import Measured
from beft_core.terms import CANDIDATES, TERMS
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex
from dashboard.figures.ranking import contest
from dashboard.shared import address, explain, page, tour
from dashboard.shared.figure import show
from dashboard.shared.regimes import measured_alone, task_title
from dashboard.shared.sources import Opened
from dashboard.shared.text import plain

GUESS = "guess"
"""Name of the guess in the URL."""

OFFERS: dict[str, str] = {
    "q": "what a word looks for",
    "k": "what a word answers to",
    "v": "what a word hands on",
}
ALONE = (
    "After the last epoch, of fine-tunes of one term and the classification head on as many examples, with a learning "
    "rate of their own. A null term stays frozen: there, the head learns alone."
)


def question(opened: Opened, dark: bool) -> None:
    """Draw the question with a large choice; once guessed, the answer below."""
    stack = opened.scores.stacks[0]
    guess = st.query_params.get(GUESS)
    guess = guess if guess in CANDIDATES else None
    st.subheader("Which of the three will win?", anchor=False)
    task = plain(task_title(opened.meta.task))
    size = f"{opened.meta.n_train:,} examples of " if opened.meta.n_train else ""
    st.markdown(
        f"We let all biases of a small language model learn from {size}{task}. Then we asked "
        "which one **turned furthest** from where it was. That one wins: the method fine-tunes it alone next time."
    )
    grid = st.grid(len(OFFERS), min_column_width=250)
    for term, offer in OFFERS.items():
        grid.button(
            f"**{latex(term)}, the {TERMS[term].label}**: {offer}",
            key=f"guess-{term}",
            on_click=_guess,
            args=(term,),
            width="stretch",
            type="primary" if guess == term else "secondary",
        )
    if guess is not None:
        _answer(opened, stack, guess, dark)


def _guess(term: str) -> None:
    address.put(GUESS, term)
    tour.done("guess")


def _answer(opened: Opened, stack: str, guess: str, dark: bool) -> None:
    scores = {term: value for term, value in opened.scores.mean_scores(PAPER, stack).items() if term in CANDIDATES}
    winner = opened.selected(stack).get(PAPER)
    alone = {m.term: m for m in measured_alone(opened) if m.term}
    with st.container(border=True):
        st.markdown(f"#### {_verdict(guess, winner, scores) if winner else _nobody_wins(opened, stack)}")
        grid = st.grid(2, min_column_width=330)
        with grid.cell():
            st.markdown("**How far it turned** (projection ratio, mean over layers)")
            show(
                contest(scores, {term: short(value) for term, value in scores.items()}, guess, winner, dark),
                "contest",
                "Projection ratio of the three biases",
                downloads=False,
            )
        if alone:
            metric = plain(opened.meta.metric or "metric")
            with grid.cell():
                st.markdown(f"**And fine-tuned alone?** ({metric} on the validation set)", help=ALONE)
                reached = {term: m.mean for term, m in alone.items()}
                show(
                    contest(reached, {term: short(mean) for term, mean in reached.items()}, None, None, dark),
                    "contest-alone",
                    f"{metric} of the three biases, each fine-tuned alone",
                    downloads=False,
                )
        st.markdown(_why(opened, winner, alone))
        with st.container(horizontal=True):
            for name, label, icon in (
                ("importance", "Look into the layers", "leaderboard"),
                ("geometry", "What “turned” means", "square_foot"),
                ("why", "Why, with live proofs", "psychology"),
            ):
                st.page_link(page.file_of(name), label=label, icon=f":material/{icon}:", query_params=page.kept())
        with page.control("details", "guess"):
            explain.computed(opened, [PAPER])


def _nobody_wins(opened: Opened, stack: str) -> str:
    reason = opened.scores.no_selection(stack).get(PAPER)
    if reason is not None and reason.why in ("equal", "from_zero"):
        return f"Nobody wins here, no selection: {'all equal' if reason.why == 'equal' else 'undefined from zero'}."
    return "There was no contest here, so nobody wins."


def _verdict(guess: str, winner: str, scores: Mapping[str, float]) -> str:
    others = " and ".join(f"{short(scores[term])} for {latex(term)}" for term in scores if term != winner)
    right = "Right" if guess == winner else f"Not {latex(guess)}"
    return f"{right}: it is {latex(winner)}, {short(scores[winner])} against {others}"


def _why(opened: Opened, winner: str | None, alone: Mapping[str, Measured]) -> str:
    """Write what the learner should take home; every clause holds for what is shown."""
    parts = []
    if winner is not None:
        parts.append(f"{latex(winner)} is {TERMS[winner].where}.")
    parts += [
        f"{latex(term)} cannot win: it adds the same number to every attention logit of a row, which softmax ignores, "
        "so it stays frozen."
        for term in certified(opened.meta).terms
        if term in CANDIDATES
    ]
    ranked = sorted(alone.values(), key=lambda m: -m.mean)
    if winner is not None and winner in alone and len(ranked) > 1:
        lead = ranked[0]
        if lead.term == winner:
            parts.append("Alone it also does best: here the score predicted the right one.")
        else:
            gap = lead.mean - alone[winner].mean
            count = min(len(m.values) for m in ranked)
            runs = f"{count} seed{'s' * (count > 1)}"
            parts.append(
                f"Alone, {latex(lead.term or '')} ended {short(gap, 2)} ahead of it ({runs} each): the score ranks how "
                "far a bias turned. Whether that predicts the best one is a question to put to more tasks and seeds."
            )
    return " ".join(parts)
