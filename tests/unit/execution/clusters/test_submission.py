"""Submission of a sweep and the wait for it: no more jobs than it needs, and no wait for jobs that are gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.execution.clusters import submission as module
from beft_core.execution.clusters.settings import Cluster
from beft_core.execution.clusters.submission import Submission, wait
from beft_core.sweeps.rows import MEMORY_RAN_OUT, plan_columns
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import renewal_of
from beft_core.sweeps.sharing.workers import Heart
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

SPEC = SweepSpec.from_dict({"terms": ["v", "q"], "seeds": 5, "n_train": 8})
RUNS = SPEC.runs()


@pytest.fixture
def submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submission:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    folder = SweepFolder(tmp_path / "a sweep")
    folder.begin(SPEC)
    return Submission(folder, RUNS, Cluster(max_jobs=8), bank_size=3, snapshots=False)


def finish(folder: SweepFolder, count: int) -> None:
    for config in RUNS[:count]:
        folder.save({**plan_columns(config), "state": "done"}, None)


def test_there_are_no_more_jobs_than_there_is_work(submission: Submission) -> None:
    assert submission.jobs == 3  # of ten fine-tunes
    finish(submission.folder, 7)
    assert (submission.missing, submission.jobs) == (10, 3), "what is told of it is what was submitted"
    submission = replace(submission)
    assert (submission.missing, submission.jobs) == (3, 1)
    words = submission.command
    assert str(submission.folder.path) in words and "--requeue" in words
    assert words[words.index("--bank-size") + 1] == "3" and "--no-snapshots" in words


def test_what_is_tried_again_is_work_of_its_jobs(submission: Submission) -> None:
    finish(submission.folder, 9)
    failed = {**plan_columns(RUNS[9]), "state": "failed", "failure": MEMORY_RAN_OUT}
    submission.folder.save(failed, None)
    assert submission.missing == 1 and replace(submission, snapshots=True).missing == 10
    assert len(submission.folder.finished(RUNS)) == 10, "nothing is written yet"
    said: list[str] = []
    submission.begin(SPEC, said.append)
    assert said == ["1 finished fine-tune will be trained again: memory had run out (1)"]
    assert len(submission.folder.finished(RUNS)) == 9 and replace(submission).missing == 1
    known = replace(submission, found=renewal_of(submission.folder, RUNS, Kept()))
    assert known.missing == 10, "as whoever submits has found"


def test_the_wait_counts_what_was_trained_again(submission: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(submission.folder, 9)
    submission.folder.save({**plan_columns(RUNS[9]), "state": "failed", "failure": MEMORY_RAN_OUT}, None)
    submission.begin(SPEC, lambda _: None)

    def asked(job: str) -> bool:
        finish(submission.folder, 10)
        return True

    monkeypatch.setattr(module, "queued", asked)
    monkeypatch.setattr(module, "cancel", lambda job, waiting: None)
    result = wait(submission, "7", Observer())
    assert (result.trained, result.failed, result.stopped) == (1, 0, False)


def test_it_waits_until_all_is_done(submission: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(submission.folder, 2)
    looks: list[str] = []
    ended: list[tuple[str, bool]] = []
    monkeypatch.setattr(module, "cancel", lambda job, waiting: ended.append((job, waiting)))

    def asked(job: str) -> bool:
        looks.append(job)
        finish(submission.folder, 2 + len(looks))
        return True

    monkeypatch.setattr(module, "queued", asked)
    result = wait(submission, "41", Observer())
    assert (result.runs, result.trained, result.failed, result.stopped) == (10, 8, 0, False)
    assert ended == [("41", True)], "jobs that wait would find nothing to do"
    assert set(looks) == {"41"} and (submission.folder.path / "results.csv").is_file()


def test_jobs_that_are_gone_are_not_waited_for(submission: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "queued", lambda job: False)
    with pytest.raises(UserError, match=r"job 41 has ended, and 10 fine-tunes are missing.*the same command again"):
        wait(submission, "41", Observer())
    monkeypatch.setenv("BEFT_CLAIM_SECONDS", "1")
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.3")
    Heart.of_this_process(submission.folder.workers).beat()  # the last one: it says for ever that it works
    with pytest.raises(UserError, match="has ended"):
        wait(submission, "41", Observer())


def test_workers_of_another_submission_are_waited_for(submission: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_CLAIM_SECONDS", "1")
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.05")
    monkeypatch.setattr(module, "queued", lambda job: False)  # its jobs left, since others train all that is left

    def train() -> None:
        with Heart.of_this_process(submission.folder.workers):
            began = time.monotonic()
            while time.monotonic() - began < 2:
                time.sleep(0.05)
            finish(submission.folder, len(RUNS))

    other = threading.Thread(target=train)
    other.start()
    until = time.monotonic() + 10
    while not list(submission.folder.workers.glob("[!.]*.json")) and time.monotonic() < until:
        time.sleep(0.01)
    try:
        assert wait(submission, "41", Observer()).stopped is False
    finally:
        other.join()


def test_merges_and_rows_that_are_damaged_are_waited_for(
    submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = submission.folder
    pair = {"tasks": ["demo-sentiment", "rte"], "terms": ["v"], "merges": ["demo-sentiment+rte"], "n_train": 8}
    folder.begin(SweepSpec.from_dict(pair))
    finish(folder, len(RUNS))
    row = next(folder.rows.glob("[!.]*.json"))
    whole = row.read_text()
    row.write_text("{")
    ended: list[str] = []
    monkeypatch.setattr(module, "cancel", lambda job, waiting: ended.append(job))
    acts: Iterator[Callable[[], object]] = iter(
        [lambda: None, lambda: row.write_text(whole), lambda: folder.keep_merges([])]
    )

    def asked(job: str) -> bool:
        assert not ended, "they have something to do"
        next(acts)()
        return True

    monkeypatch.setattr(module, "queued", asked)
    assert wait(submission, "41", Observer()).stopped is False
    assert ended == ["41"] and next(acts, None) is None
    folder.merges.unlink()
    monkeypatch.setattr(module, "queued", lambda job: False)
    with pytest.raises(UserError, match="job 41 has ended, and the merges are missing"):
        wait(submission, "41", Observer())


def test_a_controller_without_an_answer_is_waited_for_and_so_is_whoever_asks_to_stop(
    submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Impatient(Observer):
        def should_stop(self) -> bool:
            return len(asked) > 20

    monkeypatch.setattr(module, "queued", asked.append)  # None: nobody knows
    result = wait(submission, "41", Impatient())
    assert result.stopped and result.trained == 0
