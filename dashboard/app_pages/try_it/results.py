"""Answers on the page: the verdict, every fine-tune's answer beside the others', and which layer's bias made it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from beft_core.errors import UserError
from beft_core.inference.answers import Answer, margin, probabilities, short_name
from dashboard.app_pages.try_it.asking import answers
from dashboard.app_pages.try_it.setup import Setup, forget_unless
from dashboard.figures.answers.layers import Apart, by_layer
from dashboard.figures.answers.shift import Shifted, shifts
from dashboard.shared import page
from dashboard.shared.figure import offer_table, show
from dashboard.shared.text import in_words, plain

if TYPE_CHECKING:
    import pandas as pd

FOCUS, BASE, NUMBERS = "try_which", "try_base", "try_numbers"
"""Keys of the controls, and their names in the URL."""
OWN, BASE_MODEL = "its own head on the pre-trained model", "the base model"
"""Choices of what a shift is measured from: the head alone; of a prompted task, which has none, the model as it was."""
SCALES = {"stsb": (0.0, 5.0), "demo-similarity": (0.0, 5.0)}
"""Ends of the scale of the values that a task has."""


def results(
    setup: Setup,
    texts: list[str],
    pairs: list[str] | None,
    above: DeltaGenerator,
    dark: bool,
    candidates: list[str] | None = None,
) -> None:
    """Ask, and draw the answers. ``above``: container at the top of the page, for the verdict.

    ``candidates``: answers to texts that are prompts; None: a head answers.
    """
    focus = _focus(texts)
    try:
        found, seconds = answers(setup, texts, pairs, focus, candidates)
    except UserError as error:
        page.report(error, "The fine-tunes could not be asked")
        return
    with above:
        st.markdown(f"#### {in_words(found[0].verdict(focus))}")
        for other in found[1:]:
            st.markdown(in_words(other.verdict(focus)))
    if candidates is not None:
        _of_candidates(found, focus)
    against = _against(setup, found)
    _side_by_side(setup, found, focus, against, dark)
    _layers(setup, found, focus, dark)
    table = _table(setup, found, texts, pairs, against)
    with st.expander("Every number", icon=":material/table:", key=NUMBERS, bind="query-params"):
        st.dataframe(table, hide_index=True, alt="Answers of every fine-tune to every sentence", height="content")
        with page.control("downloads", "try-table", horizontal=True, horizontal_alignment="right"):
            offer_table("These numbers (CSV)", lambda: table, "try-it.csv", "try-table-csv")
    _computed(setup, seconds, found[0].prompted)


def _focus(texts: list[str]) -> int:
    """Draw which sentence is taken apart, where there are several."""
    if len(texts) == 1:
        return 0
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    forget_unless(FOCUS, numbers)
    chosen = st.segmented_control(
        "Sentence that is taken apart", numbers, default=numbers[0], required=True, key=FOCUS, bind="query-params"
    )
    st.caption(plain(texts[int(chosen or 1) - 1], 200))
    return int(chosen or 1) - 1


def _against(setup: Setup, found: Sequence[Answer]) -> str:
    """Draw what the shift is measured from."""
    itself = _itself(found)
    options = [itself, *(one.name for one in found)]
    forget_unless(BASE, options)
    with page.control("settings", "try-base"):
        return str(
            st.selectbox(
                "Shift from",
                options,
                key=BASE,
                bind="query-params",
                width=420,
                help=f"Every fine-tune trained a head of its own beside its {setup.trained}. From its own head on the "
                f"pre-trained model, the shift is the effect of the {setup.trained} alone; from another fine-tune it "
                "is that of both together."
                if itself == OWN
                else f"No head was trained: from the base model, the shift is the effect of the {setup.trained}.",
            )
        )


def _itself(found: Sequence[Answer]) -> str:
    """Name what each fine-tune is compared with by itself."""
    return BASE_MODEL if found[0].prompted else OWN


def _of_candidates(found: Sequence[Answer], focus: int) -> None:
    """Draw the probability of every candidate by the base model and every fine-tune."""
    labels = found[0].labels
    assert labels is not None
    rows = [(BASE_MODEL, found[0].before[focus]), *((one.name, one.logits[focus]) for one in found)]
    table = [{"": name, **dict(zip(labels, probabilities(logits).tolist(), strict=True))} for name, logits in rows]
    st.dataframe(
        _frame(table),
        hide_index=True,
        height="content",
        alt="Probability of each candidate by the base model and every fine-tune",
        column_config={
            label: st.column_config.ProgressColumn(format="%.3f", min_value=0, max_value=1) for label in labels
        },
    )


def _base(answer: Answer, found: Sequence[Answer], against: str) -> np.ndarray:
    """Logits that an answer is compared with, [examples, outputs]."""
    named = next((one for one in found if one.name == against), None)
    return answer.before if named is None else named.logits


def _side_by_side(setup: Setup, found: Sequence[Answer], focus: int, against: str, dark: bool) -> None:
    first = found[0]
    label = int(first.logits[focus].argmax())
    if first.labels is None:
        what, number = "predicted value", partial(_value, label=0)
        reach = SCALES.get(setup.task) or _reach(found, focus)
    else:
        what, number, reach = f"probability of {first.labels[label]}", partial(_probability, label=label), (0.0, 1.0)
    rows = [
        Shifted(one.name, number(_base(one, found, against)[focus]), number(one.logits[focus]), run.colour)
        for run, one in zip(setup.runs, found, strict=True)
    ]
    show(
        shifts(rows, reach, what, dark),
        "try-shift",
        f"{what} by each fine-tune, and what it is compared with",
        data=lambda: _frame([{"fine-tune": row.name, "compared with": row.before, what: row.after} for row in rows]),
    )
    trained = setup.trained
    start = (
        f"Ring: **the fine-tune's own head on the pre-trained model**; dot: with its {trained}. The way between them "
        f"is the doing of the {trained}."
        if against == OWN
        else f"Ring: **the base model**; dot: the fine-tune. The way between them is the doing of the {trained}."
        if against == BASE_MODEL
        else f"Ring: {plain(against)}; dot: each fine-tune."
        if first.prompted
        else f"Ring: {plain(against)}; dot: each fine-tune. The way between them is that of {trained} and head "
        "together."
    )
    st.caption(start)


def _value(logits: np.ndarray, label: int) -> float:
    return float(logits[label])


def _probability(logits: np.ndarray, label: int) -> float:
    return float(probabilities(logits)[label])


def _reach(found: Sequence[Answer], focus: int) -> tuple[float, float]:
    """Find the ends of a scale that holds every value."""
    values = [float(side[focus, 0]) for one in found for side in (one.logits, one.before)]
    low, high = min(values), max(values)
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _layers(setup: Setup, found: Sequence[Answer], focus: int, dark: bool) -> None:
    """Draw which layer made each shift, of those fine-tunes that moved a bias or wrapped a module."""
    label = int(found[0].logits[focus].argmax())
    effects = [one.effect(focus, label) for one in found]
    parts = [
        Apart(run.name, effect.layers, effect.interaction, run.colour)
        for run, effect in zip(setup.runs, effects, strict=True)
        if effect.layers
    ]
    st.subheader("Which layer made it", anchor=False)
    if not parts:
        whose = "that of the base model" if found[0].prompted else "their heads' alone"
        st.caption(f"No bias moved in these fine-tunes: what they say is {whose}.")
        return
    labels = found[0].labels
    unit = "value" if labels is None else f"log-odds of {labels[label]}"
    show(
        by_layer(parts, "change of the value" if labels is None else "change of the log-odds", dark=dark),
        "try-layers",
        f"Change of the {unit} by what each layer trained",
        data=lambda: _frame(
            [
                {"fine-tune": part.name, "layer": layer, "change": change}
                for part in parts
                for layer, change in (*part.layers.items(), ("rest", part.rest))
            ]
        ),
    )
    put_back = {
        "biases": "with that layer's biases put back to their pre-trained values",
        "adapters": "with the adapter switched off in that layer",
    }.get(setup.trained, "with that layer's biases put back, or its adapter switched off")
    nowhere = [run.name for run, effect in zip(setup.runs, effects, strict=True) if run.adapted and not effect.layers]
    st.caption(
        f"A bar is the {plain(unit)} minus what it is {put_back}, one layer at a time; the hollow bar is what layers "
        "do together." + (f" {plain(', '.join(nowhere))} stands before the text, in no layer." if nowhere else "")
    )


def _table(
    setup: Setup, found: Sequence[Answer], texts: list[str], pairs: list[str] | None, against: str
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for example, text in enumerate(texts):
        for one in found:
            logits, base = one.logits[example], _base(one, found, against)[example]
            label = int(found[0].logits[example].argmax())
            row: dict[str, Any] = {"prompt" if one.prompted else "sentence": text}
            if pairs is not None:
                row["second"] = pairs[example]
            row["fine-tune"] = one.name
            if one.labels is None:
                row["value"] = float(logits[0])
            else:
                row["says"] = one.labels[int(logits.argmax())]
                shares = probabilities(logits)
                row |= {f"p {name}": float(share) for name, share in zip(one.labels, shares, strict=True)}
            row["shift"] = margin(logits, label) - margin(base, label)
            row |= {
                f"logit {name}": float(value) for name, value in zip(one.labels or ("",), logits, strict=True) if name
            }
            rows.append(row)
    return _frame(rows).round(4)


def _frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows))


_TOGETHER = (
    "{what}, and every layer put back are read together: one pass through the frozen model, in which each row gets the "
    "biases of its own variant ({milliseconds:.0f} ms when it was first asked, without loading). Float32, without "
    "dropout"
)
_ADAPTERS = "; adapters are put into the model one after the other, and asked by themselves"
_OF_HEADS = (
    "; equal to transformers' own classifier with the biases written into it, up to rounding.\n"
    "- **Log-odds** of a class: $\\log\\frac{p}{1-p}$; with two classes it is the difference of their logits. "
    "**Shift**: how far the log-odds of the class that the first fine-tune names, or the value, moved.\n"
    "- **A layer's bar**: margin with all trained biases − margin with that layer's biases (all its terms) at "
    "their values before the fine-tune. **Rest**: the whole shift − the sum of the bars.\n"
    "- Between two fine-tunes both differ: each trained a head (and the pooler's bias) of its own beside its "
    "biases.\n"
    "- The head, the pooler's bias and, of a fine-tune of all biases, the LayerNorm of the embeddings stay as "
    "trained on both sides."
)
_OF_PROMPTS = (
    ".\n"
    "- **Probability**: softmax, over the candidates alone, of their mean log-probabilities per token, as in training "
    "and in the metric.\n"
    "- **Log-odds** of a candidate: $\\log\\frac{p}{1-p}$. **Shift**: how far the log-odds of the candidate that "
    "the first fine-tune chooses moved.\n"
    "- **A layer's bar**: log-odds with all trained biases − log-odds with that layer's biases (all its terms) at "
    "their values before the fine-tune. **Rest**: the whole shift − the sum of the bars."
)


def _computed(setup: Setup, seconds: float, prompted: bool) -> None:
    what = "The base model, all fine-tunes" if prompted else "All fine-tunes, their heads on the pre-trained model"
    with page.control("details", "try"), st.expander("How was this computed?", icon=":material/function:"):
        together = _TOGETHER.format(what=what, milliseconds=1000 * seconds)
        adapters = _ADAPTERS if any(run.adapted for run in setup.runs) else ""
        st.markdown(together + adapters + (_OF_PROMPTS if prompted else _OF_HEADS))
        st.dataframe(
            [
                {
                    "fine-tune": run.name,
                    "snapshot": run.opened.title,
                    "trained": ", ".join(run.opened.meta.trained_terms) or short_name(run.opened.meta),
                    "examples": run.opened.meta.n_train,
                    "seed": run.opened.meta.seed,
                    "base model": run.model,
                }
                for run in setup.runs
            ],
            hide_index=True,
            alt="Fine-tunes that were asked",
        )
