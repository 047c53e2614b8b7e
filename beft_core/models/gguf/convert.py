"""Conversion of a GGUF file into a folder as ``save_pretrained`` writes it: once, into ``BEFT_HOME/models``.

The folder's name is of the file's content, so that a moved file is not converted again and a changed one is. It appears
complete or not at all, and only after the converted model was asked for the loss of a piece of plain English: releases
of transformers have read files wrongly without an error (5.17 reads Gemma 3, and finds 7.2 nats per token instead
of 3.4), and whatever is trained on such weights is worth nothing.
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from beft_core.errors import NotConverted, UserError
from beft_core.extras import install_command
from beft_core.files.digest import sha256_of
from beft_core.files.disk import NoRoom, free_bytes
from beft_core.files.home import home
from beft_core.files.locks import hold
from beft_core.files.plain_file import open_plain
from beft_core.models.gguf.header import MAGIC, GgufHeader, read_header

DONE = "conversion.json"
"""File of a converted folder that says what it was made of."""
TRANSFORMERS = (5, 24)
"""First release of transformers whose reading of GGUF files was checked."""
MAX_NATS = 6.0
"""Most nats per token of plain English. Models of 270 million parameters have three to four; 7.2 is a model that was
read wrongly. A model of a few hundred tokens cannot have more, whatever it learned.
"""
ADDRESS_SPACE = 24 * 2**30
"""Bytes of address space that the process may take besides its weights: most of it is of libraries and never used."""
PATIENCE = 3600.0
"""Seconds after which the process is given up; Gemma's 270 million parameters take 40 on two cores."""
PARTS = {"reading": 0.0, "weights": 0.2, "tokenizer": 0.5, "writing": 0.9}
"""Share of the time that has passed when a part begins."""

Progress = Callable[[float], None]
"""Function that is told which share of a conversion is done, 0 to 1."""
_LISTENER: ContextVar[Progress | None] = ContextVar("listener", default=None)
"""Who is told of conversions that name nobody: a model is looked for in many places, of which few can show anything."""


@contextmanager
def told_to(progress: Progress) -> Iterator[None]:
    """Tell ``progress`` of every conversion while the context is open, instead of showing it on stderr."""
    before = _LISTENER.set(progress)
    try:
        yield
    finally:
        _LISTENER.reset(before)


