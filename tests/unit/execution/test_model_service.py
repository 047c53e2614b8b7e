"""The process that answers questions: answers, refusals, and every way in which it can end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from beft_core.errors import UserError
from beft_core.execution import model_service as module
from beft_core.execution.model_service import ModelService

FAKE = Path(__file__).parents[2] / "fake_desk.py"


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelService]:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "service_command", lambda: [sys.executable, str(FAKE)])
    started = ModelService()
    yield started
    started.close()


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "still there"
        time.sleep(0.02)


def test_one_process_answers_all_questions_in_order(desk: ModelService) -> None:
    assert not desk.running
    first = desk.ask("prove", text="ä\n$x$")
    assert first["text"] == "ä\n$x$" and first["pid"] != os.getpid() and desk.running
    big = desk.ask("prove", text="x" * 300_000)  # more than a pipe holds
    assert len(big["text"]) == 300_000 and (big["pid"], big["asked"]) == (first["pid"], 2)


def test_a_user_error_passes_through_and_the_process_goes_on(desk: ModelService) -> None:
    pid = desk.ask("prove")["pid"]
    with pytest.raises(UserError) as caught:
        desk.ask("prove", act="wrong")
    assert (caught.value.got, caught.value.expected, caught.value.try_) == ("got 3 layers", "6", "another model")
    assert desk.ask("prove")["pid"] == pid


@pytest.mark.parametrize(("act", "words"), [("crash", "ZeroDivisionError: a defect"), ("killed", "SIGKILL")])
def test_a_process_that_ends_is_told_and_started_again(desk: ModelService, act: str, words: str) -> None:
    pid = desk.ask("prove")["pid"]
    with pytest.raises(UserError, match=words):
        desk.ask("prove", act=act)
    assert not desk.running
    again = desk.ask("prove")
    assert again["pid"] != pid and again["asked"] == 1


def test_a_process_killed_between_two_questions_is_started_again(desk: ModelService) -> None:
    pid = desk.ask("prove")["pid"]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while desk.running:  # a process whose other threads are still ending is a zombie that nobody can wait for yet
        assert time.monotonic() < deadline, "still there"
        time.sleep(0.02)
    assert desk.ask("prove")["asked"] == 1


def test_closing_it_in_the_middle_of_an_answer_is_told(desk: ModelService) -> None:
    """As when the server ends while a page waits: one line, no traceback of a thread."""
    told: list[str] = []

    def asks() -> None:
        with pytest.raises(UserError) as caught:
            desk.ask("prove", act="slow")
        told.append(str(caught.value))

    desk.ask("prove")
    thread = threading.Thread(target=asks)
    thread.start()
    time.sleep(0.2)
    desk.close()
    thread.join(10)
    assert len(told) == 1 and "was closed" in told[0]


def test_who_waits_hears_for_what_and_for_how_long_and_not_for_ever(
    desk: ModelService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"QUIET_SECONDS": 0.02, "TELL_SECONDS": 0.02, "WAIT_SECONDS": 0.5}.items():
        monkeypatch.setattr(module, name, seconds)
    desk.ask("prove")

    def long_question() -> None:
        with suppress(UserError):  # it is closed in the end
            desk.ask("prove", act="slow")

    thread = threading.Thread(target=long_question)
    thread.start()
    while desk._at_work is None:
        time.sleep(0.01)
    told: list[str] = []
    with pytest.raises(UserError, match="and others wait; try again"), desk.turn(told.append):
        pass
    assert len(told) > 1
    assert all(re.fullmatch(rf"the model has been {module.AT_WORK['prove']} for \d+ s", words) for words in told)
    with pytest.raises(UserError, match="and others wait"):
        desk.ask("prove")
    desk.close()
    thread.join(10)
    with desk.turn(told.append):  # whose own questions do not wait for it
        assert desk.ask("prove")["asked"] == 1


def test_every_question_has_words_for_who_waits_for_it() -> None:
    assert set(module.AT_WORK) == set(module.QUESTIONS)


def test_the_memory_bound_is_held_and_named(desk: ModelService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_DESK_GB", "0.5")
    with pytest.raises(UserError, match=r"more than the 0\.5 GB"):
        desk.ask("prove", act="greedy")
    assert desk.ask("prove")["asked"] == 1


def test_a_bound_that_is_no_number_is_told_and_nothing_is_started(
    desk: ModelService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_DESK_GB", "abc")
    with pytest.raises(UserError, match="got BEFT_DESK_GB='abc'"):
        desk.ask("prove")
    assert not desk.running


def test_a_question_that_takes_too_long_is_given_up(desk: ModelService) -> None:
    pid = desk.ask("prove")["pid"]
    with pytest.raises(UserError, match="no answer after 0 seconds"):
        desk.ask("prove", act="slow", timeout=0.2)
    wait_for_end(pid)
    assert desk.ask("prove")["asked"] == 1


def test_an_idle_process_gives_its_memory_back_and_comes_again(
    desk: ModelService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DESK_IDLE", "0.2")
    pid = desk.ask("prove")["pid"]
    wait_for_end(pid)
    assert desk.ask("prove")["pid"] != pid


def test_questions_of_several_threads_get_their_own_answers(desk: ModelService) -> None:
    answers: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda text=text: answers.update({text: desk.ask("prove", text=text)["text"]}))
        for text in "abcdefgh"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {text: text for text in "abcdefgh"}


@pytest.mark.skipif(sys.platform == "win32", reason="there, a pipe that closes ends it after its answer")
@pytest.mark.parametrize("act", ["", "slow"])
def test_it_ends_with_whoever_started_it(tmp_path: Path, act: str) -> None:
    """Also when that one is killed, and in the middle of an answer."""
    script = (
        "import sys, threading, time\nfrom beft_core.execution import model_service as module\n"
        f"module.service_command = lambda: [sys.executable, {str(FAKE)!r}]\n"
        "desk = module.ModelService()\nprint(desk.ask('prove')['pid'], flush=True)\n"
        f"desk.ask('prove', act={act!r})\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "BEFT_HOME": str(tmp_path)}
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for_end(pid)


def test_one_that_keeps_no_log_writes_no_file_and_still_tells_the_last_words(
    desk: ModelService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = ModelService(keeps_log=False)
    try:
        assert silent.ask("prove", text="x")["text"] == "x"
        with pytest.raises(UserError, match="ZeroDivisionError: a defect"):
            silent.ask("prove", act="crash")
    finally:
        silent.close()
    assert not (tmp_path / "home").exists()


def test_no_place_for_its_words_is_one_line(
    desk: ModelService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("no folder")
    with pytest.raises(UserError, match=r"cannot write .*desk\.txt: .*try BEFT_HOME"):
        desk.ask("prove")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"cannot make a temporary file: No such file.*try TMPDIR"):
        ModelService(keeps_log=False).ask("prove")
