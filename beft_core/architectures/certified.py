"""Knowledge of the null terms of a snapshot's model: the recorded certificate, or else its architecture's rule.

The lab certifies a model when it trains it (:mod:`beft_core.models.null_certificate`) or extracts its biases, and the
snapshot records that. A file from elsewhere may say nothing; then the model type decides, where it can. Needs numpy
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from beft_core.architectures.table import ROWS, rule_of_type
from beft_core.snapshots.meta import SnapshotMeta
from beft_core.snapshots.null_elements import Ranges

MAKER = "beft-lab"
"""Key of the versions that a snapshot made by the lab records."""


@dataclass(frozen=True)
class Certified:
    """Record of null terms, and of null elements of terms that act."""

    terms: tuple[str, ...]
    elements: Mapping[str, Ranges] = field(default_factory=dict)
    """Null elements of each layer's bias by term, as ranges [first, end)."""
    unknown: str | None = None
    """Reason, in words, why it is not known what of the key bias is null; None where it is known."""


def certified(meta: SnapshotMeta) -> Certified:
    """Find the null terms and elements of the model that a snapshot belongs to."""
    if meta.null_terms or meta.null_elements is not None:
        return Certified(meta.null_terms, meta.null_elements or {})
    architecture = meta.model.architecture
    rule = rule_of_type(architecture)
    if MAKER in meta.versions:  # certified as a whole, by a release that did not look at elements
        partial = architecture in ROWS and ROWS[architecture].partial_rotary
        return Certified((), unknown=_part(architecture) if partial else None)
    if rule is not None:
        return Certified(("k",) if rule.null else ())
    if architecture not in ROWS:
        return Certified((), unknown=f"{architecture or 'its architecture'} is none of the architectures of the lab")
    return Certified((), unknown=f"it depends on the configuration of the {architecture} model, which is not recorded")


def _part(architecture: str) -> str:
    return f"some of its elements may be null in a {architecture} model, and this file was made before that was noted"
