"""Merges from a notebook, scored beside their sources as the engine scores them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from beft_core import Snapshot, merge, train
from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig
from beft_core.merging.evaluate import evaluate_merge
from beft_core.merging.merge import merge as merged_by_engine

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tuned() -> list[Snapshot]:
    """Fine-tunes of one base model on two tasks."""
    tasks = ("demo-sentiment", "demo-similarity")
    return [train(task=task, n_train=16, epochs=1, evaluate="never", max_length=16) for task in tasks]


def test_base_sources_and_merge_are_scored_on_every_task(tuned: list[Snapshot]) -> None:
    merged = merge(tuned, method="ties", density=0.5, evaluate=True, n_eval=8)
    config = MergeConfig.of(tuned, ["", ""], method="ties", settings={"density": 0.5}, limit=8)
    expected = evaluate_merge(tuned, config).result
    assert merged.scored is not None and merged.scored.result.rows == expected.rows
    assert list(expected.rows) == ["base model", "demo-sentiment", "demo-similarity", "merged"]
    table = merged.scored.to_pandas()
    assert set(table["model"]) == set(expected.rows) and set(table["task"]) == {"demo-sentiment", "demo-similarity"}
    assert repr(merged).startswith("each task with its own head\n  model            demo-sentiment accuracy")
    assert f"{expected.rows['merged']['demo-sentiment']['accuracy']:.4f}" in repr(merged)
    assert np.array_equal(
        merged.post("encoder", "v"), merged_by_engine(tuned, "ties", density=0.5).post("encoder", "v")
    )


def test_fisher_information_that_is_missing_is_measured(tuned: list[Snapshot]) -> None:
    assert tuned[0].fisher("encoder", "v", "tuned") is None
    merged = merge(*tuned, method="fisher")
    plain = merge(*tuned)
    assert merged.meta.hyperparameters["method"] == "fisher" and merged.scored is None
    assert not np.array_equal(merged.post("encoder", "v"), plain.post("encoder", "v"))


def test_what_cannot_be_merged_is_told_before_anything_is_loaded(tuned: list[Snapshot], tmp_path: Path) -> None:
    file = tuned[0].save(tmp_path / "x.beft.safetensors")
    program = (
        "import sys\nfrom beft_core import UserError, merge\n"
        f"try:\n    merge({str(file)!r}, {str(file)!r}, terms='q', evaluate=True)\n"
        "except UserError as error:\n    print(error)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nFalse\n") and "q" in done.stdout
    for given, words in [
        ({"evaluate": "yes"}, "got evaluate = 'yes'"),
        ({"evaluate": True, "n_eval": 1}, "got limit = '1'|n_eval"),
    ]:
        with pytest.raises(UserError, match=words):
            merge(tuned, **given)  # type: ignore[arg-type]
