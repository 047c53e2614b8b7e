"""Lines of merges: one parameter from end to end."""

from __future__ import annotations

from typing import Any

import pytest
from example_snapshots import example

from beft_core.merging.config import MergeConfig
from beft_core.merging.curve import LINES, position, settings_at
from beft_core.merging.methods import METHODS
from beft_core.merging.plan import plan

PAIR = [example(seed, trained_terms=("v",), full=True) for seed in (1, 2)]


def config(**changes: Any) -> MergeConfig:
    return MergeConfig.of(PAIR, ["one", "two"], **changes)


@pytest.mark.parametrize("method", list(LINES))
def test_a_line_holds_all_other_settings(method: str) -> None:
    settings = METHODS[method].settings({}, 2)
    at = position(method, settings, 2)
    assert at is not None
    moved = settings_at(method, settings, 2, at)
    if method in ("mean", "weighted"):
        assert moved == {"weights": [0.5, 0.5]}
    else:
        assert moved == settings


def test_of_several_weights_the_others_share_what_the_first_leaves() -> None:
    assert settings_at("weighted", {"weights": [9.0, 1.0, 3.0]}, 3, 0.2) == {"weights": [0.2, 0.2, 0.6000000000000001]}
    assert settings_at("weighted", {"weights": [1.0, 0.0, 0.0]}, 3, 0.5) == {"weights": [0.5, 0.25, 0.25]}


def test_a_fisher_average_has_no_line() -> None:
    work = plan(PAIR, config(method="fisher", points=5))
    assert work.line == [] and work.position is None and len(work.values) == 4
