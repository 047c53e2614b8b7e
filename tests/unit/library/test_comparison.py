"""Comparisons hold what the engine computes of several snapshots, under names that tell them apart."""

from __future__ import annotations

import numpy as np
import pytest
from example_snapshots import base, example

from beft_core.errors import UserError
from beft_core.library.comparison import Comparison, named
from beft_core.library.snapshot import Snapshot


def several(count: int = 2) -> Comparison:
    snapshots = tuple(Snapshot.of(example(seed)) for seed in range(1, count + 1))
    return Comparison(snapshots, named(snapshots, None))


def test_cosines_are_those_of_what_was_learnt() -> None:
    comparison = several()
    deltas = [
        np.concatenate([(s.post("encoder", t) - s.pre("encoder", t)).ravel() for t in ("q", "k", "v")]).astype(float)
        for s in comparison.snapshots
    ]
    expected = deltas[0] @ deltas[1] / np.linalg.norm(deltas[0]) / np.linalg.norm(deltas[1])
    assert comparison.cosines()[0, 1] == pytest.approx(expected, abs=1e-6)
    assert comparison.angles()[0, 1] == pytest.approx(np.degrees(np.arccos(expected)), abs=1e-3)
    assert f"angle {np.degrees(np.arccos(expected)):.1f}°" in repr(comparison)


def test_settings_say_what_differs() -> None:
    assert several().settings == {"task": ["task1", "task2"]}


def test_one_row_per_number_and_per_pair() -> None:
    comparison = several(3)
    assert set(comparison.to_pandas()["snapshot"]) == set(comparison.names)
    assert len(comparison.agreement()) == 3


def test_the_table_says_why_a_score_is_missing() -> None:
    one, other = Snapshot.of(example()), Snapshot.of(example(2, pre=base(terms=("v",))))
    rows = {row[0]: row[1:] for row in Comparison((one, other), ("a", "b")).shown().rows}
    assert (
        rows["q"][1] == "absent" and rows["v"][1] == f"{other.scores().table.mean_scores('projection_ratio')['v']:.4f}"
    )


@pytest.mark.parametrize("kind", ["overview", "layers", "angles", "difference", "cosine"])
def test_figures_are_drawn(kind: str) -> None:
    assert len(several().plot(kind).data) > 0


def test_legends_and_axes_have_the_names_in_which_no_tag_works() -> None:
    comparison = Comparison(several().snapshots, ("one", "<b>other</b>"))
    for kind in ("overview", "layers"):
        named_ = [trace.name for trace in comparison.plot(kind).data if trace.name is not None]
        assert (
            "A: one" in named_
            and any(name.startswith("B: ") for name in named_)
            and not any("<b>" in n for n in named_)
        )
    axis = comparison.plot("angles").data[0].x
    assert axis[0] == "one" and "<b>" not in axis[1]


def test_too_many_for_a_figure_and_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="got 9 snapshots in one figure; expected at most 8"):
        several(9).plot()
    with pytest.raises(UserError, match=r"got the figure 'angle'.*try angles"):
        several().plot("angle")
    with pytest.raises(UserError, match="got the stack 'decoder'; expected one of encoder"):
        several().plot(stack="decoder")
    with pytest.raises(UserError, match="got the approach 'ratio'"):
        several().plot("layers", approach="ratio")


def test_equal_names_get_numbers() -> None:
    same = [Snapshot.of(example()) for _ in range(2)]
    assert named(same, None) == ("1: task1, q, k, v", "2: task1, q, k, v")
    assert named(same, ["a", "b"]) == ("a", "b")
    for names in (["a"], "ab", [1, 2]):
        with pytest.raises(UserError, match="expected a list of 2 texts"):
            named(same, names)  # type: ignore[arg-type]
