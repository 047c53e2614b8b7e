"""Biases that a model is given: those that are wanted and lacking, of models of which more or less is known."""

from __future__ import annotations

import pytest

from beft_core.architectures.resolve import layout_for
from beft_core.errors import ModelNotHere, NotConverted, UserError
from beft_core.settings import added_biases
from beft_core.settings.added_biases import addable, to_be_added, trainable, usual
from beft_core.terms import TERM_KEYS

BERT = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4}
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
}


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(model: str):  # type: ignore[no-untyped-def]
        if model == "a file":
            raise NotConverted("got a file", "its conversion")
        if model == "elsewhere":
            raise ModelNotHere("got no such model", "one that is here")
        return layout_for({"bert": BERT, "llama": LLAMA}[model])

    monkeypatch.setattr(added_biases, "layout_of", find)


def test_what_a_model_has_is_not_added() -> None:
    assert to_be_added("bert", ["v", "q"]) == () and usual("bert") == []
    assert to_be_added("llama", ["v", "q"]) == ("v", "q") and usual("llama") == ["q", "k", "v"]


def test_a_model_of_which_nothing_is_known_gets_what_is_asked_for_or_nothing() -> None:
    assert to_be_added("a file", ["v"]) == ("v",) and usual("a file") == ["q", "k", "v"]
    assert to_be_added("elsewhere", ["v"]) == () and usual("elsewhere") == []


def test_places_of_a_model() -> None:
    assert trainable(None) == TERM_KEYS and trainable(layout_for(BERT)) == TERM_KEYS
    lacking = addable(layout_for(LLAMA))
    assert {"q", "k", "v", "o"} <= set(lacking) and trainable(layout_for(LLAMA)) == lacking
    assert list(lacking) == [term for term in TERM_KEYS if term in lacking]
    assert issubclass(NotConverted, UserError)
