"""Identity of the fine-tune that a checkpoint belongs to, and the checkpoint of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from beft_core import environment
from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.presets import chosen
from beft_core.training.batches.encoded import Encoded
from beft_core.training.progress.checkpoint import Checkpoint
from beft_core.training.result import software_versions


def checkpoint_for(
    path: Path | None, configs: Sequence[RunConfig], model: LoadedModel, trains: Sequence[Encoded]
) -> Checkpoint | None:
    """Make the checkpoint of a fine-tune at ``path``; None without one.

    It is saved every ``BEFT_CHECKPOINT_SECONDS`` (5 where that is not set).
    """
    if path is None:
        return None
    return Checkpoint(path, identity_of(configs, model, trains), environment.number("BEFT_CHECKPOINT_SECONDS", 5.0))


def identity_of(configs: Sequence[RunConfig], model: LoadedModel, trains: Sequence[Encoded]) -> str:
    """Digest what must be equal for a checkpoint to be resumed: settings, model, examples, software.

    Returns SHA-256 in hexadecimal. ``trains``: the tokenised examples of each run.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps([chosen(config.to_dict()) for config in configs], sort_keys=True).encode())
    digest.update(f"{model.info.fingerprint}{model.info.weights or ''}".encode())
    digest.update(json.dumps(software_versions(), sort_keys=True).encode())
    for encoded in trains:
        for row in encoded.ids:
            digest.update(row.tobytes())
        digest.update(encoded.labels.tobytes())
    return digest.hexdigest()
