"""Selections and evaluations show what they hold."""

from __future__ import annotations

from pathlib import Path

from example_snapshots import example

from beft_core.library.scores import Scores
from beft_core.library.selection import Evaluation, Selection
from beft_core.library.snapshot import Snapshot
from beft_core.snapshots.snapshot import read_snapshot


def test_a_selection_is_its_scores_and_its_fine_tunes(tmp_path: Path) -> None:
    probe = Snapshot.of(example(full=True))
    found = Selection(probe, Scores.of(probe), probe)
    assert found.selected == probe.scores().selected and found.term == probe.scores().term
    assert repr(found).splitlines()[-2:] == ["probe: q, k, v, accuracy 0.8000", "trained: q, k, v, accuracy 0.8000"]
    assert found.to_pandas(layers=True).equals(probe.scores().to_pandas(layers=True))
    assert read_snapshot(found.save(tmp_path / "p.beft.safetensors")).meta == probe.meta
    assert len(found.plot("ranking").data) > 0


def test_what_learned_nothing_is_said_of_probe_and_fine_tune() -> None:
    known = {"constant_answer": {"value": 0.79, "examples": 100}}
    probe, trained = (Snapshot.of(example(mode=mode, **known)) for mode in ("all", "terms"))
    lines = repr(Selection(probe, Scores.of(probe), trained)).splitlines()
    assert any(line.startswith("the probe did not beat a constant answer (accuracy 80.0 ± 8.0") for line in lines)
    assert lines[-1].startswith("the fine-tune did not beat a constant answer")


def test_a_probe_that_was_not_evaluated_says_so() -> None:
    probe = Snapshot.of(example(metrics=()))
    assert repr(Selection(probe, Scores.of(probe))).splitlines()[-1] == "probe: q, k, v, not evaluated"


def test_an_evaluation_is_a_mapping(tmp_path: Path) -> None:
    found = Evaluation({"accuracy": 0.75, "f1": 0.5}, "films on <b>")
    assert found["accuracy"] == 0.75 and list(found) == ["accuracy", "f1"] and len(found) == 2
    assert dict(found) == {"accuracy": 0.75, "f1": 0.5}
    assert repr(found).splitlines() == ["films on <b>", "  metric    value", "  accuracy  0.7500", "  f1        0.5000"]
    assert "films on &lt;b&gt;" in found._repr_html_()
    assert found.save(tmp_path / "e.csv").read_text() == "metric,value\naccuracy,0.75\nf1,0.5\n"
