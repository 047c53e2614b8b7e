"""Parts of a fine-tune: which there are, what their factors are, and which factors are allowed."""

from __future__ import annotations

import numpy as np
import pytest
from example_snapshots import LAYERS, base, example

from beft_core.dials.parts import ALL, LAMBDAS, MAX_LAMBDAS, Part, checked_lambdas, moved, turned
from beft_core.errors import UserError
from beft_core.inference.variants import Variant
from beft_core.snapshots.snapshot import Snapshot

KEY = ("encoder", "v")


def test_one_term_is_turned_by_layer() -> None:
    what = turned(example(pre=base(terms=("v",))))
    assert what.whole == (ALL, *(Part(layer=layer) for layer in range(LAYERS)))
    assert what.layers == what.whole[1:] and what.terms == what.cells == ()


def test_several_terms_are_turned_by_term_and_switched_off_by_cell() -> None:
    what = turned(example())
    assert what.terms == (Part("q"), Part("k"), Part("v"))
    assert len(what.cells) == 3 * LAYERS and what.cells[0] == Part("q", 0)
    assert [part.name for part in (ALL, Part(layer=2), Part("o"), Part("ln1", 0))] == [
        "all",
        "layer 2",
        "b_m1",
        "b_LN1, layer 0",
    ]


def test_what_did_not_move_is_no_part() -> None:
    still = example(size=0.0)
    assert moved(still) == {} and turned(still).whole == (ALL,)
    before = base()
    after = {key: values.copy() for key, values in before.items()}
    after["encoder", "q"][1] += 1
    some = Snapshot.build(example().meta, before, after)
    assert moved(some) == {"q": [1]} and turned(some).whole == (ALL, Part(layer=1))


def test_a_part_is_turned_and_all_else_stays_as_trained() -> None:
    snapshot = example()
    pre, post = snapshot.pre(*KEY), snapshot.post(*KEY)
    turned_up = Variant(snapshot, "task1", Part("v", 1).factors(snapshot, 2.0))
    values = turned_up.values(KEY)
    np.testing.assert_array_equal(values[[0, 2]], post[[0, 2]])
    np.testing.assert_allclose(values[1], 2 * post[1] - pre[1], rtol=1e-6)
    np.testing.assert_array_equal(turned_up.values(("encoder", "q")), snapshot.post("encoder", "q"))
    off = Variant(snapshot, "task1", ALL.factors(snapshot, 0.0))
    for key in snapshot.keys():  # noqa: SIM118
        np.testing.assert_array_equal(off.values(key), snapshot.pre(*key))


def test_factors_are_sorted_and_have_what_everything_is_compared_with() -> None:
    assert checked_lambdas([2, 0.5, 0.5]) == (0.0, 0.5, 1.0, 2.0) and checked_lambdas(LAMBDAS) == LAMBDAS
    for wrong in (float("nan"), float("inf"), 1e9, True, "1"):
        with pytest.raises(UserError, match="got λ = "):
            checked_lambdas([wrong])  # type: ignore[list-item]
    with pytest.raises(UserError, match=f"at most {MAX_LAMBDAS}"):
        checked_lambdas(list(np.linspace(-5, 5, 100)))


def test_an_encoder_and_a_decoder_are_refused() -> None:
    both = base() | base(stack="decoder")
    with pytest.raises(UserError, match="one stack"):
        turned(example(pre=both))
