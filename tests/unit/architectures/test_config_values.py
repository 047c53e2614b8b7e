"""Values of a configuration that may hold anything."""

from __future__ import annotations

from typing import Any

import pytest

from beft_core.architectures.config_values import MAX_SIZE, first_set, size
from beft_core.errors import UserError


def test_the_first_name_that_is_set_counts() -> None:
    config = {"n_embd": 8, "hidden_size": None, "dim": 3}
    assert first_set(config, ("hidden_size", "n_embd", "dim")) == 8
    assert first_set(config, ("width",), default=5) == 5 and first_set({"width": 0}, ("width",), default=5) == 0


def test_what_is_missing_is_said_with_the_model_type() -> None:
    with pytest.raises(UserError, match="a bert config without hidden_size"):
        first_set({"model_type": "bert"}, ("hidden_size", "n_embd"))


@pytest.mark.parametrize("value", [0, -1, MAX_SIZE + 1, 2.0, True, "8", [8]])
def test_only_whole_numbers_within_bounds_are_sizes(value: Any) -> None:
    with pytest.raises(UserError, match=rf"a whole number from 1 to {MAX_SIZE}"):
        size({"dim": value}, ("dim",))


def test_bounds_belong_to_the_sizes() -> None:
    assert size({"dim": 1}, ("dim",)) == 1 and size({"dim": MAX_SIZE}, ("dim",)) == MAX_SIZE
    with pytest.raises(UserError, match="from 1 to 7"):
        size({"dim": 8}, ("dim",), most=7)
