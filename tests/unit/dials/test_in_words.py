"""Answers in words: what is said, and what is not said where the examples cannot tell."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from example_dials import example_dial
from example_snapshots import base, example

from beft_core.dials import in_words
from beft_core.dials.parts import Part


def test_the_verdict_has_height_costs_and_the_test_beside_a_trivial_rule() -> None:
    told = in_words.verdict(example_dial())
    assert told.startswith(
        "At λ = 1 Spearman correlation is 71.0 (69.0 to 73.0), and no other λ of the grid is better."
    )
    assert "Layer 2 costs most when switched off: −20.0 (−20.4 to −19.6)." in told
    assert "The projection ratio orders the 3 layers by that cost with tau " in told
    assert "layer index, a rule that knows no score, with tau 1.00 (p 0.33)" in told


def test_a_better_factor_is_told_with_whether_it_can_be_told_apart() -> None:
    clear = example_dial(better=0.2)
    top = in_words.best(clear)
    assert top.factor > 1 and top.distinguishable
    assert f"the best λ is {top.factor:g} with" in in_words.height(clear)
    assert "on the examples that chose it" in in_words.height(clear)
    unclear = example_dial(better=0.2, noise=1.0)
    assert not in_words.best(unclear).distinguishable
    assert "which these 1,500 examples do not tell apart from λ = 1" in in_words.height(unclear)


def test_costs_within_the_noise_are_not_ranked() -> None:
    told = in_words.verdict(example_dial(costs=(0.001, 0.002, 0.003), noise=0.05))
    assert "No single layer costs more when switched off than these examples can tell from 0." in told


def test_nothing_moved() -> None:
    still = example(pre=base(terms=("k",)), size=0.0, full=True)
    dial = example_dial(snapshot=still)
    assert in_words.verdict(dial).endswith("No bias term moved, so there is nothing to turn.")
    assert in_words.rows(dial) == [], "thirteen equal rows say nothing"
    assert len(in_words.rows(example_dial())) == 13


def test_several_terms() -> None:
    told = in_words.verdict(example_dial(("q", "k", "v")))
    assert "The value bias, b_v, costs most when switched off" in told and "9 terms in each layer" in told


def test_added_biases_are_ranked_by_another_score() -> None:
    zeros = {key: np.zeros_like(array) for key, array in base(terms=("v",), stack="decoder").items()}
    told = in_words.verdict(example_dial(snapshot=example(pre=zeros, full=True)))
    assert "The projection ratio is 1 in all 3 layers, for these biases began at zero: it ranks nothing." in told
    assert "Magnitude (L1) orders them by that cost with tau " in told and "no order, or no score" not in told


def test_the_score_against_the_trivial_rule() -> None:
    dial = example_dial()
    (test,) = dial.tests
    paper = test.rules[0]

    def said(low: float, high: float) -> str:
        rule = dataclasses.replace(paper, tau=0.5, above=(0.0, low, high))
        return in_words.causal(dial, dataclasses.replace(test, rules=(rule, *test.rules[1:])))

    assert said(0.1, 0.4).endswith("so the score does better.") and said(-0.4, -0.1).endswith("does worse.")
    assert "so the score" not in said(-0.1, 0.1)


@pytest.mark.parametrize(
    ("value", "text"), [(-0.231, "−23.1"), (0.004, "+0.4"), (0.0001, "0.0"), (-0.0001, "0.0"), (None, "not finite")]
)
def test_differences(value: float | None, text: str) -> None:
    assert in_words.change(value) == text


def test_names_of_parts_in_lists() -> None:
    parts = (Part(), Part(layer=3), Part("v"), Part("v", 3))
    assert [in_words.part_words(part) for part in parts] == [
        "All layers",
        "Layer 3",
        "Value bias, b_v",
        "Value bias, b_v, layer 3",
    ]
