"""Conversion: once for each content, complete or not at all, and never of weights that were read wrongly."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from gguf_files import whole

from beft_core.errors import NotConverted, UserError
from beft_core.models.gguf import convert
from beft_core.models.gguf.convert import DONE, converted, told_to


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "model.gguf"
    made.write_bytes(whole())
    return made


class Child:
    """Stands for the process: writes what it is told to, and counts how often it was run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nats: float = 3.0, error: BaseException | None = None) -> None:
        self.runs, self.nats, self.error = 0, nats, error
        monkeypatch.setattr(convert, "_run", self)
        monkeypatch.setattr(convert, "require_reader", lambda name: None)
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")

    def __call__(self, file: Path, made: Path, memory: int, tell: Any) -> float:
        self.runs += 1
        (made / "model.safetensors").write_text("weights")
        tell(0.5)
        if self.error is not None:
            raise self.error
        return self.nats


def test_once_for_each_content(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(monkeypatch)
    told: list[float] = []
    beside = file.with_name("TERMS.html")
    beside.write_text("terms")
    folder = converted(file, progress=told.append, beside=[beside])
    assert folder.parent == home / "models" and {one.name for one in folder.iterdir()} == {
        DONE,
        "model.safetensors",
        "TERMS.html",
    }
    about = json.loads((folder / DONE).read_text())
    assert (about["source"], about["architecture"], about["nats_per_token"]) == ("model.gguf", "gemma3", 3.0)
    assert told == [0.5, 1.0]
    moved = file.rename(file.with_name("other.gguf"))
    assert converted(moved, local_only=True) == folder and child.runs == 1
    moved.write_bytes(whole(data=672 + 32))
    assert converted(moved) != folder and child.runs == 2


def test_who_listens_is_told_where_nobody_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Child(monkeypatch)
    heard: list[float] = []
    with told_to(heard.append):
        converted(file)
    assert heard == [0.5, 1.0] and capsys.readouterr().err == ""
    file.write_bytes(whole(data=672 + 32))
    converted(file)  # nobody listens any more
    assert len(heard) == 2 and "converting model.gguf, once" in capsys.readouterr().err


@pytest.mark.parametrize("error", [None, UserError("got x, which cannot be converted"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing(
    error: BaseException | None, file: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Child(monkeypatch, nats=7.2, error=error)
    expected = UserError if error is None else type(error)
    with pytest.raises(expected, match=None if error else r"finds 7\.2 nats per token"):
        converted(file)
    assert [one for one in (home / "models").iterdir() if one.is_dir()] == []


def test_not_a_number_is_no_loss(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Child(monkeypatch, nats=float("nan"))
    with pytest.raises(UserError, match="nan nats"):
        converted(file)


def test_not_converted_and_must_not_be(file: Path, home: Path) -> None:
    with pytest.raises(NotConverted, match=r"model\.gguf, which is not converted yet"):
        converted(file, local_only=True)
    assert not home.exists()


def test_what_is_no_gguf_file_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "sha256_of", lambda file: pytest.fail("hashed"))
    (tmp_path / "x.gguf").write_bytes(b"PK\3\4" * 100)
    for name in ("x.gguf", "none.gguf", "."):
        with pytest.raises(UserError):
            converted(tmp_path / name)


def test_libraries_that_are_missing_or_read_wrongly(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else real(name))
    with pytest.raises(UserError, match=r"without gguf; expected the extra decoder.*beft-lab\[decoder\]"):
        converted(file)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: real("json"))
    for version, fits in (("5.17.2", False), ("5.24.0", True), ("6.0.0.dev0", True), ("4.99", False)):
        monkeypatch.setattr(importlib.metadata, "version", lambda name, version=version: version)
        if fits:
            convert.require_reader("x.gguf")
        else:
            with pytest.raises(UserError, match=f"transformers {version}, which reads some GGUF files wrongly"):
                convert.require_reader("x.gguf")


def test_a_full_disk_is_told_before_the_work(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(monkeypatch)
    monkeypatch.setattr(convert, "free_bytes", lambda folder: 10**6)
    with pytest.raises(UserError, match="the disk is full"):
        converted(file)
    assert child.runs == 0


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ('print(\'{"error": "ValueError: no blk.0 in the file"}\'); raise SystemExit(1)', "no blk.0 in the file"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with status -9"),
        ("print('no JSON'); print('[1]')", "ended with status 0"),
    ],
)
def test_how_the_process_ends(program: str, said: str, file: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The process is a real one, which does something else than converting."""
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(UserError) as told:
        convert._run(file, tmp_path, 2**30, lambda share: None)
    assert said in str(told.value) and "model.gguf, which cannot be converted" in str(told.value)


def test_shares_of_the_time_grow() -> None:
    said: dict[str, Any] = {}
    shares = []
    for words in ({"stage": "reading"}, {"done": 1, "total": 2}, {"done": 2}, {"stage": "tokenizer"}, {"nats": 3.0}):
        said |= words
        shares.append(convert._share(said))
    shares.append(convert._share(said | {"stage": "writing"}))
    assert shares == sorted(shares) == [0.0, 0.35, 0.5, 0.5, 0.5, 0.9]
