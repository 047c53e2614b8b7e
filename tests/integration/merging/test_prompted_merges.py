"""A merge of two fine-tunes of a language model: one chooses candidates, the other writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from example_decoder import asked_fine_tune, write_decoder

from beft_core.config import RunConfig
from beft_core.merging.config import MergeConfig
from beft_core.merging.evaluate import evaluate_merge
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.own_prompts import PromptTable, own_prompt_of, scored_prompts
from beft_core.tasks.predictions import Predictions
from beft_core.training import inputs
from beft_core.training.evaluate import evaluate
from beft_core.training.observer import Observer

WORDS = ("bad", "good")
CELLS = [("a long film", "good"), ("a dull film", "bad"), ("a fine film", "good")]


class Told(Observer):
    def __init__(self) -> None:
        self.tasks: list[str] = []

    def predicted(self, predictions: Predictions, run: int = 0) -> None:
        self.tasks.append(predictions.task)


def test_every_row_is_a_single_evaluation(tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / "tiny")
    run = RunConfig(model=str(folder), add_bias=("v",), max_length=128, device="cpu")
    model = inputs.load(run)
    info = dataclasses.replace(model.info, folder=str(folder))
    pair = []
    for task, words in (("chooses", WORDS), ("writes", ())):
        made = asked_fine_tune(model, seed=len(task), candidates=words, task=task, size=0.5)
        settings = made.meta.hyperparameters | {"max_length": 128}
        pair.append(made.with_meta(dataclasses.replace(made.meta, model=info, hyperparameters=settings)))
    rows = {}
    for one in pair:
        own = own_prompt_of(one.meta.heads[one.meta.task])
        assert own is not None
        rows[one.meta.task] = scored_prompts(own, PromptTable("made up", enumerate(CELLS, 1)), one.meta.task)
    told = Told()
    found = evaluate_merge(pair, MergeConfig.of(pair, ["a", "b"], device="cpu"), told, rows=rows)
    assert set(found.result.tasks) == {"chooses", "writes"} and set(told.tasks) == {"chooses"}
    pre, first, second = (
        array.astype("float64") for array in (pair[0].pre("decoder", "v"), *(one.post("decoder", "v") for one in pair))
    )
    merged = Snapshot.build(
        found.merged.meta,
        {("decoder", "v"): pre.astype("float32")},
        {("decoder", "v"): ((first + second) / 2).astype("float32")},
    )
    for task, data in rows.items():
        alone = evaluate(merged, run, data=data)
        for metric, value in found.result.rows["merged"][task].items():
            assert value == pytest.approx(alone[metric], abs=1e-6)
