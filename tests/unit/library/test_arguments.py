"""Keywords become a configuration, or one line that says what was wrong."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import numpy as np
import pytest

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.library.arguments import ALIASES, FIELDS, NOT_KEYWORDS, Settings, run_config

NAMED = {"model", "task", "text", "text_pair", "label", "name", "problem"} | {"terms", "layers", "n_train"}
NAMED |= {"epochs", "lr", "seed"}
"""Fields that the functions of the library name themselves."""


def test_every_field_has_a_keyword() -> None:
    fields = {field.name for field in dataclasses.fields(RunConfig)}
    assert set(typing.get_type_hints(Settings)) == fields - NAMED - NOT_KEYWORDS.keys()
    assert set(ALIASES.values()) <= fields and set(NOT_KEYWORDS) <= fields


def test_keywords_fill_fields_and_win_over_a_configuration() -> None:
    assert run_config(None, {}) == RunConfig()
    made = run_config(RunConfig(lr=1e-3, epochs=3), {"epochs": 5, "terms": "q"})
    assert (made.lr, made.epochs, made.terms) == (1e-3, 5, ("q",))


def test_candidates_are_a_list_of_texts() -> None:
    table = {"train_file": "films.csv", "label": "y"}
    made = run_config(None, {"prompt": "{film} It was", "candidates": ["so so", "0=bad"]}, table)
    assert (made.prompt, made.candidates) == ("{film} It was", ("so so", "0=bad"))
    with pytest.raises(UserError, match=r"got candidates = '\[1\]'"):
        run_config(None, {"prompt": "{film}", "candidates": [1]}, table)


@pytest.mark.parametrize(
    ("given", "mode", "terms"),
    [
        ("v", "terms", ("v",)),
        ("q v", "terms", ("q", "v")),
        (["q", "v"], "terms", ("q", "v")),
        (("mlp_in",), "terms", ("mlp_in",)),
        ("all", "all", ()),
        ("head", "head", ()),
        (["full"], "full", ()),
    ],
)
def test_terms(given: object, mode: str, terms: tuple[str, ...]) -> None:
    made = run_config(RunConfig(mode="full"), {"terms": given})
    assert (made.mode, made.terms) == (mode, terms)


@pytest.mark.parametrize("given", ["1-3", [3, 1, 2], (1, 2, 3), range(1, 4), np.array([1, 2, 3]).tolist()])
def test_layers(given: object) -> None:
    assert run_config(None, {"layers": given}).layers == (1, 2, 3)


def test_one_layer_and_all() -> None:
    assert run_config(None, {"layers": 2}).layers == run_config(None, {"layers": np.int64(2)}).layers == (2,)
    assert run_config(RunConfig(layers=(1,)), {"layers": None}).layers is None


@pytest.mark.parametrize(("alias", "field"), [pair for pair in ALIASES.items() if pair[1] in FIELDS])
def test_names_that_users_of_transformers_type(alias: str, field: str) -> None:
    values = {"schedule": "linear", "lr": 0.002, "clip": 0.5, "adam_epsilon": 1e-7, "task": "rte", "evaluate": "last"}
    value = values.get(field, "a" if field in ("model", "text", "label") else 7)
    assert getattr(run_config(None, {alias: value}), field) == value
    with pytest.raises(UserError, match=f"got both {alias} and {field}"):
        run_config(None, {field: value, alias: value})


def test_numbers_of_numpy_and_paths_are_taken() -> None:
    made = run_config(None, {"n_train": np.int64(64), "lr": np.float32(0.5), "data_dir": Path("x")})
    assert (made.n_train, made.lr, made.data_dir) == (64, 0.5, "x")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lerning_rate": 1}, "got the unknown keyword lerning_rate; expected one of .*; try learning_rate"),
        ({"ephocs": 1}, "try epochs"),
        ({"tokeniser": 1}, "try tokenizer"),
        ({"mode": "full"}, "got the unknown keyword mode; .*; try terms"),
        ({"train_file": "t.csv"}, "got the unknown keyword train_file; .*; try data"),
        ({"validation_file": "t.csv"}, "got the unknown keyword validation_file; .*; try eval_data"),
        ({"lr": "fast"}, "got lr = 'fast'"),
        ({"epochs": 2.5}, "got epochs = 2.5"),
        ({"epochs": True}, "got epochs = True"),
        ({"n_train": [300]}, "got n_train"),
        ({"terms": 5}, "got terms = '5'; expected a text, or a list of texts"),
        ({"terms": ["v", 5]}, "got terms"),
        ({"terms": "w"}, "got --terms w"),
        ({"terms": ["all", "v"]}, "got --terms all v"),
        ({"terms": []}, "got no bias terms"),
        ({"layers": "x"}, "got --layers x"),
        ({"layers": 1.5}, "got layers = '1.5'"),
        ({"layers": object()}, "got layers"),
        ({"layers": []}, "got layers"),
        ({"lr": float("nan")}, "got --lr nan"),
        ({"device": "gpu"}, "got --device gpu"),
        ({"seed": None}, "got seed = None"),
        ({"add_bias": 3}, "got add_bias = '3'"),
    ],
)
def test_wrong_keywords_and_values_are_told(given: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        run_config(None, given, also=("texts", "tokenizer"))


def test_the_first_argument_is_a_configuration() -> None:
    with pytest.raises(UserError, match="got a str as the first argument; expected a RunConfig, or keywords alone"):
        run_config("v", {})
