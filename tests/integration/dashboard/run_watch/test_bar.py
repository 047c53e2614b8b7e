"""The status bar in process: on every page while a run is at work, its words, its buttons, and how a run ended."""

from __future__ import annotations

import os
import signal
import time

import pytest
from dashboard_tools import begin, button, opened, sound, wait
from streamlit.testing.v1 import AppTest

from beft_core.runs import about
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from dashboard.run_watch import bar
from dashboard.shared.page import PLACES

pytestmark = pytest.mark.usefixtures("lab")


def said(at: AppTest) -> str:
    return next((one.proto.body for one in at.get("html") if 'class="run-bar"' in one.proto.body), "")


def test_every_page_tells_of_a_run_at_work_and_one_of_them_ends_it() -> None:
    assert not said(opened("runs"))
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    for name in PLACES:
        at = opened(name)
        assert run.id[-6:] in said(at) and "of 10,000" in said(at) and "<progress" in said(at), name
        here = name == "fine_tune"  # the page of its card scrolls to it, the others lead there
        assert any(one.key == "run-bar-show" for one in at.button) == here, name
    worker = run.recorded().process.pid
    os.kill(worker, signal.SIGSTOP)  # else it may have ended before the page is drawn
    at.button(key="run-bar-cancel").click().run()
    assert run.cancel_asked() and "cancelling" in said(sound(at))
    os.kill(worker, signal.SIGCONT)
    wait(lambda: not run.status().active)
    assert "was cancelled" in said(sound(at.run())) and "<progress" not in said(at)
    button(at, "Dismiss").click().run()
    assert not said(sound(at)) and not said(opened("start"))  # one who did not see it at work is told on Runs


def test_a_presenter_and_a_read_only_server_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    assert opened("start", present="true").button(key="run-bar-cancel").disabled
    at = opened("start")
    monkeypatch.setenv("BEFT_READ_ONLY", "1")
    at.button(key="run-bar-cancel").click().run()
    assert not run.cancel_asked()


def test_a_card_stands_first_only_for_whoever_came_for_it() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")

    def above_the_form(at: AppTest) -> bool:
        kinds = [(one.type, getattr(one, "key", "")) for one in at.main]
        return kinds.index(("progress", None)) < kinds.index(("radio", "ft_do"))

    assert above_the_form(opened("fine_tune", run=run.id))
    at = opened("fine_tune")  # found at work here: below, where it pushes nothing away
    assert at.query_params["run"] == run.id and not above_the_form(at)
    assert not above_the_form(sound(at.run()))  # also now that the URL names it
    at.button(key="run-bar-show").click().run()
    assert at.session_state["in-view"]["scroll"] and not above_the_form(sound(at))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status("queued", 0, position=2), "waits for its device"),
        (Status("cancelling", 0, stage="train", done=5, total=10), "cancelling"),
        (Status("running", 0), "preparing"),
        (Status("running", 0, stage="load"), "load"),
        (Status("running", 0, stage="train", stage_began=0, done=5, total=10), "train 5 of 10, about 20 s of it left"),
        (Status("running", 0, began=0, stage="train", stage_began=0, done=1, total=1000), "train 1 of 1,000"),
    ],
)  # fmt: skip
def test_what_is_left_is_said_as_far_as_it_is_known(status: Status, words: str) -> None:
    assert bar.progress(Run.create("train", {"task": "sst2"}), status, now=20.0) == words


def test_a_measured_estimate_is_of_the_whole_run_and_a_name_is_no_markup() -> None:
    run = Run.create("train", {"task": "sst2"})
    about.set_estimate(run, 120.0, 10**9)
    now = time.time()
    status = Status("running", now, began=now - 40, stage="train", stage_began=now - 30, done=1, total=2)
    assert bar.progress(run, status, now) == "train 1 of 2, about 80 s left"
    assert "<img" not in bar.line('<img src="x">', 0.5, "<b>") and 'value="0.500"' in bar.line("x", 0.5, "")
