"""Private names of Streamlit do what they are used for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from dashboard import streamlit_private


def test_an_address_is_sent_and_known_to_the_run() -> None:
    sent: list[Any] = []
    run: Any = SimpleNamespace(query_string="a=1", enqueue=sent.append)
    streamlit_private.send_address(run, "a=2&b=3")
    assert [message.page_info_changed.query_string for message in sent] == ["a=2&b=3"] == [run.query_string]


def test_uploads_are_given_back_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = MemoryUploadedFileManager("/upload")
    for name in ("one", "other"):
        manager.add_file("session", UploadedFileRec(name, name, "text", b"x"))
    run = SimpleNamespace(uploaded_file_mgr=manager, session_id="session")
    monkeypatch.setattr(streamlit_private, "current_run", lambda: run)
    streamlit_private.release_uploads([SimpleNamespace(file_id="one")])
    assert [file.file_id for file in manager.get_files("session", ["one", "other"])] == ["other"]
