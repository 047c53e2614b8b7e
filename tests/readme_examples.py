"""The console examples of the README and of ``beft docs``: found, run, compared, and written anew.

``python tests/readme_examples.py`` runs every example and rewrites what it prints; training takes some minutes, and
examples on real data need ``BEFT_GLUE_DIR``. ``--quick`` runs only those that train nothing, ``--only WORDS`` those
whose command has these words. ``--check`` writes nothing and says which print something else than the page shows, apart
from seconds, which a busy machine would spoil. A test runs some, and compares.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "beft_core" / "docs").glob("*.md")))

TRAINS = ("beft select", "beft train", "beft sweep", "beft evaluate", "--evaluate")
"""What takes longer than reading files."""
WIDTH = "80"
"""Columns of the terminal that the examples show."""

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS = re.compile(r"\b[0-9]+\.[0-9] s\b")


@dataclass(frozen=True)
class Example:
    """One command of a page and what the page shows of its output."""

    page: Path
    command: str
    """As typed, lines joined; settings of the environment may stand before ``beft``."""
    shown: str

    @property
    def trains(self) -> bool:
        """Whether it takes longer than reading files."""
        return any(words in self.command for words in TRAINS)


def examples(page: Path) -> Iterator[Example]:
    """Find the console blocks of a page; each holds one command after ``$``."""
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        command, shown = _parts(block)
        yield Example(page, command, shown)


def run(example: Example, folder: Path) -> str:
    """Run an example in ``folder``, where the samples are, and give what it printed. Raises where it fails."""
    if not (folder / "sample_snapshots").exists():
        (folder / "sample_snapshots").symlink_to(ROOT / "sample_snapshots")
    words = shlex.split(example.command)
    environment = os.environ | {"COLUMNS": WIDTH, "PYTHONPATH": str(ROOT)}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        if name not in os.environ:
            raise KeyError(f"{example.command} needs {name}={value}")
    if words.pop(0) != "beft":
        raise ValueError(f"{example.command}: not a command of the lab")
    done = subprocess.run(
        [sys.executable, "-m", "beft_core", *_files(words, folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{example.command}: {done.stderr}")
    return done.stdout


def comparable(text: str) -> str:
    """Take out of an output what differs from run to run: seconds, and blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in _SECONDS.sub("X s", text).strip().splitlines())


def check(wanted: Iterable[Example], folder: Path) -> int:
    """Run examples, print how each differs from what its page shows, and return how many do."""
    differing = 0
    for example in wanted:
        sys.stderr.write(f"{example.page.name}: {example.command}\n")
        printed = comparable(run(example, folder))
        lines = list(difflib.unified_diff(*(text.splitlines() for text in (comparable(example.shown), printed)), n=0))
        differing += bool(lines)
        sys.stdout.write("\n".join([example.command, *(lines or ["as shown"]), ""]))
    return differing


def rewrite(page: Path, wanted: Callable[[Example], bool], folder: Path) -> None:
    """Run the examples of a page that are wanted, and put what they print in place of what it shows."""

    def anew(match: re.Match[str]) -> str:
        command, shown = _parts(match[1])
        example = Example(page, command, shown)
        if not wanted(example):
            return match[0]
        sys.stderr.write(f"{page.name}: {command}\n")
        typed = match[1][: len(match[1]) - len(shown)]
        return f"```console\n{typed}{_trimmed(run(example, folder))}\n```"

    page.write_text(_BLOCK.sub(anew, page.read_text(encoding="utf-8")), encoding="utf-8")


def _parts(block: str) -> tuple[str, str]:
    """The command, lines joined, and the rest of a block."""
    lines = block.splitlines(keepends=True)
    count = 1
    while lines[count - 1].rstrip().endswith("\\"):
        count += 1
    typed = " ".join(line.strip().removesuffix("\\").strip() for line in lines[:count])
    return typed.removeprefix("$ "), "".join(lines[count:])


def _files(words: list[str], folder: Path) -> list[str]:
    """Words with the patterns of file names filled in, as a shell does."""
    found: list[str] = []
    for word in words:
        matches = sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if "*" in word else []
        found += matches or [word]
    return found


def _trimmed(output: str) -> str:
    return "\n".join(line.rstrip() for line in output.strip("\n").splitlines())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only examples that train nothing")
    parser.add_argument("--only", default="", metavar="WORDS", help="only examples whose command has these words")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    chosen = parser.parse_args()

    def wanted(example: Example) -> bool:
        return chosen.only in example.command and not (chosen.quick and example.trains)

    with tempfile.TemporaryDirectory() as scratch:
        if chosen.check:
            found = [example for page in PAGES for example in examples(page) if wanted(example)]
            sys.exit(bool(check(found, Path(scratch))))
        for one in PAGES:
            rewrite(one, wanted, Path(scratch))
