"""Which fine-tune a checkpoint belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.presets import chosen
from beft_core.training.batches.encoded import Encoded
from beft_core.training.result import software_versions


def identity_of(configs: Sequence[RunConfig], model: LoadedModel, trains: Sequence[Encoded]) -> str:
    """What must be equal for a checkpoint to be resumed: settings, model, examples, software."""
    digest = hashlib.sha256()
    digest.update(json.dumps([chosen(config.to_dict()) for config in configs], sort_keys=True).encode())
    digest.update(model.info.fingerprint.encode())
    digest.update(json.dumps(software_versions(), sort_keys=True).encode())
    for encoded in trains:
        for row in encoded.ids:
            digest.update(row.tobytes())
        digest.update(encoded.labels.tobytes())
    return digest.hexdigest()
