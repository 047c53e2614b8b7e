"""The scores of a snapshot as a notebook shows them are those of the table that the engine makes."""

from __future__ import annotations

import pytest
from example_snapshots import base, example

from beft_core.errors import UserError
from beft_core.library.scores import Scores, described
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot


def test_numbers_and_selection_are_the_engines() -> None:
    snapshot = example(full=True)
    scores, table = Scores.of(snapshot), score_snapshot(snapshot)
    assert scores.selected == table.selected()
    assert scores.term == table.selected()["projection_ratio"]
    assert scores.to_pandas().equals(table.means)
    assert scores.to_pandas(layers=True).equals(table.per_layer)
    assert len(scores.to_pandas(layers=True)) > len(scores.to_pandas())


def test_the_table_shows_means_with_ranks_and_says_what_is_selected() -> None:
    snapshot = example(n_train=300)
    text = repr(Scores.of(snapshot))
    means = score_snapshot(snapshot).means
    row = means[(means["term"] == "q") & (means["approach"] == "magnitude")].iloc[0]
    assert text.startswith("task1 on bundled, 300 examples: score, mean over layers (rank)")
    assert f"{row['score']:.4f} ({row['rank']})" in text
    assert "Projection ratio selects " in text


def test_null_terms_are_marked_and_notes_follow() -> None:
    text = repr(Scores.of(example(null_terms=("k",))))
    assert "k null" in text and "rounding noise" in text


def test_what_is_not_there_is_refused() -> None:
    scores = Scores.of(example())
    with pytest.raises(UserError, match="got the stack 'decoder'; expected one of encoder"):
        scores.plot(stack="decoder")
    with pytest.raises(UserError, match="got the approach 'fisher'; expected one of projection_ratio, magnitude"):
        scores.plot("ranking", approach="fisher")
    with pytest.raises(UserError, match="got the figure 'bump'; expected one of heatmaps, ranking, bumps; try bumps"):
        scores.plot("bump")


@pytest.mark.parametrize("kind", ["heatmaps", "ranking", "bumps"])
def test_figures_are_drawn(kind: str) -> None:
    figure = Scores.of(example(full=True)).plot(kind)
    assert len(figure.data) > 0


def test_two_stacks_are_told_apart() -> None:
    pre = base() | base(stack="decoder")
    text = repr(Scores.of(example(pre=pre)))
    assert "encoder.q" in text and "decoder.v" in text


def test_words_for_a_snapshot() -> None:
    assert described(example()) == "task1 on bundled"
    assert described(example(n_train=9)) == "task1 on bundled, 9 examples"


def test_equal_scores_select_nothing_and_say_so() -> None:
    pre = dict.fromkeys(base(), base()["encoder", "q"])
    meta = example(pre=pre, null_terms=("k",)).meta
    snapshot = Snapshot.build(meta, pre, {key: 2 * array for key, array in pre.items()})
    scores = Scores.of(snapshot)
    assert scores.term is None and "Projection ratio: no selection: all equal (q and v)" in repr(scores)
