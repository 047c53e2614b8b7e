"""Files of a folder that anybody may write to: regular ones are read, everything else is refused at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.files.plain_file import open_plain
from beft_core.files.safe_io import read_bounded, read_json_file

pytestmark = pytest.mark.timeout(20)  # opening a pipe would wait for ever


def strange(kind: str, path: Path) -> None:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "endless device":
            path.symlink_to("/dev/zero")
        case "full device":
            path.symlink_to("/dev/full")
        case "link to itself":
            path.symlink_to(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(os.path.relpath(path))


KINDS = ["pipe", "folder", "endless device", "full device", "link to itself", "socket"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "status.json"
    strange(kind, path)
    for mode in ("rb", "ab"):
        for follow in (True, False):
            with pytest.raises(UserError, match=r"cannot (read|write) .*status\.json: .*; expected a regular file"):
                open_plain(path, mode, follow=follow)
    with pytest.raises(UserError, match="a readable JSON file"):
        read_json_file(path)


def test_a_link_is_followed_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"secret")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    assert read_bounded(link, 10) == b"secret"
    with pytest.raises(UserError, match="link: a link; expected a readable file"):
        read_bounded(link, 10, follow=False)


def test_what_is_appended_stands_behind_what_others_wrote_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"old;")
    with open_plain(path, "ab") as one, open_plain(path, "ab") as other:
        for file, words in ((one, b"one;"), (other, b"two;"), (one, b"three")):
            file.write(words)
            file.flush()
    assert path.read_bytes() == b"old;one;two;three"


def test_a_missing_file_is_made_to_append_and_not_to_read(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with pytest.raises(FileNotFoundError):
        open_plain(path)
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "missing" / "log.txt", "ab")
    for _ in range(2):
        with open_plain(path, "ab") as file:
            file.write(b"line\n")
    assert path.read_bytes() == b"line\nline\n"
