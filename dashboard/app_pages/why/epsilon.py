"""Table of what AdamW's epsilon makes of noise: the same probes with ours and with the authors', beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from beft_core.presets import hyperparameters
from beft_core.scores.approaches import PAPER
from beft_core.scores.table import select_term
from beft_core.snapshots.snapshot import SnapshotMeta
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex
from dashboard.shared.sources import Opened

MOVEMENT = "magnitude_mean_abs"


def epsilon(meta: SnapshotMeta) -> tuple[object, object]:
    """Read the epsilon of a fine-tune and where it is added, as far as they are recorded."""
    settings = hyperparameters(meta.hyperparameters)
    return settings.get("adam_epsilon"), settings.get("adam_epsilon_at")


def precision(meta: SnapshotMeta) -> str:
    """Read the precision of the matrix products of a fine-tune."""
    return str(meta.hyperparameters.get("precision", "float32"))


def epsilon_in_words(meta: SnapshotMeta) -> str:
    """Write the epsilon of a fine-tune, and whether it is added before or after the bias correction."""
    value, place = epsilon(meta)
    if not isinstance(value, float):
        return "not recorded"
    return f"{value:g} {'before' if place == 'before' else 'after'}"


def compared(probes: Sequence[Opened]) -> None:
    """Draw the formula and, where the probes have several epsilons, what each did to b_k and b_q.

    ``probes``: they train a null b_k and differ in precision and epsilon alone.
    """
    st.latex(r"\Delta b_k = -\,\text{lr}\;\frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon_t}")
    st.latex(
        r"\varepsilon_t = 10^{-8} \;\text{(PyTorch)}, \quad "
        r"\tfrac{10^{-6}}{\sqrt{1 - \beta_2^t}} \;\text{(the authors)}"
    )
    if len({epsilon(one.meta) for one in probes}) < 2:
        return
    ordered = sorted(probes, key=lambda one: (precision(one.meta) == "bfloat16", str(epsilon(one.meta)[1])))
    st.markdown(_table(ordered))
    st.markdown(_words(ordered))


def _table(probes: Sequence[Opened]) -> str:
    names = [
        "precision",
        "epsilon and bias correction",
        f"ratio of {latex('k')}",
        f"{latex('k')} moved by",
        f"{latex('q')} moved by",
        "first",
    ]
    rows = [f"| {' | '.join(names)} |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for one in probes:
        ratios, moved = one.scores.mean_scores(PAPER), one.scores.mean_scores(MOVEMENT)
        first = select_term(ratios)
        cells = [
            precision(one.meta),
            epsilon_in_words(one.meta),
            short(ratios["k"], 2),
            short(moved["k"], 2),
            short(moved["q"], 3),
            latex(first) if first else "–",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _words(probes: Sequence[Opened]) -> str:
    """Write what the table says, from its numbers."""
    theirs = {precision(one.meta): one for one in probes if epsilon(one.meta)[1] == "before"}
    text = (
        "Moved: mean of |after − before| over elements and layers. The authors call transformers 4.41's AdamW, which "
        "adds 1e-6 before the bias correction; PyTorch's adds 1e-8 after it. "
    )
    if (exact := theirs.get("float32")) is not None and exact.scores.mean_scores(PAPER)["k"] < 5e-4:
        text += "In float32 theirs lies above the noise: enough for a $b_k$ of 0.000 without any freezing. "
    if (rounded := theirs.get("bfloat16")) is not None and select_term(rounded.scores.mean_scores(PAPER)) == "k":
        text += "In bfloat16 the noise lies above either, and $b_k$ still comes first. "
    return text + "The *paper* preset has the authors' epsilon, *quick* has PyTorch's."
