"""Conversion of files that somebody handed over into snapshots: snapshot files, PEFT BEFT adapters, models before and
after.

The files are bytes under names that a stranger chose. The names are only shown and compared with the two that an
adapter has; nothing is ever unpacked or written to a path that they name.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from beft_core.errors import UserError
from beft_core.exchange.checkpoints import extract
from beft_core.exchange.peft_adapter import BUNDLED_ID, VECTOR, import_peft
from beft_core.exchange.peft_adapter import CONFIG as ADAPTER_CONFIG
from beft_core.exchange.peft_adapter import WEIGHTS as ADAPTER_WEIGHTS
from beft_core.files.paths import user_path
from beft_core.files.safe_io import parse_json
from beft_core.files.safetensors_file import SafetensorsFile
from beft_core.files.scratch import put, scratch_folder
from beft_core.models.source import BUNDLED, locate
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import SUFFIX, Snapshot, read_snapshot

ADAPTER = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
"""Names of the two files of an adapter: whether zipped or one by one, nothing else is read."""

MAX_MEMBERS = 64
"""Most files in a zip. PEFT writes three; a tokenizer may lie beside them."""
MAX_DIRECTORY = 2**16
"""Most bytes of a zip's directory, which is parsed before anything in it can be judged."""
MAX_BYTES: dict[str, int] = {ADAPTER_CONFIG: 2**20, ADAPTER_WEIGHTS: 128 * 2**20}
"""Most unpacked bytes of each of the two files of an adapter."""
MAX_RATIO = 100
"""Largest ratio of unpacked to packed bytes; float32 vectors that were trained pack to about nine tenths."""
FREE_BYTES = 2**20
"""Unpacked bytes below which that ratio does not matter: zeros pack a thousandfold."""

_ZIP_END, _ZIP64_END = b"PK\x05\x06", b"PK\x06\x07"
_KIND = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True)
class Received:
    """Outcome of one file, or of two that belong together."""

    name: str
    snapshot: Snapshot | None = None
    problem: UserError | None = None


@dataclass(frozen=True)
class Model:
    """Source of a whole model, before or after a fine-tune: a place on this machine, or the bytes of a
    ``model.safetensors``.
    """

    place: str = ""
    """Place of the model: "bundled", a folder, a safetensors file, or the index of a sharded model."""
    data: bytes | None = None
    name: str = ""
    """Name of the uploaded bytes, to be shown."""


def receive(files: Sequence[tuple[str, bytes]], base: str = "") -> list[Received]:
    """Open several files at once; each succeeds or fails on its own.

    ``files``: (name, bytes). ``base``: the base model of adapters: "bundled", a folder, or the Hub id of a model that
    was downloaded before; empty for the bundled one, if the adapter says that it belongs to it.
    """
    parts = [index for index, (name, _) in enumerate(files) if _last(name) in ADAPTER]
    together = {_last(files[index][0]) for index in parts} == set(ADAPTER) and len(parts) == len(ADAPTER)
    received = []
    for index, (name, data) in enumerate(files):
        if together and index in parts:
            if index == parts[0]:
                pair = {_last(files[part][0]): files[part][1] for part in parts}
                received.append(_tried(" + ".join(ADAPTER), partial(adapter, pair, base)))
        elif index in parts:
            received.append(Received(name, problem=_lone(_last(name), len(parts))))
        else:
            received.append(_tried(name, partial(opened, name, data, base)))
    return received


def opened(name: str, data: bytes, base: str = "") -> Snapshot:
    """Open one file as a snapshot, checked to its last tensor: a snapshot file, or the zip of an adapter.

    Raises:
        UserError: neither, or damaged.
    """
    if data[:2] == b"PK" or name.lower().endswith(".zip"):
        return adapter(unzipped(data), base)
    try:
        snapshot = read_snapshot(data)
        snapshot.tensors()
        score_snapshot(snapshot)
    except UserError as error:
        raise _without(error, "these bytes: ", proposal=_other_way(data)) from None
    return snapshot


