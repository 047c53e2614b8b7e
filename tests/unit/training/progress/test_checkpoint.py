"""The state of a fine-tune: a save that fails is told once and tried again; one fine-tune at a time has the file."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.files.safetensors_file import write_safetensors
from beft_core.training.progress.checkpoint import Checkpoint, CheckpointError, Progress, held

TENSORS = {"values": np.arange(6, dtype=np.float32).reshape(2, 3)}


class Disk:
    """Renames fail while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        real = Path.replace

        def replace(path: Path, target: Path) -> Path:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, target)

        monkeypatch.setattr(Path, "replace", replace)


def test_a_save_that_fails_is_told_once_and_the_file_of_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, told = Disk(monkeypatch), list[str]()
    checkpoint = Checkpoint(tmp_path / "c", "mine")
    assert checkpoint.save(TENSORS, Progress(step=1), told.append) and told == []
    disk.full = True
    for step in (2, 3, 4):
        assert not checkpoint.save(TENSORS, Progress(step=step), told.append)
    assert len(told) == 1 and "state after step 2 is not saved (cannot write" in told[0]
    assert "the disk is full" in told[0] and "goes on" in told[0] and "tried again later" in told[0]
    loaded = Checkpoint(tmp_path / "c", "mine").load()
    assert loaded is not None and loaded[1].step == 1
    disk.full = False
    assert checkpoint.save(TENSORS, Progress(step=5), told.append)
    assert told[1:] == ["the state is saved again, after step 5"]
    disk.full = True
    assert not checkpoint.save(TENSORS, Progress(step=6), told.append) and len(told) == 3


def test_a_save_that_fails_is_not_due_again_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch).full = True
    checkpoint = Checkpoint(tmp_path / "c", "mine", every_seconds=0.0)
    assert checkpoint.due()
    checkpoint.every_seconds = 60.0
    checkpoint.save(TENSORS, Progress(step=1), lambda text: None)
    assert not checkpoint.due()


def test_saving_takes_a_twentieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    real = Path.replace

    def slow(path: Path, target: Path) -> Path:
        now[0] += 3.0  # seconds
        return real(path, target)

    checkpoint = Checkpoint(tmp_path / "c", "mine", every_seconds=5.0)
    monkeypatch.setattr(Path, "replace", slow)
    assert checkpoint.save(TENSORS, Progress(step=1), lambda text: None)
    now[0] += 59.9
    assert not checkpoint.due()
    now[0] += 0.2
    assert checkpoint.due()


def test_the_last_state_is_told_always_with_what_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, told = Disk(monkeypatch), list[str]()
    checkpoint = Checkpoint(tmp_path / "c", "mine")
    disk.full = True
    checkpoint.save(TENSORS, Progress(step=1), told.append)
    checkpoint.save(TENSORS, Progress(step=2), told.append, last=True)
    assert len(told) == 2 and told[1].endswith("there is no other")
    disk.full = False
    checkpoint.save(TENSORS, Progress(step=3), told.append)
    disk.full = True
    checkpoint.save(TENSORS, Progress(step=4), told.append, last=True)
    assert told[-1].endswith("c holds that after step 3")


def test_a_fine_tune_that_was_saved_once_lags_behind_its_file_until_the_end_is_saved(tmp_path: Path) -> None:
    def tell(text: str) -> Any:
        raise AssertionError(text)

    checkpoint = Checkpoint(tmp_path / "c", "mine")
    assert not checkpoint.lags(9)  # over before it was worth a file
    checkpoint.save(TENSORS, Progress(step=5), tell)
    assert checkpoint.lags(9)
    checkpoint.save(TENSORS, Progress(step=9), tell)
    assert not checkpoint.lags(9)
    again = Checkpoint(tmp_path / "c", "mine")
    assert not again.lags(9) and again.load() is not None
    assert not again.lags(9) and again.lags(10)


def test_a_folder_that_cannot_be_made_is_a_failed_save_too(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "file").touch()
    assert not Checkpoint(tmp_path / "file" / "c", "mine").save(TENSORS, Progress(step=1), told.append)
    assert len(told) == 1 and "goes on" in told[0]


def test_one_fine_tune_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "c"
    with held(path):
        words = rf"checkpoint .*c is in use by process {os.getpid()}, since .*another --checkpoint"
        with pytest.raises(UserError, match=words), held(path):
            raise AssertionError("held twice")
        with held(tmp_path / "new" / "other"), held(None):
            pass
    with held(path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot lock the checkpoint"), held(tmp_path / "file" / "c"):
        raise AssertionError("held")


def _written(path: Path, metadata: dict[str, str]) -> None:
    write_safetensors(path, {"values": np.zeros(2, np.float32)}, metadata)


def _about(**changes: object) -> str:
    return json.dumps({"identity": "mine", **Progress(step=3, seconds=1.0).__dict__, **changes})


@pytest.mark.parametrize(
    "about",
    [
        "",
        "[]",
        "{",
        '"x"',
        "9" * 5000,
        "[" * 10**5,
        _about(step="x"),
        _about(step=-1),
        _about(step=10**400),
        _about(seconds="long"),
        _about(history={}),
        _about(history=[["x"]]),
        _about(trajectory=5),
        _about(failed=[]),
        _about(leaves={"0": "x"}),
        _about(colour="red"),
        '{"identity": "mine"}',
    ],
)
def test_a_checkpoint_whose_metadata_is_damaged_says_how_to_start_over(about: str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    _written(path, {"beft_checkpoint": about})
    with pytest.raises(
        CheckpointError, match=r"c\.safetensors is damaged: .*; try deleting it to start over"
    ) as caught:
        Checkpoint(path, "mine").load()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\0\0\0\0\0\0\0[[[[[[[[", "a pipe", "a folder"])
def test_a_checkpoint_that_is_none_says_how_to_start_over(content: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        os.mkfifo(path) if content == "a pipe" else path.mkdir()
    with pytest.raises(CheckpointError, match=r"is damaged: .*; try deleting it to start over"):
        Checkpoint(path, "mine").load()


def test_a_sound_checkpoint_passes_the_same_look(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    _written(path, {"beft_checkpoint": _about(history=[[{"accuracy": 0.5, "train_loss": None}]], failed={"0": "nan"})})
    tensors, progress = Checkpoint(path, "mine").load() or ({}, Progress())
    assert list(tensors) == ["values"] and progress.step == 3 and progress.failed == {"0": "nan"}
    with pytest.raises(CheckpointError, match="of another fine-tune"):
        Checkpoint(path, "yours").load()


def test_the_state_of_another_fine_tune_is_not_taken(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "c", "mine").save(TENSORS, Progress(step=1), lambda text: None)
    with pytest.raises(CheckpointError, match="checkpoint c of another fine-tune"):
        Checkpoint(tmp_path / "c", "yours").load()
