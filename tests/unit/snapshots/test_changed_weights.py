"""Snapshots that do not hold all that their fine-tune changed."""

from __future__ import annotations

import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.snapshots.changed_weights import refuse_changed_weights


@pytest.mark.parametrize(("mode", "words"), [("full", "whose weights changed too"), ("lora", "the adapter beside it")])
def test_a_snapshot_that_is_not_the_whole_result_is_refused(mode: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        refuse_changed_weights(example(mode=mode))


@pytest.mark.parametrize("mode", ["terms", "all", "head", "merged", "imported"])
def test_one_of_biases_is_taken(mode: str) -> None:
    refuse_changed_weights(example(mode=mode))
