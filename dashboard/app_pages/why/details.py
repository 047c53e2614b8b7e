"""Details of the three pushes: why it must be so, sizes over twenty decades, whole maps, and how it was computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from beft_core.terms import CANDIDATES
from dashboard.app_pages.why.setup import Setup
from dashboard.figures import attention
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import name
from dashboard.shared import page
from dashboard.shared.figure import show
from dashboard.shared.text import plain

TERM = "why_term"
"""Name in the URL: the bias whose details are shown."""


@dataclass(frozen=True)
class Proof:
    """Text of the proof about one term. Mathematics as Markdown with LaTeX."""

    term: str
    asks: str
    why: str
    formula: str
    so: str


PROOFS: dict[str, Proof] = {
    proof.term: proof
    for proof in (
        Proof(
            "k",
            "Add a random vector $d$ to the **key bias** of one layer: every key moves by the same $d$.",
            "The logit by which token $i$ looks at token $j$ is the product of a query and a key, here per head of "
            "width $w$. With $d$ in every key, it becomes",
            r"\frac{q_i \cdot (k_j + d)}{\sqrt w} = \frac{q_i \cdot k_j}{\sqrt w} + "
            r"\underbrace{\frac{q_i \cdot d}{\sqrt w}}_{\text{the same for every } j}",
            "A softmax over $j$ does not see what is the same for every $j$. So no value of $b_k$ can change anything, "
            "and its exact gradient is zero: a fine-tune that trains it can only follow rounding errors.",
        ),
        Proof(
            "q",
            "Add the same $d$ to the **query bias**: every query moves by the same $d$.",
            "Now the addition is multiplied by the key, which differs from token to token:",
            r"\frac{(q_i + d) \cdot k_j}{\sqrt w} = \frac{q_i \cdot k_j}{\sqrt w} + "
            r"\underbrace{\frac{d \cdot k_j}{\sqrt w}}_{\text{differs with } j}",
            "Tokens whose key points along $d$ get more attention, from every token alike. Of the three biases only "
            "$b_q$ can do this.",
        ),
        Proof(
            "v",
            "Add the same $d$ to the **value bias**: every value moves by the same $d$.",
            "Attention averages the values with weights $a_{ij}$, and the weights of a token sum to 1, $\\sum_j "
            "a_{ij} = 1$:",
            r"W_o \sum_j a_{ij}\,(v_j + d) = W_o \sum_j a_{ij}\,v_j + W_o\,d",
            "The weights themselves do not know the values, so this layer's attention stays exactly as it was, and "
            "every token receives the same constant $W_o d$. One may as well **fold** it into the bias after the "
            "attention, $b_o + W_o d$, and leave $b_v$ alone: the model is the same. So $b_v$ reaches the output "
            "directly, whatever the tokens look at.",
        ),
    )
}


def details(setup: Setup, result: dict[str, Any], dark: bool) -> None:
    """Draw the choice of a bias, and all there is to know about its push."""
    there = [term for term in CANDIDATES if "absent" not in result["terms"][term]]
    if not there:
        return
    options = {name(term): term for term in sorted(there, key=list(PROOFS).index)}
    if st.session_state.get(TERM) not in options:
        st.session_state.pop(TERM, None)  # the model before had another one
    chosen = st.segmented_control(
        "Push", list(options), default=next(iter(options)), required=True, key=TERM, bind="query-params"
    )
    term = options[str(chosen)]
    words, part = PROOFS[term], result["terms"][term]
    if term == "k" and not result["model"]["key_null"]:
        st.warning(
            f"{plain(result['model']['key_why'])}. The proof below does not hold here: $b_k$ is a bias like the "
            "others.",
            title="In this model b_k can act",
            icon=":material/rotate_right:",
        )
    st.markdown(f"{words.asks} {words.why}")
    st.latex(words.formula)
    st.markdown(words.so)
    _numbers(term, part, result, dark)
    _maps(term, part, setup, result, dark)
    if term == "v":
        _other_layers(result, dark)
    _computed(setup, result)


def _numbers(term: str, part: dict[str, Any], result: dict[str, Any], dark: bool) -> None:
    """Draw how large each change is, over twenty decades: an effect, or the rounding of the numbers."""
    st.markdown("##### How much")
    moved = (
        f"**{part['moved']:.1%}** of this layer's attention went elsewhere"
        if part["moves"]["attention"]
        else (
            "This layer's attention did not move at all"
            if part["float64"]["attention"] == 0
            else "What is left of a change is the rounding of the numbers: with finer numbers it goes away"
        )
    )
    st.markdown(f"{moved}.")
    rows = {
        f"attention of layer {result['layer']}": "attention",
        "logits": "logits",
        "hidden states at the output": "hidden",
        **({"with d − folded": "fold"} if "fold" in part["float64"] else {}),
    }
    sizes = {label: {p: part[p][key] for p in attention.EPSILON} for label, key in rows.items()}
    show(
        attention.changes(sizes, term, dark),
        f"why-changes-{term}",
        "Largest changes in float64 and float32",
        data=lambda: pd.DataFrame([{"change of": label, **values} for label, values in sizes.items()]),
    )
    if "fold" in part["float64"]:
        st.markdown(
            "The last row compares two models: $d$ in $b_v$, and $W_o d$ in the output bias instead. Their hidden "
            "states "
            f"differ by {short(part['float64']['fold'], 2)} in float64: they are the same model."
        )


def _maps(term: str, part: dict[str, Any], setup: Setup, result: dict[str, Any], dark: bool) -> None:
    st.markdown(f"##### The attention of layer {result['layer']}")
    before, after = attention_of(part, setup, result)
    most = int(np.argmax(part["moved_by_head"]))
    if part["moves"]["attention"]:
        st.caption(f"Head {most} moved most: {part['moved_by_head'][most]:.1%} of its attention went elsewhere.")
    show(
        attention.maps(before, after, result["tokens"], dark),
        f"why-maps-{term}",
        "Attention between the tokens before and after, and the difference",
        data=lambda: _long(before, after, result["tokens"]),
    )


def attention_of(part: dict[str, Any], setup: Setup, result: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Attention [queries, keys] before and after a push, of the heads that are shown."""
    before = np.array(result["attention"])
    after = before if part["after"] is None else np.array(part["after"])
    heads = setup.heads(result)
    return before[heads].mean(0), after[heads].mean(0)


