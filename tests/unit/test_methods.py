"""The table of what can be trained."""

from __future__ import annotations

import pytest

from beft_core.methods import EVERY_BIAS, METHODS, NOT_TRAINED, ONE_BY_ONE, WITHOUT_TERMS, method_of


@pytest.mark.parametrize(
    ("mode", "trained"),
    [
        ("terms", ("q",)),
        ("all", ("q", "k", "v")),
        ("head", ()),
        ("full", ()),
        ("random", ()),
        ("none", ()),
        ("merged", ()),
    ],
)
def test_which_terms_a_method_trains(mode: str, trained: tuple[str, ...]) -> None:
    assert method_of(mode).terms(("q",), ("q", "k", "v")) == trained
    assert method_of(mode).trains_terms == bool(trained)


def test_whoever_changes_weights_stands_alone() -> None:
    assert [name for name, one in METHODS.items() if one.changes_weights] == ["full", "random", "fish", "fish-biases"]
    assert [name for name, one in METHODS.items() if one.shares_pass and one.beyond_biases] == ["lora"]
    assert all(one.shares_pass for one in METHODS.values() if not one.beyond_biases)
    assert all("mode" in one.alike for one in METHODS.values() if one.shares_pass and one.beyond_biases)


def test_names_that_stand_for_a_method() -> None:
    assert (EVERY_BIAS, ONE_BY_ONE) == ("all", "terms")
    assert set(WITHOUT_TERMS) | {ONE_BY_ONE} == set(METHODS)
    assert not set(METHODS) & set(NOT_TRAINED)


@pytest.mark.parametrize("mode", ["of a later version", None, 3, ["terms"]])
def test_a_mode_that_is_not_known_trains_nothing(mode: object) -> None:
    one = method_of(mode)
    assert not one.trains_terms and not one.changes_weights and one.short == ""


def test_one_method_trains_nothing() -> None:
    assert [name for name, one in METHODS.items() if not one.trains] == ["none"]
    assert METHODS["none"].terms(("q",), ("q", "v")) == () and METHODS["none"].counts(None, 100) == 0
