"""SHA-256 of files: as by hand, again when a file changed, and not of what is no file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.files.digest import sha256_of


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    for content in (b"one", b"three"):
        file.write_bytes(content)
        assert sha256_of(file) == hashlib.sha256(content).hexdigest()
    file.write_bytes(b"seven")  # as long as before, later
    os.utime(file, ns=(1, 1))
    assert sha256_of(file) == hashlib.sha256(b"seven").hexdigest()


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a folder"):
        sha256_of(tmp_path)
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "none")