def unzipped(data: bytes) -> dict[str, bytes]:
    """Unzip the two files of an adapter in memory: file name -> bytes.

    Raises:
        UserError: not a plain zip, one that lacks one of the two, or one that is made to harm.
    """
    end = data[-(2**16 + 22) :]
    if end.count(_ZIP_END) != 1 or _ZIP64_END in end:
        raise UserError("not a plain zip", f"a zip of {' and '.join(ADAPTER)}", "packing the adapter's folder again")
    directory = int.from_bytes(end[end.index(_ZIP_END) + 12 :][:4], "little")
    if directory > MAX_DIRECTORY:
        raise UserError(f"a zip with a directory of {directory:,} bytes", f"at most {MAX_DIRECTORY:,}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: _member(archive, name) for name in ADAPTER}
    except UserError:
        raise
    # The standard library's reader answers a damaged archive with any of these.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"a damaged zip ({error})", "a complete zip", "packing the adapter's folder again") from None


def adapter(files: dict[str, bytes], base: str = "") -> Snapshot:
    """Open the two files of a PEFT BEFT adapter as a snapshot; `base` as for :func:`receive`.

    Raises:
        UserError: not a BEFT adapter, another base model, or none at the place that `base` names.
    """
    named = parse_json(files[ADAPTER_CONFIG], ADAPTER_CONFIG).get("base_model_name_or_path")
    if not base and named not in (None, "", BUNDLED, BUNDLED_ID):
        raise UserError(
            f"an adapter of the base model {str(named)[:120]}",
            f"one of {BUNDLED_ID}, unless another base model is named",
            "the folder of that model as base model: post is its bias plus the adapter's vector",
        )
    # The engine reads folders: here one that exists for a moment, with names that this program chose.
    with scratch_folder() as root:
        folder = root / "adapter"
        folder.mkdir()
        try:
            for part, data in files.items():
                put(folder / part, data)
            snapshot = import_peft(folder, _on_this_machine(base or BUNDLED))
        except UserError as error:
            raise _without(error, f"{folder}/", f" in {folder}") from None
    score_snapshot(snapshot)
    return snapshot


def from_models(before: Model, after: Model, config: bytes | None = None, task: str = "imported") -> Snapshot:
    """Make a snapshot of a model before and after a fine-tune; only their biases are read.

    ``config``: a ``config.json``, needed where none lies beside either model.

    Raises:
        UserError: a model is missing or damaged, or the two do not fit each other.
    """
    with scratch_folder() as root:
        given = root / "config.json" if config is not None else None
        try:
            if given is not None and config is not None:
                put(given, config)
            pre, post = (_model_place(model, root / side) for model, side in ((before, "before"), (after, "after")))
            snapshot = extract(pre, post, config=given, task=task)
        except UserError as error:
            flag = error.try_ == "--config FILE"
            raise _without(error, f"{root}/", proposal="giving the config.json too" if flag else "") from None
    meta = snapshot.meta
    if before.data is not None:  # the folder of a moment says nothing
        meta = replace(meta, model=replace(meta.model, id=_shown(before.name)))
    if after.data is not None:
        meta = replace(meta, provenance={**meta.provenance, "tuned": _shown(after.name)})
    snapshot.meta = replace(meta, provenance={**meta.provenance, "base": meta.model.id})
    score_snapshot(snapshot)
    return snapshot


def in_memory(snapshot: Snapshot) -> Snapshot:
    """Copy a snapshot into memory, so that its file may go.

    Raises:
        UserError: a tensor that cannot be read.
    """
    tensors = snapshot.tensors()
    return Snapshot(snapshot.meta, {name: array.shape for name, array in tensors.items()}, tensors.__getitem__)


def _shown(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[:200] or "a model"


def _model_place(model: Model, folder: Path) -> str | Path:
    """Return where the engine finds a model; its bytes are put into `folder`."""
    if model.data is not None:
        folder.mkdir()
        put(folder / "model.safetensors", model.data)
        return folder
    if not model.place.strip():
        raise UserError(f"no model {folder.name} the fine-tune", "its model.safetensors, or its folder")
    path = user_path(model.place.strip(), "the model")
    return path if path.is_file() else _on_this_machine(model.place.strip())


def _on_this_machine(place: str) -> str | Path:
    """Find a model by its name or folder. Nothing is downloaded: whoever asks waits for the answer.

    Raises:
        UserError: it is not here.
    """
    folder = user_path(place, "the model")
    if place != BUNDLED and folder.is_dir():
        return folder
    locate(place, local_only=True)
    return place


def _tried(name: str, make: Callable[[], Snapshot]) -> Received:
    try:
        return Received(name, snapshot=make())
    except UserError as error:
        return Received(name, problem=error)


def _last(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _lone(name: str, parts: int) -> UserError:
    other = next(part for part in ADAPTER if part != name)
    if parts > 1:
        return UserError(
            f"{parts} files of adapters at once", "the two files of one adapter", "one adapter after the other"
        )
    return UserError(
        "one of an adapter's two files", f"{other} with it", "choosing both files at once, or a zip of both"
    )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Unpack one file of a zip, if that is safe. Its path inside the zip is not used for anything."""
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise UserError(f"a zip of {len(members)} files", f"at most {MAX_MEMBERS}")
    found = [member for member in members if _last(member.filename) == name]
    if len(found) != 1:
        pickled = any(_last(m.filename) in ("data.pkl", "adapter_model.bin") for m in members)
        raise UserError(
            f"a zip with {len(found) or 'no'} {name}" + (", but with a pickle, which is never read" if pickled else ""),
            f"one {' and one '.join(ADAPTER)}",
            "saving the adapter again with save_pretrained(safe_serialization=True)" if pickled else "",
        )
    member = found[0]
    kind = _KIND.get(stat.S_IFMT(member.external_attr >> 16))
    if kind is not None:
        raise UserError(f"{name} in the zip is {kind}", "a plain file")
    if member.flag_bits & 1:
        raise UserError(f"{name} in the zip is encrypted", "a zip without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{name} in the zip is packed by method {member.compress_type}", "stored or deflated")
    most = MAX_BYTES[name]
    if member.file_size > most:
        raise UserError(f"{name} in the zip unpacks to {member.file_size:,} bytes", f"at most {most:,}")
    if member.file_size > FREE_BYTES and member.file_size > MAX_RATIO * member.compress_size:
        raise UserError(
            f"{name} in the zip unpacks to {member.file_size / max(1, member.compress_size):,.0f} times its size",
            f"at most {MAX_RATIO} times",
            "the two files without the zip",
        )
    with archive.open(member) as file:
        data = file.read(most + 1)
    if len(data) != member.file_size:
        raise UserError(f"{name} in the zip ends after {len(data):,} bytes", f"{member.file_size:,}")
    return data


def _other_way(data: bytes) -> str:
    """Propose what to try with a file that is not a snapshot, from the names of its tensors; empty if there is no
    telling.
    """
    try:
        file = SafetensorsFile(data)
    except UserError:
        return ""
    if "beft" in file.metadata:
        return ""
    if any(name.endswith(VECTOR) for name in file.tensors):
        return f"choosing it together with its {ADAPTER_CONFIG}: it is an adapter"
    whole = any(name.endswith(".bias") for name in file.tensors)
    return f"“From two models” on the page Compare: it is a whole model, not a *{SUFFIX}" if whole else ""


def _without(error: UserError, *words: str, proposal: str = "") -> UserError:
    """Copy an error without the paths that only this process knows."""
    parts = [error.got, error.expected, proposal or error.try_]
    for word in words:
        parts = [part.replace(word, "") for part in parts]
    return UserError(*parts)
