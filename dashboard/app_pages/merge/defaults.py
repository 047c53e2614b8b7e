"""Samples that the page Merge opens with."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.content.samples import Source

DEFAULTS: tuple[tuple[str, ...], ...] = (
    ("sst2-low-seed0-v-only", "stsb-low-seed0-v-only"),
    ("demo-sentiment-low-seed0-v-only", "demo-similarity-low-seed0-v-only"),
)
"""Pairs of sample files to begin with: the first pair that is there. The first has been scored beforehand; the data of
demo tasks is generated, so that a merge of them can be scored anywhere.
"""


def default(sources: Sequence[Source]) -> list[str]:
    """Choose the first pair of :data:`DEFAULTS` that is complete, by titles."""
    by_file = {source.path.name.split(".")[0]: source.title for source in sources if source.path is not None}
    return next(([by_file[name] for name in pair] for pair in DEFAULTS if all(name in by_file for name in pair)), [])
