"""Choice of what is merged: snapshots that fit together, and the terms that all of them trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from beft_core.errors import UserError
from beft_core.merging.config import content
from beft_core.merging.similarity import Comparison, compare
from beft_core.snapshots.snapshot import Snapshot
from beft_core.terms import TERM_KEYS
from beft_core.terms import TERMS as SYMBOLS
from dashboard.app_pages.merge.defaults import default
from dashboard.content.samples import Opened
from dashboard.figures.parts.labels import as_written
from dashboard.figures.parts.style import latex
from dashboard.shared import page
from dashboard.shared.picker import pick_many

CHOICE = "merge"
"""Key of the list of snapshots, and its name in the URL."""
TERMS = "merge_terms"


@dataclass(frozen=True)
class Choice:
    """Snapshots that can be merged."""

    titles: tuple[str, ...]
    snapshots: tuple[Snapshot, ...]
    terms: tuple[str, ...]
    """Terms that are merged: all of the snapshots trained them."""
    comparison: Comparison
    paths: tuple[Path | None, ...]
    """File of each snapshot; None: one that was uploaded."""

    @property
    def common(self) -> tuple[str, ...]:
        """Terms that all of the snapshots trained, of which :attr:`terms` are chosen."""
        return common_terms(self.snapshots)

    @property
    def labels(self) -> tuple[str, ...]:
        """Unique short names of the snapshots: their tasks, as the paper writes them, where these differ."""
        return tuple(map(as_written, self.comparison.labels))

    @property
    def contents(self) -> tuple[str, ...]:
        """Hashes by which evaluations of the same snapshots are found again."""
        return tuple(map(content, self.snapshots))


def common_terms(snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    """List the terms that all of the snapshots trained."""
    return tuple(term for term in TERM_KEYS if all(term in one.meta.trained_terms for one in snapshots))


def choose() -> Choice | None:
    """Draw the list, and the terms where there is something to choose; None, after saying why, if nothing fits."""
    opened = pick_many(
        "Fine-tunes to merge",
        CHOICE,
        default=default,
        help="Two or more fine-tunes of one base model, best of different tasks: samples, runs of this machine, files.",
    )
    if len(opened) < 2:
        st.info(
            "Choose **two or more fine-tunes of one base model**: their changes can then be compared and added up. "
            "Bundled samples, runs of this machine and files of yours are in the list.",
            icon=":material/arrow_upward:",
        )
        return None
    try:
        snapshots = tuple(_named(one) for one in opened)
        paths = tuple(one.source.path if one.source is not None else None for one in opened)
        return _fitting(tuple(one.title for one in opened), snapshots, paths)
    except UserError as error:
        page.report(error, "These cannot be merged")
        return None


def _named(opened: Opened) -> Snapshot:
    """Name a snapshot by its title in errors. (An upload is shared, so a copy is named.)"""
    assert opened.source is not None
    snapshot = opened.source.read()
    if opened.source.path is not None:
        snapshot.source = opened.title
    return snapshot


def _fitting(titles: tuple[str, ...], snapshots: tuple[Snapshot, ...], paths: tuple[Path | None, ...]) -> Choice:
    common = common_terms(snapshots)
    if not common:
        compare(snapshots)  # raises, and says which two do not fit
    if len(common) == 1:
        terms: tuple[str, ...] = common
    else:
        with page.control("settings", "merge-terms"):
            names = {SYMBOLS[term].symbol: term for term in common}
            picked = st.pills(
                "Bias terms to merge",
                list(names),
                selection_mode="multi",
                default=list(names),
                key=TERMS,
                bind="query-params",
                help="Those that all of the fine-tunes trained.",
            )
        terms = tuple(term for name, term in names.items() if name in picked)
        if not terms:
            raise UserError("got no bias terms to merge", f"some of {', '.join(common)}")
    choice = Choice(titles, snapshots, terms, compare(snapshots, terms=terms), paths)
    trained = {term for snapshot in snapshots for term in snapshot.meta.trained_terms}
    left = sorted(trained - set(common), key=TERM_KEYS.index)
    if left:
        st.caption(
            f":material/info: Not all of them trained {', '.join(latex(term) for term in left)}: only what they share "
            "is merged and scored, so a fine-tune that also changed other biases scores lower here than alone."
        )
    return choice
