"""Choice of the bias slots that a run trains: its terms in its layers, without what is certified to change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from beft_core.architectures.layout import BiasSlot
from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.training.observer import Observer
from beft_core.training.preconditions import require_biases, require_targets, wanted_terms


def trained_slots(
    config: RunConfig,
    model: LoadedModel,
    null: Sequence[str],
    observer: Observer | None = None,
    elements: Mapping[str, np.ndarray] | None = None,
) -> list[BiasSlot]:
    """List the bias slots that a run trains: its terms (all, for an all-bias run) in its layers, without null terms.

    ``null``: terms that are certified null in this model. ``elements``: term -> bool [width], its certified null
    elements. ``observer`` hears what stays frozen.

    Raises:
        UserError: terms, layers or modules to wrap that the model does not have, or no bias term where the run needs
            one.
    """
    layout = model.layout
    wanted = wanted_terms(config, layout)
    require_targets(config, layout)
    require_biases(config, layout)
    frozen = () if config.train_null else tuple(term for term in wanted if term in null)
    if frozen and observer is not None:
        observer.message(
            f"{', '.join(frozen)} is certified null in this model (it cannot change any output) and stays frozen; "
            "--train-null trains it all the same"
        )
    for term, mask in (elements or {}).items():
        if term in wanted and not mask.all() and not config.train_null and observer is not None:
            said = f"{mask.sum()} of {len(mask)} elements of {term} in each layer are certified null in this model"
            observer.message(f"{said} and stay frozen; --train-null trains them all the same")
    return [
        slot
        for slot in layout.slots
        if slot.term in wanted and slot.term not in frozen and (config.layers is None or slot.layer in config.layers)
    ]
