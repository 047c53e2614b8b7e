"""Text by the base model and the fine-tunes side by side, token by token, while the dial turns their biases."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from beft_core.errors import UserError
from dashboard.app_pages.try_it.asking import write_on
from dashboard.app_pages.try_it.setup import Setup
from dashboard.shared import page
from dashboard.shared.text import plain

LAMBDA = "try_lambda"
"""Key of the slider, and its name in the URL."""
TEXT, GOES = "try_written", "try_writes"
"""Session state: the text so far (:class:`Text`), and whether it is being gone on with."""
CHUNK = 0.0
"""Seconds of writing between two looks at the page; 0: one token."""
BASE = "the base model"
LOW, HIGH, STEP = -1.0, 2.0, 0.05
NARROWEST = 260
"""Width in pixels below which texts stand below each other."""


@dataclass
class Text:
    """Text so far, of the base model and of every fine-tune."""

    asked: str
    """What it belongs to: fine-tunes and prompt."""
    tokens: list[list[int]] = field(default_factory=list)
    ended: list[int | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    done: bool = False
    factors: list[tuple[float, int]] = field(default_factory=list)
    """Factors of the biases, each with the number of tokens that were written by it, in order."""

    @property
    def length(self) -> int:
        """Number of tokens so far."""
        return len(self.tokens[0]) if self.tokens else 0

    def take(self, answer: dict[str, Any], factor: float) -> None:
        """Take what was written since, by a factor."""
        new = len(answer["tokens"][0]) - self.length
        if self.factors and self.factors[-1][0] == factor:
            factor, before = self.factors.pop()
            new += before
        self.factors.append((factor, new))
        self.tokens, self.ended, self.texts = answer["tokens"], answer["ended"], answer["texts"]
        self.done = answer["done"]


def writing(setup: Setup, prompt: str) -> None:
    """Draw the buttons, the dial and the texts, and write on while somebody wants it. The last thing on a page.

    Whoever moves the slider or presses a button ends the loop, and the next run of the page goes on with the new value
    where this one was. No fragment: a control of one waits until the run that is under way has ended.
    """
    asked = json.dumps([[run.name, run.opened.title] for run in setup.runs] + [prompt, setup.task])
    text = st.session_state.get(TEXT)
    if text is None or text.asked != asked:
        text = st.session_state[TEXT] = Text(asked)
        st.session_state[GOES] = False
    going = bool(st.session_state.get(GOES)) and not text.done
    with page.control("settings", "try-writing", horizontal=True, vertical_alignment="bottom"):
        st.button(
            "Write" if not text.length else "Go on",
            key="try-write",
            type="primary",
            icon=":material/play_arrow:",
            disabled=going or text.done or not prompt.strip(),
            on_click=_go,
            args=(True,),
        )
        st.button("Stop", key="try-stop", icon=":material/stop:", disabled=not going, on_click=_go, args=(False,))
        st.button(
            "From the start", key="try-anew", icon=":material/restart_alt:", disabled=not text.length, on_click=_anew
        )
        factor = st.slider(
            "λ of the biases",
            LOW,
            HIGH,
            1.0,
            STEP,
            key=LAMBDA,
            bind="query-params",
            format="%.2f",
            width=320,
            help="Every bias is b + λ (b′ − b): 0 is the base model, 1 the fine-tune. Turn it while it writes: the "
            "next token is the model's with the new λ, after all that was written before.",
        )
    places = _boxes(setup)
    below = st.empty()
    _show(setup, text, places, below)
    try:
        while going and not text.done:
            text.take(write_on(setup, prompt, [factor] * len(setup.runs), text.tokens, text.ended, CHUNK), factor)
            _show(setup, text, places, below)
    except UserError as error:
        st.session_state[GOES] = False
        page.report(error, "This could not be written")
        return
    if going:  # its end was reached: the buttons say so
        st.session_state[GOES] = False
        st.rerun()


def _go(on: bool) -> None:
    st.session_state[GOES] = on


def _anew() -> None:
    st.session_state.pop(TEXT, None)
    st.session_state[GOES] = False


def _boxes(setup: Setup) -> list[DeltaGenerator]:
    """Draw a box with a title for the base model and every fine-tune; return where their texts go."""
    names = [BASE, *(run.name for run in setup.runs)]
    grid = st.grid(min(len(names), 4), min_column_width=NARROWEST)
    places = []
    for name in names:
        with grid.cell(), st.container(border=True, height="stretch"):
            st.markdown(f"**{plain(name)}**")
            places.append(st.empty())
    return places


def _show(setup: Setup, text: Text, places: list[DeltaGenerator], below: DeltaGenerator) -> None:
    for row, place in enumerate(places):
        said = text.texts[row] if text.texts else ""
        end = bool(text.ended) and text.ended[row] is not None
        place.markdown(f"{plain(said, 4000)}{' :gray[■]' if end else ' :gray[▌]' if text.length else ''}" or " ")
    below.caption(_so_far(text))


def _so_far(text: Text) -> str:
    """Write how long the text is, and by which λ its tokens were written."""
    if not text.length:
        return "Greedy: always the likeliest next token, until a line ends."
    turns = ", then ".join(f"λ {factor:g} for {count}" for factor, count in text.factors[-8:])
    return f"{text.length} tokens: {turns}. ■ ended."
