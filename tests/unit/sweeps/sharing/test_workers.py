"""Signs of life: of a process here it is looked for, of one elsewhere only its file counts, by no other clock."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from beft_core.errors import UserError
from beft_core.process_id import ProcessId, boot_id
from beft_core.sweeps.sharing import workers
from beft_core.sweeps.sharing.workers import Heart, Identity, Watch, Worker, workers_in


def far(name: str = "far-1") -> Identity:
    """A worker of another machine with the number of this process."""
    here = ProcessId.of(psutil.Process())
    return Identity(name, "far", replace(here, boot="another boot"), "pid:[1]")


def beaten(folder: Path, identity: Identity, age: float) -> Path:
    heart = Heart(folder, Worker(identity, 1.0))
    heart.beat()
    then = time.time() - age
    os.utime(heart.path, (then, then))
    return heart.path


def test_a_process_of_this_machine_is_looked_for(tmp_path: Path) -> None:
    me = Identity.of_this_process()
    ended = replace(me, process=replace(me.process, started=1.0, ticks=1))
    assert me.is_gone() is False and ended.is_gone() is True and far().is_gone() is None
    if boot_id() is not None:
        assert replace(me, namespace="pid:[7]").is_gone() is None  # a container of this machine numbers its own
    with Heart(tmp_path, Worker(Identity.of_this_process(), 1.0)) as heart:
        watch = Watch(heart)
        assert not watch.is_gone(me) and watch.is_gone(ended) and watch.is_seen_alive(me)


def test_two_identities_of_one_process_are_two_workers() -> None:
    assert Identity.of_this_process().id != Identity.of_this_process().id


def test_who_was_silent_for_long_is_gone_after_some_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(workers.time, "monotonic", lambda: clock[0])
    with Heart.of_this_process(tmp_path) as heart:
        watch, old, young = Watch(heart), far("old"), far("young")
        beaten(tmp_path, old, 500)
        beaten(tmp_path, young, 0)
        assert not watch.is_gone(old) and not watch.is_gone(young)
        clock[0] += 20
        assert not watch.is_gone(old), "a clock may have been set: first it is watched"
        clock[0] += 6
        assert watch.is_gone(old) and not watch.is_gone(young)
        assert not watch.is_seen_alive(young)
        beaten(tmp_path, young, -1)
        assert not watch.is_gone(young) and watch.is_seen_alive(young)
        clock[0] += 119
        assert not watch.is_gone(young)
        clock[0] += 2
        assert watch.is_gone(young)  # whatever the dates of files say
        assert not watch.is_gone(far("never wrote"))
        clock[0] += 26
        assert watch.is_gone(far("never wrote"))


def test_who_said_goodbye_is_gone_at_once(tmp_path: Path) -> None:
    with Heart(tmp_path, Worker(far(), 1.0)) as other, Heart.of_this_process(tmp_path) as heart:
        assert not Watch(heart).is_gone(far())
        other.tell(state="stopped")
        other.beat()
        assert Watch(heart).is_gone(far())


def test_a_worker_that_left_is_gone_though_its_process_goes_on(tmp_path: Path) -> None:
    with Heart.of_this_process(tmp_path) as before:
        pass  # a sweep in a notebook, whose next sweep is another worker of the same process
    with Heart.of_this_process(tmp_path) as heart:
        watch = Watch(heart)
        assert watch.is_gone(before.worker.identity) and not watch.is_gone(heart.worker.identity)


def test_a_heart_beats_by_itself_and_says_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.05")
    looked: list[int] = []
    with Heart.of_this_process(tmp_path, "cuda:1", "17") as heart:
        heart.on_beat.append(lambda: looked.append(1))
        heart.tell(doing="trains", done=3)
        deadline = time.monotonic() + 20
        while (not looked or Worker.read(heart.path).done != 3) and time.monotonic() < deadline:
            time.sleep(0.01)
        (seen,) = workers_in(tmp_path)
        assert (seen.state, seen.doing, seen.done, seen.device, seen.job) == ("working", "trains", 3, "cuda:1", "17")
        assert seen.identity == heart.worker.identity and looked
    (seen,) = workers_in(tmp_path)
    assert (seen.state, seen.bank) == ("ended", None)


def test_what_it_does_may_take_many_words(tmp_path: Path) -> None:
    heart = Heart.of_this_process(tmp_path)
    heart.tell(doing="demo-sentiment: 128 fine-tunes in one pass (" + "q+v, " * 100)
    heart.beat()
    (seen,) = workers_in(tmp_path)
    assert seen.doing.startswith("demo-sentiment: 128 fine-tunes")


@pytest.mark.parametrize("text", ["", "{}", '{"identity": {"id": 3}, "began": 1}', '{"identity": null, "began": -1}'])
def test_files_of_strangers_are_left_out(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    assert workers_in(tmp_path) == []
    with pytest.raises(UserError):
        Worker.read(tmp_path / "x.json")
    assert workers_in(tmp_path / "gone") == []
