"""Merges from a notebook, scored beside their sources as the engine scores them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from beft_core import Snapshot, evaluate, merge, train
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


STARS = pd.DataFrame({"film": [f"film {n} was what it was" for n in range(20)], "stars": ["few", "many"] * 10})
PRICES = pd.DataFrame({"thing": [f"{n} of them" for n in range(20)], "price": [n + 0.5 for n in range(20)]})


@pytest.fixture(scope="module")
def on_tables() -> list[Snapshot]:
    """Fine-tunes on tables in memory: a classification and a regression."""
    brief: dict[str, Any] = {"epochs": 1, "evaluate": "never", "max_length": 16}
    return [
        train(data=STARS, text="film", label="stars", name="films", **brief),
        train(data=PRICES, text="thing", label="price", name="prices", **brief),
    ]


def test_heads_of_own_tables_are_scored_on_the_rows_that_are_named(on_tables: list[Snapshot], tmp_path: Path) -> None:
    PRICES.to_csv(tmp_path / "held.csv", index=False)
    tables = {"films": STARS.iloc[4:10], "prices": tmp_path / "held.csv"}
    merged = merge(on_tables, evaluate=True, data=tables, device="cpu")
    assert merged.scored is not None
    rows = merged.scored.result.rows
    assert list(rows) == ["base model", "films", "prices", "merged"]
    for one, task in zip(on_tables, ("films", "prices"), strict=True):  # as evaluate scores them
        alone = evaluate(one, data=tables[task])
        assert rows[task][task] == pytest.approx(dict(alone), abs=1e-5)
    about = merged.scored.result.tasks
    assert (about["films"].examples, about["prices"].examples) == (6, 20)
    assert about["prices"].data == "held.csv"
    only = merge(on_tables, evaluate=True, data={"films": STARS.to_dict("records")}, n_eval=4)
    assert only.scored is not None and list(only.scored.result.rows["merged"]) == ["films"]
    assert "left out prices: " in repr(only) and "data={'prices': table}" in repr(only)


def test_what_names_no_rows_is_told(on_tables: list[Snapshot], tuned: list[Snapshot], tmp_path: Path) -> None:
    wrong = STARS.assign(stars="none")
    for given, words in [
        ({"data": {"films": STARS}}, "got data for a merge that is not scored; expected both; try evaluate=True"),
        ({"data": STARS, "evaluate": True}, "got a DataFrame as data; expected a dict of tables; try data={'films'"),
        ({"data": {"sst2": STARS}, "evaluate": True}, "got data for 'sst2'; expected films, prices"),
        ({"data": {"films": None}, "evaluate": True}, "got None as the data of films"),
        ({"data": {"films": tmp_path / "no.csv"}, "evaluate": True}, "no.csv, which does not exist"),
        ({"data": {"films": wrong}, "evaluate": True}, "row 0: got the label 'none'; expected one of the labels that"),
        ({"data": {"films": PRICES}, "evaluate": True}, "got no column 'film'"),
        ({"evaluate": True}, "got no task that can be scored .films: .*data={'films': table}"),
        ({"evaluate": True, "device": "tpu"}, "device"),
    ]:
        with pytest.raises(UserError, match=words):
            merge(on_tables, **given)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no head: none of the snapshots was trained on a table of your own"):
        merge(tuned, evaluate=True, data={"films": STARS})


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
