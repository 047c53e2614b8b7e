"""What several fine-tunes share, and what each changed in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_snapshots import LAYERS, WIDTH, base, example

from beft_core.errors import UserError
from beft_core.merging.shared_terms import changes, shared_keys, trained_keys
from beft_core.snapshots.meta import NO_BIASES
from beft_core.snapshots.snapshot import Snapshot

Q, V = ("encoder", "q"), ("encoder", "v")


def test_only_terms_that_all_trained_are_shared_in_canonical_order() -> None:
    pair = [example(seed, trained_terms=("v", "q")) for seed in (1, 2)]
    assert shared_keys(pair) == [Q, V] and shared_keys(pair, ["v"]) == [V]
    with pytest.raises(UserError, match="no trained k in"):
        shared_keys(pair, ["k", "v"])
    with pytest.raises(UserError, match=r"q, v and v\); expected the same"):
        shared_keys([pair[0], example(2, trained_terms=("v",))])


def test_terms_of_another_base_are_not_shared() -> None:
    with pytest.raises(UserError, match="different base models"):
        shared_keys([example(1), example(2, pre=base(5))])


def test_trained_keys_leave_out_what_was_frozen() -> None:
    one = example(1, trained_terms=("v",))
    assert trained_keys(one, None) == [V] and trained_keys(one, {"q"}) == []


def test_changes_are_post_minus_pre_of_each_in_float64() -> None:
    pair = [example(1), example(2)]
    found = changes(pair, V)
    assert found.shape == (2, LAYERS, WIDTH) and found.dtype == np.float64
    for one, snapshot in zip(found, pair, strict=True):
        np.testing.assert_array_equal(one, snapshot.post(*V).astype(float) - snapshot.pre(*V).astype(float))


def test_fine_tunes_of_two_models_without_biases_are_told_apart_by_their_weights() -> None:
    def of(weights: str | None) -> Snapshot:
        one = example(1)
        model = replace(one.meta.model, fingerprint=NO_BIASES, weights=weights)
        meta = replace(one.meta, model=model)
        return Snapshot.build(meta, {k: one.pre(*k) for k in one.keys()}, {k: one.post(*k) for k in one.keys()})  # noqa: SIM118

    unknown, first, second = of(None), of("a" * 64), of("b" * 64)
    assert shared_keys([unknown, first]) == shared_keys([first, first]) == shared_keys([first])
    for two in ([first, second], [unknown, first, second]):
        with pytest.raises(UserError, match="different base models"):
            shared_keys(two)
