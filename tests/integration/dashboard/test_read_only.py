"""A read-only server: whatever a link says, every page leaves the home folder as it was and opens no other folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
import streamlit as st
from dashboard_tools import PlayedService, app, sound
from fake_worker import small_snapshot

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.exchange import upload_library
from beft_core.files.home import home
from beft_core.models.source import bundled_path
from beft_core.process_id import ProcessId
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import write_snapshot
from dashboard.shared import model_service, page

pytestmark = pytest.mark.usefixtures("lab")

_WATCHED: list[tuple[str, list[str]]] = []
"""Folder, and what was opened or listed below it; an audit hook cannot be taken away, so it looks here."""


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _WATCHED and event in ("open", "os.listdir", "os.scandir", "os.mkdir") and isinstance(arguments[0], str | Path):
        for folder, seen in _WATCHED:
            if os.path.abspath(arguments[0]).startswith(folder):  # noqa: PTH100  # resolve() would be audited itself
                seen.append(f"{event} {arguments[0]}")


@cache
def _listen() -> None:
    """From here on every event of the interpreter calls the hook, so that not all tests pay for it."""
    sys.addaudithook(_audit)


@contextmanager
def watching(folder: Path) -> Iterator[list[str]]:
    _listen()
    _WATCHED.append((str(folder), []))
    yield _WATCHED[-1][1]
    _WATCHED.pop()


@pytest.mark.parametrize(("value", "locked"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_the_variable_says_yes_or_no(value: str, locked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_READ_ONLY", value)
    assert page.read_only() is locked and bool(page.locked()) is locked


def everything(folder: Path) -> dict[str, tuple[int, str]]:
    """Path -> time of change and content, of all files and folders."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A complete model in a folder that is nobody's business."""
    folder = tmp_path / "outside" / "model"
    folder.mkdir(parents=True)
    for file in bundled_path().iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process at work."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def busy_home(worker: subprocess.Popen[bytes]) -> Path:
    """Runs in all states, one of which should have ended long since it was cancelled; and an upload."""
    config = RunConfig(task="demo-sentiment", n_train=300)
    at_work, now = ProcessId.of(psutil.Process(worker.pid)), time.time()
    for state, process in (("done", None), ("running", None), ("running", at_work), ("queued", None)):
        run = Run.create("select", config.to_dict())
        run.write_status(Status(state, created=now - 900, began=now - 890, process=process, stage="train", total=9))
        if state == "done":
            write_snapshot(run.snapshot, small_snapshot())
        if process is not None:
            run.ask_cancel()
            os.utime(run.path / "cancel", (now - 800, now - 800))
    upload_library.keep(small_snapshot(3), "kept.beft.safetensors")
    return home()


def links(outside: Path) -> list[dict[str, str]]:
    """Hostile query strings: every name of a link that could lead to a place."""
    names = (
        "why_model",
        "ft_model",
        "sw_model",
        "upload_base",
        "snapshot",
        "geo_snapshot",
        "compare",
        "results",
        "run",
        "merge_run",
        "sweep_run",
        "runs",
        "ft_table",
        "ft_task",
        "sw_tasks",
        "merge",
        "dial_snapshot",
        "dial_run",
    )
    places = (str(outside), f"../../../../{outside.relative_to('/')}", "~root", "some-org/some-model")
    return [dict.fromkeys(names, place) for place in places]


@pytest.mark.parametrize("name", page.PLACES)
def test_pages_write_nothing_and_open_no_folder_of_a_link(
    name: str, outside: Path, busy_home: Path, worker: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_READ_ONLY", "1")
    st.cache_data.clear()
    before = everything(busy_home)
    asked: list[str] = []

    class Desk(PlayedService):
        def ask(self, question: str, *_: Any, **fields: Any) -> Any:
            asked.append(json.dumps(fields))
            raise UserError("not now")

    monkeypatch.setattr(model_service, "service", Desk)
    with watching(outside.parent) as opened:
        for link in [{}, *links(outside)]:
            at = app(name)
            at.query_params.update(link)
            sound(at.run())
    assert not opened
    assert not [one for one in asked if "outside" in one or "some-org" in one]
    assert everything(busy_home) == before and worker.poll() is None


@pytest.mark.parametrize(("name", "key"), [("why", "why_model"), ("fine_tune", "ft_model"), ("sweep", "sw_model")])
def test_a_model_of_a_link_is_opened_elsewhere_and_refused_here(
    name: str, key: str, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for read_only in ("", "1"):
        monkeypatch.setenv("BEFT_READ_ONLY", read_only)
        st.cache_data.clear()
        at = app(name)
        if key == "sw_model":  # not part of links
            sound(at.run())
            at.text_input(key=key).input(str(outside))
        else:
            at.query_params[key] = str(outside)
        sound(at.run())
        told.append(" ".join(str(one.value) for one in [*at.error, *at.warning]))
    assert "read-only server" not in told[0].replace("\\", "")
    assert "the only one that it opens" in told[1].replace("\\", "")


def test_the_desk_is_not_asked_for_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_READ_ONLY", "1")
    with pytest.raises(UserError, match="read-only"):
        model_service.ask("model", "", model="./somewhere")
