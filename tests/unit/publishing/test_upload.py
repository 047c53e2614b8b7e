"""Uploads, against a small server that answers as the Hub does: what is sent, how private, and what goes wrong."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from beft_core.errors import UserError
from beft_core.publishing import upload as uploads
from beft_core.publishing.folder import HubFolder
from beft_core.publishing.upload import upload

REPO = "org/name"


class FakeHub(BaseHTTPRequestHandler):
    """A Hub with the repositories of ``private``: name -> whether it is private."""

    private: dict[str, bool]
    calls: list[tuple[str, str]]
    commits: list[dict[str, bytes]]
    refuses: dict[str, tuple[int, str]]
    """Begin of a path -> status and words of the answer."""
    tokens: set[str | None]

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.answer(200, {})

    def do_GET(self) -> None:
        self.calls.append(("GET", self.path))
        self.answer(200, {"id": REPO, "private": self.private[REPO], "tags": [], "siblings": []})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self.chunks()
        self.calls.append(("POST", self.path))
        self.tokens.add(self.headers.get("Authorization"))
        for begin, (status, words) in self.refuses.items():
            if self.path.startswith(begin):
                return self.answer(status, {"error": words})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.private:
                return self.answer(409, {"error": "You already created this model repo"})
            self.private[name] = asked.get("private", asked.get("visibility") == "private")
            return self.answer(200, {"url": f"{constants.ENDPOINT}/{name}"})
        if self.path.endswith("/preupload/main"):
            files = [{**one, "uploadMode": "regular", "shouldIgnore": False} for one in json.loads(body)["files"]]
            return self.answer(200, {"files": files})
        assert self.path.endswith("/commit/main"), self.path
        lines = [json.loads(line) for line in body.splitlines() if line]
        self.commits.append(
            {one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines if one["key"] == "file"}
        )
        return self.answer(200, {"commitUrl": f"{constants.ENDPOINT}/{REPO}/commit/1", "commitOid": "1" * 40})

    def chunks(self) -> bytes:
        body = b""
        while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    class Own(FakeHub):
        private, calls, commits, refuses, tokens = {}, [], [], {}, set()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    yield Own
    server.shutdown()
    server.server_close()
    thread.join()
    huggingface_hub.close_session()


@pytest.fixture
def folder(tmp_path: Path) -> HubFolder:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n\n# a\n")
    (tmp_path / "snapshot.beft.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "secret.txt").write_text("not in the list")
    return HubFolder(tmp_path, (("README.md", 28), ("snapshot.beft.safetensors", 256)), False, False)


@pytest.mark.parametrize("public", [False, True])
def test_the_files_arrive_in_one_commit_of_a_new_repository(
    public: bool, hub: type[FakeHub], folder: HubFolder
) -> None:
    assert upload(folder, REPO, public=public) == f"{constants.ENDPOINT}/{REPO}"
    assert hub.private == {REPO: not public}
    assert hub.commits == [{name: (folder.path / name).read_bytes() for name, _ in folder.files}]
    assert hub.calls[0] == ("POST", "/api/validate-yaml"), "before a repository is made"
    assert hub.tokens - {None} == {"Bearer hf_secret"}


def test_a_repository_that_exists_gets_a_commit_where_it_is_as_private(hub: type[FakeHub], folder: HubFolder) -> None:
    hub.private[REPO] = True
    assert upload(folder, REPO) == f"{constants.ENDPOINT}/{REPO}" and len(hub.commits) == 1
    with pytest.raises(UserError, match=r"exists and is private, with --public; .*try without --public"):
        upload(folder, REPO, public=True)
    hub.private[REPO] = False
    with pytest.raises(UserError, match="exists and is public, with no --public"):
        upload(folder, REPO)
    assert len(hub.commits) == 1


@pytest.mark.parametrize(
    ("path", "status", "words", "said"),
    [
        ("/api/validate-yaml", 400, "license is not known", "README.md, which the Hub refuses .*license is not known"),
        ("/api/repos/create", 403, "no rights in org", r"no rights in org.*the token may not write there"),
        ("/api/repos/create", 401, "Invalid username or password", "the token may not write there"),
        (f"/api/models/{REPO}/commit", 500, "broken", "got an answer of the Hub to org/name"),
    ],
)
def test_what_the_hub_refuses_is_one_line_and_the_folder_stays(
    path: str,
    status: int,
    words: str,
    said: str,
    hub: type[FakeHub],
    folder: HubFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client asks again after an error of the server
    hub.refuses[path] = (status, words)
    with pytest.raises(UserError, match=said) as error:
        upload(folder, REPO)
    assert f"{folder.path} is kept" in str(error.value) and "hf_secret" not in str(error.value)
    assert not hub.commits and (folder.path / "README.md").is_file()


def test_without_a_token_or_a_hub_nothing_is_asked(
    hub: type[FakeHub], folder: HubFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE is set; .* is kept"):
        upload(folder, REPO)
    monkeypatch.setattr(uploads, "offline_mode", lambda: False)
    with pytest.raises(UserError, match=r"the Hub cannot be reached; .* is kept"):
        upload(folder, REPO)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UserError, match=r"got no token of the Hub; .* is kept.*try hf auth login"):
        upload(folder, REPO)
    assert hub.calls == []


def test_a_connection_that_breaks_is_one_line(
    hub: type[FakeHub], folder: HubFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "hub_answers", lambda: True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="got no upload to org/name"):
        upload(folder, REPO)
