"""Rewriting of a loaded model: the same function written down differently, as a run can ask for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, biases, require_terms, weights_of
from beft_core.models.value_shift import shift_values
from beft_core.models.weight_scale import scale_weights
from beft_core.scores.rewriting import Rewriting
from beft_core.snapshots.snapshot import fingerprint


def rewrite_model(model: LoadedModel, rewriting: Rewriting) -> None:
    """Write a model down differently, in place: a shift of the values, then a scale. Its outputs stay.

    It is named by the rewritten biases, or weights, afterwards: no snapshot of the model as it was fits it by mistake.

    Raises:
        UserError: a shift of a model without value and output bias, or what :func:`scale_weights` refuses.
    """
    if rewriting.shift:
        require_terms(model, ["v", "o"])
        pre = biases(model)[model.layout.stack, "v"]
        if not pre.any():
            raise UserError(
                f"got {model.id}, whose b_v is zero, so a shift cannot be measured in lengths of it",
                "a model that has a value bias",
            )
        shift_values(model, rewriting.constant(pre))
    if rewriting.scale != 1:
        scale_weights(model, rewriting.scale, rewriting.scale)
    model.info = dataclasses.replace(
        model.info, fingerprint=fingerprint(biases(model)), weights=weights_of(model.backbone, model.layout)
    )


def save_model(model: LoadedModel, folder: Path) -> None:
    """Write a model and its tokenizer as ``save_pretrained`` does, so that ``--model FOLDER`` loads it.

    Raises:
        UserError: the folder exists and holds something, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"got --out {folder}, which is there already", "a new folder")
    try:
        model.backbone.save_pretrained(folder)  # type: ignore[operator]
        if model.tokenizer is not None:
            model.tokenizer.save_pretrained(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}", "a folder that you may write to") from None
