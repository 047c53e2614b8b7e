"""Resamples of examples: each has as many as there are, or as many texts with all that are about them."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.tasks import resamples
from beft_core.tasks.resamples import draws, numbered


def test_each_resample_has_as_many_examples_as_there_are() -> None:
    (found,) = draws(np.random.default_rng(0), 9, 50)
    assert found.shape == (50, 9) and (found.sum(axis=1) == 9).all() and found.max() > 1


def test_examples_about_one_text_come_as_often_as_each_other() -> None:
    groups = np.array([0, 1, 1, 2, 0, 1])
    (found,) = draws(np.random.default_rng(0), 6, 50, groups)
    assert (found[:, 0] == found[:, 4]).all() and (found[:, [1]] == found[:, [2, 5]]).all()
    assert (found[:, [0, 1, 3]].sum(axis=1) == 3).all() and len(np.unique(found.sum(axis=1))) > 1


@pytest.mark.parametrize("groups", [None, np.array([0, 0, 1, 2, 2])])
def test_blocks_of_any_size_draw_the_same(groups: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = draws(np.random.default_rng(1), 5, 11, groups)
    monkeypatch.setattr(resamples, "BLOCK", 15)
    parts = list(draws(np.random.default_rng(1), 5, 11, groups))
    assert [len(part) for part in parts] == [3, 3, 3, 2] and (np.concatenate(parts) == whole).all()


def test_texts_are_numbered_where_some_are_shared() -> None:
    found = numbered(np.array([30, 10, 30, -1]))
    assert found is not None and found.tolist() == [2, 1, 2, 0]
    assert numbered(np.array([3, 1, 2])) is None and numbered(np.array([5, 5])) is None
