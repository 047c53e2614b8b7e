"""Fine-tunes asked from a notebook: numbers as tables, sentences, and one line where the texts do not suit."""

from __future__ import annotations

from pathlib import Path

import pytest

import beft_core
from beft_core.errors import UserError

SAMPLES = Path(__file__).parents[4] / "sample_snapshots"
V, Q, PAIRS = (
    SAMPLES / f"{name}.beft.safetensors"
    for name in ("sst2-low-seed0-v-only", "sst2-low-seed0-q-only", "stsb-low-seed0-v-only")
)


def test_a_table_a_row_for_each_text_and_fine_tune() -> None:
    found = beft_core.predict([V, beft_core.load_snapshot(Q)], ["a fine film", "dull"])
    table = found.to_pandas()
    assert table["fine-tune"].tolist() == ["b_v", "b_q"] * 2 and table["text"].tolist()[::2] == ["a fine film", "dull"]
    assert (table["p negative"] + table["p positive"]).tolist() == pytest.approx([1] * 4)
    layers = found.to_pandas(layers=True)
    assert len(layers) == 4 * 7
    parts = layers.groupby(["text", "fine-tune"])["shift"].sum()
    for _, row in table.iterrows():
        assert parts[row["text"], row["fine-tune"]] == pytest.approx(row["shift"], abs=1e-4)
    assert found.verdicts[0].startswith("b_v ") and len(found.verdicts) == 4
    assert "sst2: 2 texts" in repr(found) and "a fine film" in found._repr_html_()


def test_a_value_for_pairs_without_layers() -> None:
    found = beft_core.predict(PAIRS, "A man plays.", "Someone is playing.", names=["mine"], layers=False)
    row = found.to_pandas().iloc[0]
    assert row["fine-tune"] == "mine" and row["shift"] == pytest.approx(row["value"] - row["before"])
    assert row["text_pair"] == "Someone is playing." and found.answers[0].without == {}


def test_what_does_not_suit_is_told_in_keywords() -> None:
    for asked, says in (
        ({"texts": []}, "no text"),
        ({"texts": 3}, "got texts = '3'"),
        ({"texts": ["a"], "text_pairs": ["b"]}, "pairs of texts for sst2"),
        ({"texts": ["a"], "names": ["x", "y"]}, "2 names for 1 snapshots"),
        ({"texts": ["a"], "task": "cola"}, "the task cola"),
        ({"texts": ["a"], "colour": 1}, "unknown keyword colour"),
    ):
        with pytest.raises(UserError, match=says):
            beft_core.predict(V, **asked)
