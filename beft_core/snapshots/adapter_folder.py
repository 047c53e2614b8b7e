"""Folder of an adapter as the PEFT library has it: ``adapter_config.json`` and ``adapter_model.safetensors``.

A fine-tune of a method other than biases leaves one beside its snapshot. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.files.leftovers import temporary
from beft_core.files.safe_io import atomic_write, read_json_file, sync_folder
from beft_core.files.safetensors_file import SafetensorsFile, write_safetensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_BYTES = 8 * 2**30
"""Most bytes of an adapter that is read: LoRA of rank 64 around every matrix of Llama 70B has 3.3 GB."""


@dataclass(frozen=True)
class AdapterFolder:
    """Content of an adapter's folder."""

    config: Mapping[str, Any]
    """Configuration as PEFT writes it, JSON values by name."""
    tensors: Mapping[str, np.ndarray]
    """Values by PEFT's own name, ``base_model.model.…``, float32."""

    def digest(self) -> str:
        """Compute the SHA-256 over the values, by which a snapshot knows its adapter again."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            digest.update(name.encode())
            digest.update(np.asarray(self.tensors[name], "<f4", order="C").tobytes())
        return digest.hexdigest()

    def write(self, folder: Path) -> None:
        """Write the folder; files of another adapter there are replaced.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {folder}: {error.strerror}", "a new or an existing folder") from None
        write_adapter(folder, self.tensors, json.dumps(dict(self.config), indent=2, sort_keys=True).encode())


def read_adapter(folder: Path) -> AdapterFolder:
    """Read an adapter's folder.

    Raises:
        UserError: no adapter in safetensors, or one that is damaged, larger than :data:`MAX_BYTES` or not finite.
    """
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise UserError(f"got no adapter in {folder}", f"a folder with {CONFIG} and {WEIGHTS}")
    config = read_json_file(folder / CONFIG)
    file = SafetensorsFile(folder / WEIGHTS)
    if strange := [name for name, one in file.tensors.items() if one.dtype != "F32"]:
        raise UserError(f"{file.name}: tensor {strange[0]!r} is not float32", "an adapter of the lab")
    size = sum(one.nbytes for one in file.tensors.values())
    if size > MAX_BYTES:
        raise UserError(f"{file.name}: {size:,} bytes of values", f"at most {MAX_BYTES:,}")
    tensors = {name: file.read(name) for name in file.tensors}
    if strange := [name for name, value in tensors.items() if not np.isfinite(value).all()]:
        raise UserError(f"{file.name}: {strange[0]!r} holds a NaN or an infinite value", "finite numbers")
    return AdapterFolder(config, tensors)


def write_adapter(folder: Path, tensors: Mapping[str, np.ndarray], config: bytes) -> None:
    """Put an adapter into a folder that may hold another one; a crash never leaves the weights of one with the
    configuration of the other: for the moment of the renames there is none, and no reader takes that for an adapter.

    Raises:
        UserError: the folder cannot be written.
    """
    weights, table = (temporary(folder / name) for name in (WEIGHTS, CONFIG))
    try:
        write_safetensors(weights, dict(tensors), {"format": "pt"})
        atomic_write(table, [config])
        (folder / CONFIG).unlink(missing_ok=True)
        sync_folder(folder)
        weights.replace(folder / WEIGHTS)
        table.replace(folder / CONFIG)
        sync_folder(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}", "a folder that can be written") from None
    finally:
        weights.unlink(missing_ok=True)
        table.unlink(missing_ok=True)
