"""Texts that are each answered by a fine-tune of their own, from a notebook: as each of them alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import beft_core
from beft_core.errors import UserError

SAMPLES = Path(__file__).parents[4] / "sample_snapshots"
V, Q, PAIRS = (
    SAMPLES / f"{name}.beft.safetensors"
    for name in ("sst2-low-seed0-v-only", "sst2-low-seed0-q-only", "stsb-low-seed0-v-only")
)


def test_classes_and_values_in_one_table() -> None:
    films, second = ["a fine film", "A man plays.", "dull"], [None, "Someone is playing.", None]
    found = beft_core.predict_rows([V, beft_core.load_snapshot(PAIRS), Q], films, [2, 1, 0], second)
    table = found.to_pandas()
    assert table["fine-tune"].tolist() == ["b_q", "b_v", "b_v"] and table["task"].tolist() == ["sst2", "stsb", "sst2"]
    assert [len(one.logits) for one in found.answers] == [2, 1, 2]
    (value,) = beft_core.predict(PAIRS, films[1], second[1], layers=False).answers
    assert table["says"][1] == pytest.approx(float(value.logits[0, 0]), abs=1e-5) and np.isnan(table["p"][1])
    for row, snapshot in ((0, Q), (2, V)):
        (alone,) = beft_core.predict(snapshot, films[row], layers=False).answers
        np.testing.assert_allclose(found.answers[row].logits, alone.logits[0], atol=1e-5)
        assert table["says"][row] == ("negative", "positive")[int(alone.predicted[0])]
    assert "3 rows, 3 fine-tunes" in repr(found) and "Someone is playing." in found._repr_html_()


def test_what_does_not_suit_is_told_in_keywords() -> None:
    for asked, says in (
        ({"texts": 3, "of": [0]}, "got texts = '3'"),
        ({"texts": ["a"], "of": ["v"]}, "got of = \"\\['v'\\]\"; expected the number of a snapshot for each text"),
        ({"texts": ["a"], "of": [1]}, "got snapshot number 1; expected 0 to 0"),
        ({"texts": ["a"], "of": [0], "text_pairs": [1]}, "got text_pairs"),
        ({"texts": ["a"], "of": [0], "names": ["x", "y"]}, "2 names for 1 snapshots"),
        ({"texts": ["a"], "of": [0], "task": "cola"}, "got no head for cola; .* try task NAME"),
        ({"texts": ["a"], "of": [0], "colour": 1}, "unknown keyword colour"),
    ):
        with pytest.raises(UserError, match=says):
            beft_core.predict_rows(V, **asked)
