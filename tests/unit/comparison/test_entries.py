"""Methods of a comparison by their names."""

from __future__ import annotations

from typing import Any

import pytest

from beft_core.comparison.entries import Entry, entry_of
from beft_core.errors import UserError
from beft_core.learning_rates import RATES


def made(asked: Any, budget: int = 5, lrs: tuple[float, ...] = ()) -> Entry:
    return entry_of(asked, 32, budget, lrs)


@pytest.mark.parametrize(
    ("asked", "label", "trains"),
    [
        ("v", "b_v", "v"),
        ("q+v", "b_q+b_v", "q+v"),
        ("v demonstrations=4", "b_v demonstrations=4", "v demonstrations=4"),
        ("all", "all biases", "all"),
        ("lora", "LoRA", "lora"),
        ({"method": "lora", "rank": 4, "targets": ["k"]}, "LoRA targets=k rank=4", "lora targets=k rank=4"),
        ("lora rank=4 targets=q,k", "LoRA targets=q,k rank=4", "lora targets=q,k rank=4"),
        ("zero-shot", "zero-shot", "none"),
        ("none", "zero-shot", "none"),
        ("icl", "in-context learning", "none demonstrations=32"),
        ({"method": "icl", "demonstrations": 4}, "in-context learning", "none demonstrations=4"),
    ],
)
def test_what_a_name_stands_for(asked: Any, label: str, trains: str) -> None:
    entry = made(asked)
    assert (entry.label, entry.trains) == (label, trains)


def test_rates_are_those_of_the_methods_range_or_the_given_ones() -> None:
    assert made("lora").lrs == RATES["lora"].grid(5) and made("lora").source == RATES["lora"].source
    assert made("v", budget=1).lrs == RATES["terms"].grid(1)
    given = made("full", lrs=(1e-3, 1e-4, 1e-3))
    assert (given.lrs, given.source) == ((1e-4, 1e-3), "given")
    assert made("icl").lrs == made("zero-shot", lrs=(1e-3,)).lrs == ()


def test_an_entry_as_a_sweep_takes_it() -> None:
    assert made("q").in_sweep([1e-3]) == {"method": "q", "lrs": [1e-3]}
    assert made("icl").in_sweep([]) == {"method": "none", "demonstrations": 32}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("lorra", "lora"),
        ("w", "one of"),
        (3, "a name"),
        ({"rank": 3}, "a name"),
        ({"method": "lora", "lrs": [1e-3]}, "got lrs of the method lora"),
        ("lora seeds=1", "got seeds of the method lora"),
        ("lora rank=x", "rank"),
        ({"method": "v", "rank": 3}, "--rank"),
        ({"method": "lora", "rank": 0}, "1 to 4096"),
        ("terms", "one of"),
    ],
)
def test_what_is_no_method_is_refused(asked: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        made(asked)
