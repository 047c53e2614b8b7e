"""Whether a fine-tune learned anything: against a constant answer, on so many examples."""

from __future__ import annotations

import dataclasses

import pytest
from example_snapshots import example

from beft_core.scores.learning import learning, of_fine_tune, of_probe
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot


def scored(accuracy: float | None, constant: dict | None, mode: str = "all") -> Snapshot:
    """A probe that ended so."""
    return example(mode=mode, metrics=({"epoch": 1, "accuracy": accuracy},), constant_answer=constant)


@pytest.mark.parametrize(
    ("accuracy", "examples", "beaten"),
    [(0.512, 872, False), (0.56, 872, True), (0.56, 100, False), (0.40, 872, False), (0.95, 20, True)],
)
def test_a_metric_must_be_better_than_chance_between_examples(accuracy: float, examples: int, beaten: bool) -> None:
    snapshot = scored(accuracy, {"value": 0.509, "examples": examples})
    found = learning(snapshot.meta)
    assert found is not None and found.beaten is beaten and found.margin > 0
    assert (of_probe(snapshot.meta) == "") is beaten and (of_fine_tune(snapshot.meta) == "") is beaten


def test_it_is_said_plainly_with_the_scores_and_not_instead_of_them() -> None:
    snapshot = scored(0.512, {"value": 0.509, "examples": 872})
    said = (
        "the probe did not beat a constant answer (accuracy 51.2 ± 3.4 on 872 examples, constant 50.9): its scores say "
        "little"
    )
    assert of_probe(snapshot.meta) == said
    table = score_snapshot(snapshot)
    assert said in table.notes and table.selected()["magnitude"] is not None
    alone = dataclasses.replace(snapshot.meta, mode="terms")
    assert not any("constant" in note for note in score_snapshot(scored(0.512, None)).notes)
    assert of_fine_tune(alone).startswith("the fine-tune did not beat")


@pytest.mark.parametrize(
    ("accuracy", "constant"), [(0.5, None), (None, {"value": 0.5, "examples": 10})], ids=["older file", "not scored"]
)
def test_where_it_is_not_known_nothing_is_said(accuracy: float | None, constant: dict | None) -> None:
    meta = scored(accuracy, constant).meta
    assert learning(meta) is None and of_probe(meta) == ""


def test_of_a_run_that_trains_nothing_it_is_said_of_the_model() -> None:
    meta = scored(0.512, {"value": 0.509, "examples": 872}, "none").meta
    assert of_fine_tune(meta).startswith("the model as it is did not beat a constant answer")
    assert of_fine_tune(meta).endswith(": nothing was trained")
