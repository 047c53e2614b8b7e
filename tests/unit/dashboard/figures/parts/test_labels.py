"""Names out of files say what they say in a figure, and nothing else."""

from __future__ import annotations

import html

import pytest

from beft_core.methods import METHODS
from dashboard.figures.parts.labels import (
    METHOD_ORDER,
    as_written,
    in_figures,
    in_templates,
    method_name,
    trained_in_words,
)

NAMES = ["<a href='x'>task</a>", "100 % of %{x}", "R&D", "plain", "&lt;b&gt;"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_as_it_is_and_has_neither_tags_nor_values(name: str) -> None:
    assert "<" not in in_figures(name) and html.unescape(in_figures(name)) == name
    assert "<" not in in_templates(name) and "%" not in in_templates(name)
    assert html.unescape(in_templates(name)) == name


def test_tasks_are_written_as_the_paper_does_and_other_words_stay() -> None:
    told = as_written("sst2 keeps 74 %; prompt-sst2, stsb and my-sst2 of films")
    assert told == "SST-2 keeps 74 %; prompted SST-2, STS-B and my-sst2 of films"


def test_a_long_name_is_cut_before_it_is_escaped() -> None:
    assert in_figures("<" * 50, 10) == "&lt;" * 9 + "…"
    assert in_figures("x" * 10, 10) == "x" * 10


def test_methods_have_names_of_their_own_biases_first() -> None:
    assert sorted(METHOD_ORDER) == sorted(METHODS) and METHOD_ORDER[:3] == ("terms", "all", "head")
    names = [method_name(method) for method in METHODS]
    assert len(set(names)) == len(names) and all(names) and method_name("lora") == "LoRA"
    assert method_name("lora rank=4") == "lora rank=4"


@pytest.mark.parametrize(
    ("trains", "words"),
    [
        *((same, same) for same in ("v", "q+v", "all", "head", "of a later version rank=3", "", " ")),
        ("lora", "LoRA"),
        ("lora targets=q,k rank=4", "LoRA, q k, rank 4"),
        ("prefix virtual_tokens=3", "prefix, virtual tokens 3"),
        ("none", "zero-shot"),
        ("fish-biases", "FISH biases"),
    ],
)
def test_what_a_sweep_trained_is_said_in_words(trains: str, words: str) -> None:
    assert trained_in_words(trains) == words
