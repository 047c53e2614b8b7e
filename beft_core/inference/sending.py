"""Snapshots on their way to the process that holds a model, as JSON: by their file, or whole where there is none."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.safetensors_file import safetensors_parts
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.training.preconditions import with_adapter


def by_file(name: str, path: Path) -> dict[str, Any]:
    """Describe a snapshot by its file and that file's version. Raises UserError where the file is gone."""
    try:
        status = path.stat()
    except OSError:
        raise UserError(f"{path.name} is gone", "a file that is still there") from None
    return {"name": name, "file": str(path.absolute()), "version": [status.st_mtime_ns, status.st_size]}


def by_content(name: str, snapshot: Snapshot) -> dict[str, Any]:
    """Describe a snapshot in memory by what answers need of it: the biases and the heads."""
    keys = snapshot.keys()
    needed = Snapshot.build(
        snapshot.meta,
        {key: snapshot.pre(*key) for key in keys},
        {key: snapshot.post(*key) for key in keys},
        extra=dict(snapshot.extra),
    )
    parts = safetensors_parts(needed.tensors(), {"beft": needed.meta.to_json()})
    return {"name": name, "content": base64.b64encode(b"".join(parts)).decode("ascii")}


def received(sent: Mapping[str, Any]) -> Snapshot:
    """Open what :func:`by_file` or :func:`by_content` described, all of it in memory, with the adapter beside the file.

    Raises:
        UserError: as :func:`beft_core.snapshots.snapshot.read_snapshot`, and as
            :func:`beft_core.training.preconditions.with_adapter` where its method leaves an adapter.
    """
    snapshot = read_snapshot(Path(sent["file"]) if "file" in sent else base64.b64decode(sent["content"]))
    tensors = snapshot.tensors()
    shapes = {name: array.shape for name, array in tensors.items()}
    whole = Snapshot(snapshot.meta, shapes, tensors.__getitem__, snapshot.source)
    return with_adapter(whole, Path(sent["file"])) if "file" in sent else whole
