"""``beft lesson``: what it prints, and one line for wrong input, before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_runner import assert_refused, beft

from beft_core.settings.arguments import join_values
from dashboard.lesson import write
from dashboard.lesson.shelf import Shelf


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Shelf]:
    """What lessons were asked for; each has one page."""
    shelves: list[Shelf] = []

    def fake(shelf: Shelf, done: Callable[[], None]) -> dict[str, bytes]:
        shelves.append(shelf)
        done()
        return {"index.html": b"x" * 1498, "start.html": b"x", "assets/a.js": b"x"}

    monkeypatch.setattr(write, "files", fake)
    return shelves


def test_it_says_what_to_open(folder: Path, asked: list[Shelf]) -> None:
    done = beft("lesson", "--out", "talk")
    assert done.status == 0 and done.err == ""
    assert done.out.splitlines() == [
        "wrote talk: 2 pages in 3 files, 1.5 kB",
        "open talk/index.html in a browser, or put the folder on any web server",
    ]
    assert len(asked[0].samples) > 10 and not asked[0].own
    told = beft("lesson", "--out", "again", "--json").json
    assert told == {
        "folder": "again",
        "open": "again/index.html",
        "bytes": 1500,
        "files": ["index.html", "start.html", "assets/a.js"],
    }


def test_snapshots_are_paths_whatever_is_in_their_names(folder: Path, asked: list[Shelf]) -> None:
    names = ["a, b.beft.safetensors", "c d.beft.safetensors"]
    assert join_values(["lesson", "--snapshots", *names, "--out", "x"]) == [
        *("lesson", "--snapshots", names[0], "--snapshots", names[1], "--out", "x")
    ]
    assert beft("lesson", "--snapshots", *names, "--out", "talk").status == 0
    assert [one.title for one in asked[0].own] == ["a, b", "c d"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "got no --out"),
        (["--out", "full"], "not empty"),
        (["--out", "full/file"], "is a file"),
        (["--out", "no/where"], "does not exist"),
        (["--out", "new", "--snapshots", "gone.beft.safetensors"], "gone.beft.safetensors"),
        (["--out", "new", "--snapshots", "full/file"], "file"),
    ],
)
def test_wrong_input(arguments: list[str], words: str, folder: Path) -> None:
    (folder / "full").mkdir()
    (folder / "full" / "file").write_bytes(b"no snapshot")
    assert words in assert_refused(beft("lesson", *arguments))
    assert not (folder / "new").exists() and (folder / "full" / "file").read_bytes() == b"no snapshot"
