"""The answer to how two snapshots compare: every number in it is that of the comparison."""

from __future__ import annotations

import numpy as np
import pytest
from example_snapshots import base, example

from beft_core.scores import compare
from beft_core.scores.compare import Moves
from beft_core.scores.compare_words import directions, ranks, scores, verdict
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot

NAMES = ("A", "B")


def moved(way: float, terms: tuple[str, ...] = ("v",)) -> Snapshot:
    """A fine-tune that moved by a direction of its own, and ``way`` times that of all others."""
    names = ("q", "k", "v", "o", "mlp_in", "mlp_out")
    pre = {("encoder", term): np.random.default_rng(3).standard_normal((3, 64)).astype(np.float32) for term in names}
    rng = np.random.default_rng(abs(int(100 * way)) + 1)
    shared = {key: np.random.default_rng(7).standard_normal(array.shape) for key, array in pre.items()}
    post = {
        key: (array + 0.1 * (way * shared[key] + 0.5 * rng.standard_normal(array.shape)) * (key[1] in terms)).astype(
            np.float32
        )
        for key, array in pre.items()
    }
    return Snapshot.build(example(1, pre=pre, trained_terms=terms, null_terms=("k",)).meta, pre, post)


def said(one: Snapshot, other: Snapshot) -> str:
    return directions((Moves(one), Moves(other)), "encoder", NAMES)


@pytest.mark.parametrize(
    ("ways", "words"),
    [((2, 3), "the same way"), ((0.4, 0.35), "partly the same way"), ((2, -2), "in opposite ways")],
)
def test_the_way_follows_the_cosine(ways: tuple[float, float], words: str) -> None:
    one, other = (moved(way) for way in ways)
    (found,) = [a for a in compare.alike(Moves(one), Moves(other), "encoder") if a.whole is not None]
    assert f"changed the same biases {words}: cosine {found.whole:.2f}" in said(one, other)
    assert f"({found.whole:.2f} in b_v)" in said(one, other)


def test_only_some_terms_are_named_and_null_ones_never() -> None:
    terms = ("v", "q", "o", "mlp_in", "mlp_out", "k")
    text = said(moved(2, terms), moved(3, terms))
    assert text.count(" in b_") == 3 and "and 2 terms more" in text and "b_k" not in text
    assert "in b_v" in text and "in b_q" in text  # what can be selected comes first


def test_what_cannot_be_compared_says_why() -> None:
    alone = said(moved(1, ("v",)), moved(1, ("q",)))
    assert alone == "What A and B learnt cannot be compared (b_q: not trained in A)."
    one, foreign = (example(3, pre=base(seed=seed), trained_terms=("v",)) for seed in (0, 9))
    assert "another base model" in said(one, foreign)


def test_ranks_and_scores_are_those_of_the_tables() -> None:
    tables = (score_snapshot(example(1, pre=base())), score_snapshot(example(2, pre=base())))
    found = compare.agreement(*tables, "projection_ratio", "encoder")
    text = ranks(tables, "projection_ratio", "encoder", NAMES)
    assert text.startswith("By projection ratio ") and f"τ {found.kendall:.2f} over {len(found.terms)} terms" in text
    same = ranks((tables[0], tables[0]), "magnitude", "encoder", NAMES)
    assert "both rank" in same and "τ 1.00" in same and same.startswith("By Magnitude")
    most = scores(tables, "projection_ratio", "encoder", NAMES)
    means = [table.mean_scores("projection_ratio") for table in tables]
    gaps = {term: abs(means[0][term] - means[1][term]) for term in means[0]}
    term = max(gaps, key=lambda name: gaps[name])
    assert f"{means[0][term]:.3g} in A, {means[1][term]:.3g} in B" in most
    equal = scores((tables[0], tables[0]), "projection_ratio", "encoder", NAMES)
    assert equal == "Their scores are equal in every term."


def test_without_two_terms_there_is_no_ranking() -> None:
    one, other = moved(1), moved(2)
    tables = (score_snapshot(one), score_snapshot(other))
    sentences = verdict(tables, (Moves(one), Moves(other)), "projection_ratio", "encoder")
    assert ranks(tables, "projection_ratio", "encoder", NAMES) == "" and 1 <= len(sentences) <= 2
    decoder = score_snapshot(example(1, pre=base(stack="decoder")))
    assert scores((tables[0], decoder), "projection_ratio", "encoder", NAMES) == ""