def _long(before: np.ndarray, after: np.ndarray, tokens: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"query": i, "from": tokens[i], "key": j, "to": tokens[j], "before": before[i, j], "after": after[i, j]}
            for i in range(len(tokens))
            for j in range(len(tokens))
        ]
    )


def _other_layers(result: dict[str, Any], dark: bool) -> None:
    shown = {term: part["by_use"] for term, part in result["terms"].items() if "by_use" in part}
    st.markdown("##### And the layers after it?")
    st.markdown(
        "They read other hidden states, so their attention may move. Only *this* layer's cannot: it was fixed before "
        "the values were averaged."
    )
    show(
        attention.by_layer(shown, result["at"], dark),
        "why-layers",
        "Share of attention that moved, in every layer",
        data=lambda: pd.DataFrame(shown).rename_axis("layer").reset_index(),
    )


def _computed(setup: Setup, result: dict[str, Any]) -> None:
    with page.control("details", "why-computed"):
        st.markdown("##### How was this computed?")
        model = result["model"]
        st.markdown(
            "The model reads the sentence once as it is and once with $d$ added to the bias, in float64 and again in "
            "float32, without dropout.\n"
            "- $d$: normally distributed, scaled to the chosen length, drawn by the seed (numpy's default generator); "
            "the same for all three biases where they are equally wide.\n"
            "- **Logits**: of a head with two classes and random weights (by the seed) on the mean of the final hidden "
            "states. Nobody trained it: what holds for the hidden states holds for every head, a trained one "
            "included.\n"
            "- **Largest change**: max |after − before| over all its numbers. The dotted lines are the distance from 1 "
            "to the next number of a precision, $2^{-52}$ and $2^{-23}$.\n"
            r"- **Attention that went elsewhere**: total variation $\tfrac12\sum_j |a'_{ij} - a_{ij}|$, mean over "
            "queries and heads, in float64; 0 is nothing, 100% is all of it.\n"
            "- **Folded**: $W_o d$ added to the bias after the attention instead, and the final hidden states "
            "compared.\n"
            "- The maps are rounded to six decimals for the page, the numbers are not."
        )
        facts = {
            "model": f"{model['id']}{'@' + model['revision'] if model['revision'] else ''}",
            "architecture": f"{model['architecture']}, {model['layers']} layers, {model['heads']} heads, "
            f"{model['parameters']:,} parameters",
            "base biases (SHA-256)": model["fingerprint"],
            "given a bias of zeros": ", ".join(model["added"]) or "none: the model has all that take part",
            "layer, length of d, seed": f"{setup.layer}, {setup.size:g}, {setup.seed}",
            "versions": ", ".join(f"{name} {version}" for name, version in model["versions"].items()),
        }
        st.dataframe({"input": list(facts), "value": list(facts.values())}, hide_index=True, alt="Inputs of the proof")
