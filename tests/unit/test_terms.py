"""The eight terms as the paper's section 2 names them."""

from __future__ import annotations

from beft_core.terms import CANDIDATES, STACKS, TERM_KEYS, TERMS


def test_symbols_are_the_papers() -> None:
    assert {key: term.symbol for key, term in TERMS.items()} == {
        "q": "b_q",
        "k": "b_k",
        "v": "b_v",
        "o": "b_m1",
        "mlp_in": "b_m2",
        "mlp_out": "b_m3",
        "ln1": "b_LN1",
        "ln2": "b_LN2",
    }


def test_keys_are_unique_and_in_the_order_of_figures() -> None:
    assert all(key == term.key for key, term in TERMS.items())
    assert TERM_KEYS == ("q", "k", "v", "o", "mlp_in", "mlp_out", "ln1", "ln2")
    assert len({term.label for term in TERMS.values()}) == len(TERMS)


def test_the_paper_selects_among_three() -> None:
    assert CANDIDATES == ("q", "k", "v")
    assert STACKS == ("encoder", "decoder")
