"""A snapshot in a notebook is the engine's, and shows, writes and draws itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.library.snapshot import Snapshot, snapshot_of
from beft_core.snapshots.snapshot import read_snapshot

EPOCHS = (
    {"accuracy": 0.7, "epoch": 1, "step": 4, "train_loss": 0.6},
    {"accuracy": 0.8, "epoch": 2, "step": 8, "train_loss": 0.5},
)


def test_it_shares_the_arrays_of_the_engines_snapshot() -> None:
    plain = example(full=True)
    snapshot = Snapshot.of(plain)
    assert snapshot.post("encoder", "v") is plain.post("encoder", "v")
    assert snapshot.meta is plain.meta and snapshot.source == plain.source and dict(snapshot.extra).keys()
    assert Snapshot.of(snapshot) is snapshot


def test_it_shows_one_line_per_epoch_with_the_epoch_first() -> None:
    snapshot = Snapshot.of(example(metrics=EPOCHS, n_train=64, trained_parameters=96, total_parameters=9600))
    assert repr(snapshot).splitlines() == [
        "task1 on bundled, 64 examples: q, k, v",
        "  epoch  step  train_loss  accuracy",
        "  1      4     0.6000      0.7000",
        "  2      8     0.5000      0.8000",
        "trained 96 of 9,600 parameters, besides the head",
    ]
    assert list(snapshot.to_pandas()) == ["epoch", "step", "train_loss", "accuracy"]
    assert snapshot.to_pandas()["accuracy"].tolist() == [0.7, 0.8]
    assert snapshot.metrics == {"accuracy": 0.8}


def test_without_metrics_it_shows_what_it_holds() -> None:
    snapshot = Snapshot.of(example(metrics=(), mode="merged"))
    assert "encoder.q" in repr(snapshot) and snapshot.to_pandas().empty and snapshot.metrics == {}


def test_hostile_names_stay_text() -> None:
    assert "<img" not in Snapshot.of(example(task="<img src=x onerror=alert(1)>"))._repr_html_()


def test_what_was_trained_in_words() -> None:
    assert Snapshot.of(example(mode="full")).trained == "full"
    assert Snapshot.of(example(mode="merged")).trained == "q, k, v"
    assert Snapshot.of(example(trained_terms=(), mode="head")).trained == "head"


def test_it_is_written_and_read_again(tmp_path: Path) -> None:
    snapshot = Snapshot.of(example(full=True))
    file = snapshot.save(tmp_path / "x.beft.safetensors")
    again = read_snapshot(file)
    assert again.meta == snapshot.meta
    assert all(np.array_equal(array, snapshot.tensors()[name]) for name, array in again.tensors().items())


def test_another_ending_is_refused_in_the_words_of_python(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^got path .*x\.bin; expected a file name that ends in \.beft\.safetensors"):
        Snapshot.of(example()).save(tmp_path / "x.bin")


@pytest.mark.parametrize("kind", ["heatmaps", "ranking", "bumps", "epochs", "path"])
def test_figures_are_drawn(kind: str) -> None:
    assert len(Snapshot.of(example(full=True, metrics=EPOCHS)).plot(kind).data) > 0


def test_figures_of_what_it_does_not_hold_are_refused() -> None:
    snapshot = Snapshot.of(example(metrics=()))
    with pytest.raises(UserError, match="without metrics after its epochs"):
        snapshot.plot("epochs")
    with pytest.raises(UserError, match=r"without a trajectory; expected one of train.trajectory_every=N"):
        snapshot.plot("path")
    with pytest.raises(UserError, match="one of heatmaps, ranking, bumps, epochs, path; try epochs"):
        snapshot.plot("epoch")


def test_a_snapshot_is_named_by_itself_or_by_its_path(tmp_path: Path) -> None:
    snapshot = Snapshot.of(example())
    file = snapshot.save(tmp_path / "x.beft.safetensors")
    assert snapshot_of(snapshot) is snapshot
    assert snapshot_of(file).meta == snapshot_of(str(file)).meta == snapshot.meta
    with pytest.raises(UserError, match="got a float for a snapshot"):
        snapshot_of(1.5)
