"""Plans of comparisons: which methods apply, told before PyTorch is started."""

from __future__ import annotations

from typing import Any

import pytest

from beft_core.comparison.plan import plan
from beft_core.comparison.spec import ComparisonSpec
from beft_core.errors import UserError
from beft_core.training.observer import Observer


def planned(*methods: str, **values: Any) -> Any:
    return plan(ComparisonSpec(methods=methods, **values), Observer())


def test_methods_that_do_not_apply_are_refused_with_the_reason_and_the_others_stay() -> None:
    found = planned("v", "icl", "zero-shot", "lora", settings={"n_eval": 50})
    assert [entry.trains for entry in found.applying] == ["v", "lora"]
    assert set(found.refused) == {"none", "none demonstrations=32"}
    assert all("answers a head gives" in reason for reason in found.refused.values())
    assert (found.n_train, found.reported_on, found.same_lr) == (300, 50, 1e-2)
    assert found.held_out == 500 and found.rows > 2500 and 0.5 <= found.constant < 0.7


def test_a_missing_library_refuses_its_methods_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(method: str) -> None:
        raise UserError(f"got --method {method} in an installation without peft")

    monkeypatch.setattr("beft_core.training.preconditions.require_methods", missing)
    assert planned("v", "lora", "full").refused == {"lora": "got --method lora in an installation without peft"}


def test_settings_that_one_method_cannot_have_are_its_reason() -> None:
    found = planned("v", "prefix", settings={"layers": (5,)})
    assert "vectors stand before the text" in found.refused["prefix"]


def test_where_nothing_applies_or_is_there_it_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no method that applies here: .* a head gives"):
        planned("icl", "zero-shot")
    with pytest.raises(UserError, match="bundled"):
        planned("v", settings={"model": "nowhere-at-all"})
    with pytest.raises(UserError, match="examples that there are"):
        planned("v", n_train=10**6)


def test_the_one_rate_may_be_given() -> None:
    assert planned("v", same_lr=3e-4).same_lr == 3e-4
