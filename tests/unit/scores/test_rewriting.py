"""The same model written down differently, by the numbers of a snapshot: what the scores make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_snapshots import LAYERS, WIDTH, example

from beft_core.errors import UserError
from beft_core.scores.approaches import PAPER
from beft_core.scores.formulas import projection_ratio
from beft_core.scores.rewriting import (
    MAX_SHIFT,
    Line,
    Rewriting,
    Rewritten,
    Shifts,
    base_outputs,
    outputs_here,
    over_directions,
    rewritten,
    unit,
)
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import SUFFIX, Snapshot, read_snapshot, write_snapshot

SAMPLES = Path(__file__).parents[3] / "sample_snapshots"
V = ("encoder", "v")


@pytest.fixture(scope="module")
def probe() -> Snapshot:
    return read_snapshot(SAMPLES / f"sst2-low-seed0-probe{SUFFIX}")


@pytest.mark.parametrize(
    ("shift", "ratio"), [(0, 0.580), (0.5, 0.538), (1, 0.445), (2, 0.281), (5, 0.087), (10, 0.032)]
)
def test_the_measured_ratios(probe: Snapshot, shift: float, ratio: float) -> None:
    """Measured once with one random direction; the spread over twenty directions holds it."""
    spread = over_directions(probe, shift)
    width = max(spread.scores) - min(spread.scores)
    assert min(spread.scores) - width / 2 - 5e-4 <= ratio <= max(spread.scores) + width / 2 + 5e-4
    assert np.mean(spread.scores) == pytest.approx(ratio, abs=0.008)
    assert len(spread.scores) == len(spread.flips) == 20 and 3.8 < min(spread.flips) < max(spread.flips) < 4.6


@pytest.mark.parametrize("direction", ["random", "along", "against"])
def test_the_selection_flips_where_it_is_said_to(probe: Snapshot, direction: str) -> None:
    flip = Shifts(probe, direction).flip()
    assert flip is not None and (flip.before, flip.after) == ("v", "q")
    for at, term in ((flip.at * (1 - 1e-6), "v"), (flip.at * (1 + 1e-6), "q")):
        table = score_snapshot(rewritten(probe, Rewriting(at, direction)))
        assert table.selected()[PAPER] == term
    assert flip.at == pytest.approx({"random": 4.11, "along": 3.03, "against": 5.53}[direction], abs=0.02)


def test_nothing_left_of_b_v_scores_exactly_one(probe: Snapshot) -> None:
    result = Rewritten.of(probe, Rewriting(1, "against"))
    assert result.after.rows("encoder")["v"].scores[PAPER].tolist() == [1.0] * 6
    assert result.after.selected()[PAPER] is None and "undefined" in result.verdict()
    assert Shifts(probe, "against").scores(1.0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("direction", ["random", "along", "against"])
def test_the_line_is_the_formula(probe: Snapshot, direction: str) -> None:
    pre, post = (values.astype(np.float64) for values in (probe.pre(*V), probe.post(*V)))
    u, lengths = unit(pre, direction, 3), np.array([0.0, 0.3, 1.7, 60.0])
    found = Line(pre, post, u).ratios(lengths)
    for r, ratios in zip(lengths, found, strict=True):
        np.testing.assert_allclose(ratios, projection_ratio(pre + r * u, post + r * u), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), np.linalg.norm(pre, axis=1))
    assert not Line(pre, pre, u).ratios(lengths).any()  # what did not move does not score


def test_a_shift_leaves_magnitude_and_fisher(probe: Snapshot) -> None:
    result = Rewritten.of(probe, Rewriting(5))
    for approach in result.before.approaches:
        for term, scores in result.before.rows("encoder").items():
            if term == "o" or approach not in scores.scores:
                continue  # what becomes of b_o is in the weights of the model; only q, k and v have an output change
            now = result.after.rows("encoder")[term].scores[approach]
            same = np.allclose(now, scores.scores[approach], rtol=1e-9, atol=0)
            assert same == ((approach, term) != (PAPER, "v")), (approach, term)
    assert "o" not in result.after.rows("encoder") and result.stays("magnitude") and not result.stays(PAPER)
    assert result.verdict() == (
        "every output stays; projection ratio of v 0.580 -> 0.088, below q 0.118: the selection flips at r = 4.1; "
        "Magnitude and Fisher unchanged"
    )
    assert "still above q 0.118" in Rewritten.of(probe, Rewriting(1)).verdict()


def test_a_scale_leaves_the_ratio_alone(probe: Snapshot) -> None:
    result = Rewritten.of(probe, Rewriting(scale=10))
    was, now = result.before.rows("encoder"), result.after.rows("encoder")
    for term, factor in {"v": 10, "q": 0.1, "k": 10, "o": 1, "ln1": 1}.items():
        np.testing.assert_allclose(now[term].scores[PAPER], was[term].scores[PAPER], rtol=1e-9)
        np.testing.assert_allclose(now[term].scores["magnitude"], factor * was[term].scores["magnitude"], rtol=1e-9)
        np.testing.assert_allclose(now[term].scores["fisher"], was[term].scores["fisher"] / factor**2, rtol=1e-9)
    assert result.stays(PAPER) and result.flip is None
    assert result.verdict().endswith(
        "Magnitude q x0.1, v x10 (selects v instead of q); Fisher q x100, v x0.01 (selects q instead of v)"
    )


def test_b_o_takes_up_the_constant(probe: Snapshot, tmp_path: Path) -> None:
    """W_o c by the weights of the bundled model; the written file is a snapshot of another base model."""
    outputs = outputs_here(probe)
    assert outputs is not None
    now = rewritten(probe, Rewriting(2, seed=7), outputs)
    c = now.pre(*V) - probe.pre(*V)
    np.testing.assert_allclose(np.linalg.norm(c, axis=1), 2 * np.linalg.norm(probe.pre(*V), axis=1), rtol=1e-6)
    for get in (Snapshot.pre, Snapshot.post):
        np.testing.assert_allclose(get(now, "encoder", "o") - get(probe, "encoder", "o"), -outputs(c), atol=1e-9)
    write_snapshot(tmp_path / f"now{SUFFIX}", now)
    read = read_snapshot(tmp_path / f"now{SUFFIX}")
    assert read.keys() == probe.keys() and read.meta.provenance["rewritten"]["shift"] == 2
    assert read.meta.model.fingerprint == now.meta.model.fingerprint != probe.meta.model.fingerprint
    with pytest.raises(UserError, match="differ from those"):
        base_outputs(read, "bundled")


def test_along_a_trajectory_too(probe: Snapshot) -> None:
    steps, now = probe.steps(*V), rewritten(probe, Rewriting(3)).steps(*V)
    assert (steps is None) == (now is None)
    if steps is not None and now is not None:
        assert np.allclose(now - steps, (now - steps)[:1]) and not np.allclose(now, steps)


def test_what_cannot_be_rewritten() -> None:
    nothing = example(
        pre={("encoder", term): np.zeros((LAYERS, WIDTH), np.float32) for term in "qv"}, null_terms=("k",)
    )
    with pytest.raises(UserError, match="began at zero"):
        rewritten(nothing, Rewriting(1))
    assert score_snapshot(rewritten(nothing, Rewriting(scale=3))).terms
    for wrong in ({"shift": -1}, {"shift": MAX_SHIFT * 1.1}, {"shift": float("nan")}, {"scale": 0}, {"scale": 1e6}):
        with pytest.raises(UserError):
            Rewriting(**wrong)
    with pytest.raises(UserError, match="random, along, against"):
        Rewriting(1, "sideways")


def test_no_contest_is_no_flip() -> None:
    alone = example(trained_terms=("v",), null_terms=("k",))
    result = Rewritten.of(alone, Rewriting(5))
    assert result.flip is None and "no selection that could flip" in result.verdict()
