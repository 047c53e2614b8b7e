"""Snapshots that a lesson is about: the samples, and those of its author."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from beft_core.methods import method_of
from beft_core.snapshots.snapshot import SUFFIX, SnapshotMeta
from dashboard.content.samples import Opened, Source, metas, opened, samples


@dataclass(frozen=True)
class Shelf:
    """Snapshots of a lesson."""

    samples: Sequence[Source]
    own: Sequence[Source]
    """Snapshots of the author; they take the place of the samples where a page shows any snapshot."""

    @classmethod
    def of(cls, own: Sequence[Path]) -> Shelf:
        """Collect the samples and some files. Raises UserError where there are no samples."""
        return cls(samples(), [Source(path.name.removesuffix(SUFFIX), path, group="own") for path in own])

    @cached_property
    def metas(self) -> list[SnapshotMeta]:
        """What all snapshots say of themselves."""
        return metas([*self.own, *self.samples])

    @cached_property
    def shown(self) -> list[Opened]:
        """Snapshots that are looked into: the author's, or the probes among the samples.

        Raises:
            UserError: one of them is no snapshot, or cannot be scored.
        """
        if self.own:
            return [opened(source) for source in self.own]
        found = [opened(source) for source in self.samples]
        return [one for one in found if method_of(one.meta.mode).every_bias]
