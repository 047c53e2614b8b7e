"""Try it for language models, in process, on a tiny decoder: candidates side by side, text while the dial turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from dashboard_tools import PlayedService, button, charts, opened, sound
from example_decoder import asked_fine_tune, write_decoder
from streamlit.testing.v1 import AppTest

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.held import HeldFineTunes
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import write_snapshot
from beft_core.training import inputs
from dashboard.app_pages.try_it import writing
from dashboard.app_pages.try_it.setup import FIRST
from dashboard.shared import model_service
from dashboard.shared.sources import run_title

WORDS = ("terrible", "great")


class InProcess(PlayedService):
    """A desk that is this process."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.held = HeldFineTunes()
        self.refusal: UserError | None = None

    def ask(self, question: str, timeout: float = 0, **fields: Any) -> Any:
        self.asked.append((question, fields))
        if self.refusal is not None:
            raise self.refusal
        return getattr(self.held, question)(**fields)


@pytest.fixture
def desk(lab: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    played = InProcess()
    monkeypatch.setattr(model_service, "service", lambda: played)
    st.cache_data.clear()
    return played


@pytest.fixture
def runs(lab: Path) -> dict[str, str]:
    """Titles of three finished runs of a tiny decoder: b_v and b_q on candidates, b_v on free text."""
    folder = write_decoder(lab / "tiny")
    answers: tuple[tuple[str, str, tuple[str, ...]], ...] = (("v", "v", WORDS), ("q", "q", WORDS), ("writes", "v", ()))
    return {name: finished(folder, term, words, "asks") for name, term, words in answers}


def finished(folder: Path, term: str, candidates: tuple[str, ...], task: str) -> str:
    """Title of a run that has ended."""
    model = inputs.load(RunConfig(model=str(folder)))
    run = Run.create("train", RunConfig(model=str(folder), terms=(term,), add_bias=(term,)).to_dict())
    write_snapshot(run.snapshot, asked_fine_tune(model, term, candidates=candidates, task=task))
    run.write_status(Status("done", created=1.0, began=2.0, ended=3.0))
    return run_title(run)


def words(at: AppTest) -> str:
    return " ".join(element.value for element in [*at.markdown, *at.caption, *at.info, *at.error])


def test_candidates_of_base_and_fine_tunes_side_by_side(desk: InProcess, runs: dict[str, str]) -> None:
    at = opened("try_it", **{"try": [runs["v"], runs["q"]]})
    assert at.text_area(key="try_prompt").value == f"{FIRST} It was"
    assert at.text_area(key="try_candidates").value == "terrible\ngreat"
    table = at.dataframe[0].value
    assert table[""].tolist() == ["the base model", "b_v", "b_q"]
    assert table[["terrible", "great"]].sum(axis=1).tolist() == pytest.approx([1.0] * 3)
    assert charts(at) == 2 and "Which layer made it" in [heading.value for heading in at.subheader]
    assert "Ring: **the base model**" in words(at) and "its own head" not in words(at)
    question, fields = desk.asked[-1]
    assert question == "ask" and fields["candidates"] == list(WORDS) and fields["apart"] == [0]
    at = sound(at.text_area(key="try_candidates").set_value("bad\nbad").run())
    assert "two candidates or more that differ" in words(at)
    at = sound(at.text_area(key="try_candidates").set_value("bad\nfine\nso good").run())
    assert list(at.dataframe[0].value) == ["", "bad", "fine", "so good"]


def test_it_writes_while_the_dial_turns(desk: InProcess, runs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("try_it", **{"try": [runs["writes"]], "try_lambda": "0.5"})
    assert "Which candidate" not in words(at) and button(at, "Stop").disabled
    assert not [question for question, _ in desk.asked]  # nothing is written before somebody wants it
    at = sound(button(at, "Write").click().run(timeout=120))
    text = at.session_state[writing.TEXT]
    assert text.done and text.factors == [(0.5, text.length)] and len(text.texts) == 2
    assert {tuple(fields["factors"]) for _, fields in desk.asked} == {(0.5,)}
    assert f"{text.length} tokens: λ 0.5 for {text.length}" in words(at)
    assert button(at, "Go on").disabled and not button(at, "From the start").disabled
    at = sound(button(at, "From the start").click().run())
    assert at.session_state[writing.TEXT].length == 0 and not button(at, "Write").disabled
    at = sound(at.text_area(key="try_prompt").set_value("other words").run())
    assert at.session_state[writing.TEXT].length == 0


def test_turns_are_told_and_a_refusal_stops_it(desk: InProcess, runs: dict[str, str]) -> None:
    text = writing.Text("x")
    for factor, rows in ((1.0, [[5]]), (1.0, [[5, 6]]), (0.0, [[5, 6, 7]])):
        text.take({"tokens": rows, "ended": [None], "texts": ["."], "done": False}, factor)
    assert text.factors == [(1.0, 2), (0.0, 1)] and text.length == 3
    desk.refusal = UserError("no answer after 120 seconds", "a model that this machine can run at once")
    at = sound(button(opened("try_it", **{"try": [runs["writes"]]}), "Write").click().run(timeout=60))
    assert at.error and not at.session_state[writing.GOES]


def test_a_prompt_of_the_page_goes_with_its_task_and_words_of_ones_own_stay(
    desk: InProcess, runs: dict[str, str], lab: Path
) -> None:
    other = finished(lab / "tiny", "v", ("bad", "fine"), "rates")
    at = opened("try_it", **{"try": [runs["v"]]})
    assert at.text_area(key="try_candidates").value == "terrible\ngreat"
    at = sound(at.multiselect(key="try").set_value([other]).run())
    assert at.text_area(key="try_candidates").value == "bad\nfine" and desk.asked[-1][1]["candidates"] == [
        "bad",
        "fine",
    ]
    at = sound(at.text_area(key="try_prompt").set_value("words of mine").run())
    at = sound(at.multiselect(key="try").set_value([runs["v"]]).run())
    assert at.text_area(key="try_prompt").value == "words of mine"
    assert at.text_area(key="try_candidates").value == "bad\nfine"
