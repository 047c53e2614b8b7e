"""Section on how alike the fine-tunes are: angles and sign conflicts, overall and layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from beft_core.merging.similarity import Comparison
from beft_core.snapshots.snapshot import Key
from dashboard.app_pages.merge.choice import Choice
from dashboard.figures.merging import angle_matrix, layer_lines
from dashboard.shared import page
from dashboard.shared.figure import show
from dashboard.shared.text import plain

OF, PAIR = "merge_of", "merge_pair"
MATRIX = 360
"""Width of the matrix in pixels: room for four names of tasks beside each other."""


@dataclass(frozen=True)
class View:
    """Way to compare fine-tunes: what is compared, and its formula."""

    says: str
    percent: bool = False

    def overall(self, comparison: Comparison) -> np.ndarray:
        """Compute the values [tasks, tasks], over all layers and terms."""
        if self.percent:
            return comparison.sign_conflicts
        return (comparison.differences if self is CHANGE else comparison.values).angle_degrees

    def per_layer(self, comparison: Comparison) -> dict[Key, np.ndarray]:
        """Compute the values [layers, tasks, tasks] for each (stack, term)."""
        if self.percent:
            return comparison.sign_conflicts_per_layer
        return (comparison.differences if self is CHANGE else comparison.values).angle_degrees_per_layer


CHANGE = View(
    "The angle between what two fine-tunes **changed** (*post* − *pre*). At 90° the changes are **unrelated**: adding "
    "one takes nothing from the other. Below, the tasks pull in the same direction; above, against each other."
)
VALUES = View(
    "The angle between the **tuned biases themselves**, as the paper words its 79.5° between b_v of SST-2 and RTE. All "
    "begin at the same biases, so it is small wherever little moved: read the change for what the tasks taught."
)
SIGNS = View(
    "**Sign conflicts**: of the elements that both fine-tunes moved, the share that they moved in opposite directions. "
    "Half is what chance gives; TIES merging leaves the losing side of each conflict out.",
    percent=True,
)
VIEWS: dict[str, View] = {"angle of the change": CHANGE, "angle of the biases": VALUES, "sign conflicts": SIGNS}


def angles(choice: Choice, dark: bool) -> None:
    """Draw the section on angles and sign conflicts."""
    st.markdown(_sentence(choice))
    with page.control("settings", "merge-of"):
        name = st.segmented_control(
            "Compare by",
            list(VIEWS),
            default="angle of the change",
            required=True,
            key=OF,
            bind="query-params",
            label_visibility="collapsed",
        )
    view = VIEWS[name]
    row = st.grid(2, min_column_width=MATRIX)  # in a narrow window the second goes below the first
    with row.cell(), st.container(width=MATRIX):
        st.markdown("**All layers together**")
        figure = angle_matrix(choice.labels, view.overall(choice.comparison), dark, view.percent)
        show(figure, "merge-angles", f"Matrix: {name} between every two fine-tunes", data=lambda: _pairs(choice))
    with row.cell():
        a, b = _pair(choice)
        lines = {key: values[:, a, b] for key, values in view.per_layer(choice.comparison).items()}
        st.markdown(f"**Layer by layer**, {plain(choice.labels[a])} and {plain(choice.labels[b])}")
        show(
            layer_lines(lines, dark, view.percent),
            "merge-layers",
            f"{name} in every layer, {choice.labels[a]} and {choice.labels[b]}",
            data=lambda: _per_layer(choice),
        )
    st.caption(view.says)


def _sentence(choice: Choice) -> str:
    """Write the closest and the farthest pair in a sentence."""
    table = choice.comparison
    degrees = table.differences.angle_degrees
    pairs = sorted(_index_pairs(choice), key=lambda pair: degrees[pair])

    def described(pair: tuple[int, int]) -> str:
        a, b = (plain(choice.labels[at]) for at in pair)
        return f"**{a}** and **{b}**: **{degrees[pair]:.0f}°**, {_word(degrees[pair])}"

    if len(pairs) > 1:
        return f"Closest are {described(pairs[0])}. Farthest are {described(pairs[-1])}."
    conflicts = f"{100 * table.sign_conflicts[pairs[0]]:.0f} %"
    return f"{described(pairs[0])}. Of the elements that both moved, {conflicts} went in opposite directions."


def _word(angle: float) -> str:
    if angle < 60:
        return "much in common"
    if angle < 80:
        return "something in common"
    return "nearly unrelated" if angle <= 100 else "against each other"


def _index_pairs(choice: Choice) -> list[tuple[int, int]]:
    count = len(choice.labels)
    return [(a, b) for a in range(count) for b in range(a + 1, count)]


def _pair(choice: Choice) -> tuple[int, int]:
    """Draw the choice of the two fine-tunes whose layers are shown; return their numbers."""
    names = {f"{choice.labels[a]} and {choice.labels[b]}": (a, b) for a, b in _index_pairs(choice)}
    if len(names) == 1:
        return next(iter(names.values()))
    with page.control("settings", "merge-pair"):
        return names[st.selectbox("Pair", list(names), key=PAIR, bind="query-params")]


def _pairs(choice: Choice) -> pd.DataFrame:
    table = choice.comparison
    return pd.DataFrame(
        {
            "first": choice.labels[a],
            "second": choice.labels[b],
            "angle_of_change": table.differences.angle_degrees[a, b],
            "angle_of_biases": table.values.angle_degrees[a, b],
            "sign_conflicts": table.sign_conflicts[a, b],
        }
        for a, b in _index_pairs(choice)
    )


def _per_layer(choice: Choice) -> pd.DataFrame:
    table = choice.comparison
    return pd.DataFrame(
        {
            "first": choice.labels[a],
            "second": choice.labels[b],
            "stack": key[0],
            "term": key[1],
            "layer": layer,
            "angle_of_change": table.differences.angle_degrees_per_layer[key][layer, a, b],
            "angle_of_biases": table.values.angle_degrees_per_layer[key][layer, a, b],
            "sign_conflicts": conflicts[layer, a, b],
        }
        for a, b in _index_pairs(choice)
        for key, conflicts in table.sign_conflicts_per_layer.items()
        for layer in range(len(conflicts))
    )