def converted(
    file: Path, *, local_only: bool = False, progress: Progress | None = None, beside: Iterable[Path] = ()
) -> Path:
    """Find the converted folder of a GGUF file, or make it.

    Args:
        file: a GGUF file.
        local_only: do not convert.
        progress: is told of the conversion; None: who listens by :func:`told_to` is, else it is shown on stderr.
        beside: files that are copied into the folder, such as a licence.

    Raises:
        UserError: not a sound GGUF file of a known architecture, no library that reads it, no room, a model that does
            not know English, or it is not converted and must not be.
    """
    _require_magic(file)
    digest = sha256_of(file)
    folder = folder_of(digest)
    if (folder / DONE).is_file():
        return folder
    if local_only:
        raise not_converted(file.name)
    header = read_header(file)
    require_reader(file.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with hold(folder, f"the conversion of {file.name}", "waiting for it", wait_seconds=PATIENCE):
        if not (folder / DONE).is_file():
            _convert(file, digest, header, folder, progress, beside)
    return folder


def folder_of(digest: str) -> Path:
    """Folder of the converted weights of a file with this SHA-256, whether or not it is there."""
    return home() / "models" / f"gguf-{digest[:24]}"


def not_converted(name: str) -> UserError:
    """Make the error of a model that is converted when it is first opened, which was not yet."""
    return NotConverted(
        f"got {name}, which is not converted yet", "a model that was opened once", "beft train or select"
    )


def require_reader(name: str) -> None:
    """Raise UserError unless the libraries that read a GGUF file are here, in releases that read it rightly."""
    missing = [module for module in ("gguf", "transformers") if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(
            f"got {name} and an installation without {', '.join(missing)}",
            "the extra decoder, which reads GGUF files",
            install_command("decoder"),
        )
    found = importlib.metadata.version("transformers")
    if tuple(int(part) for part in found.split(".")[:2]) < TRANSFORMERS:
        raise UserError(
            f"got {name} and transformers {found}, which reads some GGUF files wrongly",
            f"transformers {'.'.join(map(str, TRANSFORMERS))} or newer",
            install_command("decoder"),
        )


def _require_magic(file: Path) -> None:
    """Refuse what is no GGUF file before it is hashed: it may be large."""
    try:
        with open_plain(file, what="a GGUF file") as opened:
            first = opened.read(len(MAGIC))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}", "a GGUF file") from None
    if first != MAGIC:
        read_header(file)  # which says what it is instead


def _convert(
    file: Path, digest: str, header: GgufHeader, folder: Path, progress: Progress | None, beside: Iterable[Path]
) -> None:
    need = 2 * header.parameters + 2**27
    free = free_bytes(folder.parent)
    if free is not None and free < need:
        raise NoRoom(folder, need, errno.ENOSPC)
    progress = progress or _LISTENER.get()
    made = Path(tempfile.mkdtemp(prefix=".gguf-", dir=folder.parent))
    try:
        with _shown(file.name) if progress is None else _told(progress) as tell:
            nats = _run(file, made, ADDRESS_SPACE + 16 * header.parameters, tell)
        if not nats <= MAX_NATS:
            raise UserError(
                f"got {file.name}, whose converted model finds {nats:.1f} nats per token in plain English",
                f"at most {MAX_NATS}: a model of English that was read rightly",
                "another file of the model, or another release of transformers",
            )
        for one in beside:
            shutil.copy(one, made / one.name)
        about = {
            "source": file.name,
            "sha256": digest,
            "architecture": header.architecture,
            "parameters": header.parameters,
            "nats_per_token": nats,
            **{name: importlib.metadata.version(name) for name in ("transformers", "gguf")},
        }
        (made / DONE).write_text(json.dumps(about, indent=2))
        shutil.rmtree(folder, ignore_errors=True)  # what has no DONE is the rest of something else
        made.chmod(0o755)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _run(file: Path, made: Path, memory: int, tell: Progress) -> float:
    """Run the process that converts; return the loss that it measured. Raises UserError with what it said."""
    # -P: the working folder may be a stranger's too, and holds no modules.
    command = [sys.executable, "-P", "-m", "beft_core.models.gguf.child", str(file.absolute()), str(made), str(memory)]
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    threads = str(min(4, os.cpu_count() or 1))
    environment = os.environ | {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": threads,
        "MALLOC_ARENA_MAX": "2",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
    }
    said: dict[str, Any] = {}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as child:
        assert child.stdout is not None
        clock = threading.Timer(PATIENCE, child.kill)
        clock.daemon = True
        clock.start()
        try:
            for line in child.stdout:
                said |= _words(line)
                tell(_share(said))
            status = child.wait()
        finally:
            clock.cancel()
            child.kill()
    if "error" in said or status or "nats" not in said:
        why = said.get("error", f"its reader ended with status {status}")
        raise UserError(
            f"got {file.name}, which cannot be converted ({why})",
            "a sound GGUF file of a language model",
        )
    return float(said["nats"])


def _words(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _share(said: dict[str, Any]) -> float:
    stage = said.get("stage", "reading")
    if stage == "reading" and "done" in said:
        begin, end = PARTS["weights"], PARTS["tokenizer"]
        return begin + (end - begin) * said["done"] / said["total"]
    return PARTS[stage]


@contextmanager
def _told(progress: Progress) -> Iterator[Progress]:
    yield progress
    progress(1.0)


@contextmanager
def _shown(name: str) -> Iterator[Progress]:
    """Show a conversion on stderr: a bar in a terminal, one line elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"converting {name}, once: about a minute", highlight=False)
        yield lambda share: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(f"converting {name}, once", total=1.0)
        yield lambda share: bars.update(bar, completed=share)
