"""Choice of how rows of different lengths are made one pass, where a run leaves it open (``--pad auto``)."""

from __future__ import annotations

import torch

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel


def padding_for(config: RunConfig, model: LoadedModel, device: torch.device, runs: int) -> str:
    """Return packed, buckets, longest or max, for ``runs`` runs like ``config`` in one bank on ``device``.

    Raises UserError where packing is asked for and the architecture, or the method, does not allow it.
    """
    adapter = config.method.adapter
    if adapter is not None and adapter.alone_in_row:
        if config.pad == "packed":
            raise UserError(f"got --pad packed with --method {config.mode}", "buckets, longest, max or auto")
        return "longest" if config.pad == "auto" else config.pad
    if config.pad == "auto":
        if device.type == "cuda" and runs == 1:
            # One small batch leaves a GPU idle, packed or not. Padded to the longest it has few shapes, and each is
            # recorded (see acceleration/replay/cuda_graphs.py); and where operations are launched one by one, a
            # prepared mask only adds to them: on an H200, BERT-base's shape and batch 16, 13.9 ms per step padded to
            # the longest, 18.1 ms packed.
            return "longest"
        return "packed" if model.layout.packing else "buckets"
    if config.pad == "packed" and not model.layout.packing:
        raise UserError(f"got --pad packed for {model.layout.model_type}", "buckets, longest, max or auto")
    return config.pad
