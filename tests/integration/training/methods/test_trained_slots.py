"""Which bias slots a run trains, on tiny models: terms, layers, and what is certified null."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import tiny
from training_tools import config

from beft_core.errors import UserError
from beft_core.training.methods.trained_slots import trained_slots
from beft_core.training.observer import Observer


class Reported(Observer):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


def test_terms_and_layers_are_those_asked_for() -> None:
    model = tiny("bert")
    found = trained_slots(config(terms=("q", "v"), layers=(1,)), model, ())
    assert [(slot.term, slot.layer) for slot in found] == [("q", 1), ("v", 1)]
    assert trained_slots(config(mode="all", terms=()), model, ()) == list(model.layout.slots)
    assert trained_slots(config(mode="head", terms=()), model, ()) == []


def test_null_terms_stay_frozen_and_it_is_said_unless_they_are_asked_for() -> None:
    model, observer = tiny("bert"), Reported()
    found = trained_slots(config(terms=("k", "v")), model, ("k",), observer)
    assert {slot.term for slot in found} == {"v"}
    assert len(observer.texts) == 1 and observer.texts[0].startswith("k is certified null")
    every = trained_slots(config(terms=("k", "v"), train_null=True), model, ("k",), observer)
    assert {slot.term for slot in every} == {"k", "v"} and len(observer.texts) == 1


def test_null_elements_are_told_of_the_terms_that_are_trained() -> None:
    model, observer = tiny("gpt_neox"), Reported()
    elements = {"k": np.tile(np.arange(8) >= 4, 4)}
    assert {slot.term for slot in trained_slots(config(terms=("k",)), model, (), observer, elements)} == {"k"}
    assert len(observer.texts) == 1 and observer.texts[0].startswith("16 of 32 elements of k")
    trained_slots(config(terms=("v",)), model, (), observer, elements)
    assert len(observer.texts) == 1


def test_terms_and_layers_that_the_model_lacks_are_refused() -> None:
    model = tiny("bert")
    with pytest.raises(UserError, match="got layer 9") as caught:
        trained_slots(config(layers=(0, 9)), model, ())
    assert f"0 to {model.layout.layers - 1}" in str(caught.value)
    with pytest.raises(UserError):
        trained_slots(config(terms=("v",)), tiny("llama"), ())
