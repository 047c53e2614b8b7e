"""Merges scored on the bundled model: equal to one evaluation after the other, resumable, cancelled, in a worker."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_tools import few_validation_examples

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.execution.start import launch, resume
from beft_core.merging.config import MergeConfig
from beft_core.merging.evaluate import evaluate_merge
from beft_core.merging.merge import merge
from beft_core.merging.result import read_result
from beft_core.models import load as models
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.tasks.predictions import Predictions
from beft_core.training import inputs
from beft_core.training.evaluate import evaluate
from beft_core.training.observer import Observer
from beft_core.training.workflow import train

TASKS = ("demo-sentiment", "demo-similarity")
EXAMPLES = 12
LOAD_DATA = inputs.load_data


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few validation examples."""
    monkeypatch.setattr(inputs, "load_data", few_validation_examples(EXAMPLES))


@pytest.fixture(scope="module")
def pair() -> list[Snapshot]:
    """Two small fine-tunes of b_v."""
    return [
        train(RunConfig(task=task, n_train=16, epochs=1, device="cpu", evaluate="never", max_length=48))
        for task in TASKS
    ]


def config(pair: list[Snapshot], **changes: Any) -> MergeConfig:
    return MergeConfig.of(pair, ["first", "second"], **{"device": "cpu", "limit": 8, **changes})


class Told(Observer):
    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0
        self.words: list[str] = []
        self.predictions: list[Predictions] = []

    def predicted(self, predictions: Predictions, run: int = 0) -> None:
        self.predictions.append(predictions)

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append((name, total))
        self.done = 0

    def advance(self, n: int = 1) -> None:
        self.done += n

    def message(self, text: str) -> None:
        self.words.append(text)


def test_each_task_is_read_to_the_length_of_its_own_fine_tune(pair: list[Snapshot]) -> None:
    lengths = dict(zip(TASKS, (48, 5), strict=True))
    cut = pair[1].with_meta(
        dataclasses.replace(pair[1].meta, hyperparameters=pair[1].meta.hyperparameters | {"max_length": 5})
    )
    result = evaluate_merge([pair[0], cut], config(pair, limit=None)).result
    for task in TASKS:
        single = RunConfig(task=task, device="cpu", max_length=lengths[task])
        for name, biases in (("base model", "pre"), (task, "post")):
            source = pair[0] if task == TASKS[0] else cut
            assert result.rows[name][task] == evaluate(source, single, biases=biases)
    named = evaluate_merge([pair[0], cut], config(pair, limit=None, max_length=48)).result
    assert named.rows[TASKS[1]][TASKS[1]] != result.rows[TASKS[1]][TASKS[1]], "one that is named counts for all"


def test_a_fine_tune_that_records_no_length_is_read_as_alone(pair: list[Snapshot]) -> None:
    """Not to the length of the one beside it."""
    lengths: list[dict[str, Any]] = [{"max_length": 5}, {}]
    sources = []
    for one, length in zip(pair, lengths, strict=True):
        others = {name: value for name, value in one.meta.hyperparameters.items() if name != "max_length"}
        sources.append(one.with_meta(dataclasses.replace(one.meta, hyperparameters=others | length)))
    rows = evaluate_merge(sources, config(pair, limit=None)).result.rows
    assert rows[TASKS[1]][TASKS[1]] == evaluate(sources[1], RunConfig(task=TASKS[1], device="cpu"))


def test_the_table_is_what_single_evaluations_give(pair: list[Snapshot]) -> None:
    told = Told()
    result = evaluate_merge(pair, config(pair, limit=None), told).result
    merged = merge(pair, "mean")
    assert list(result.rows) == ["base model", *TASKS, "merged"] and result.left_out == {}
    for task in TASKS:
        single = RunConfig(task=task, device="cpu", max_length=48)
        sources = [
            Snapshot.build(
                merged.meta,
                {k: s.pre(*k) for k in s.keys()},  # noqa: SIM118
                {k: s.post(*k) for k in s.keys()},  # noqa: SIM118
                extra=dict(merged.extra),
            )
            for s in pair
        ]
        expected = [evaluate(merged, single, biases="pre"), *(evaluate(s, single) for s in sources)]
        expected.append(evaluate(merged, single))
        assert [row[task] for row in result.rows.values()] == expected
        assert result.tasks[task].examples == result.tasks[task].available == EXAMPLES
    assert [name for name, _ in told.stages] == [
        "load data",
        "load model",
        "tokenise demo-sentiment",
        "tokenise demo-similarity",
        "evaluate",
    ]
    assert told.stages[-1][1] == told.done == 4 * 2 * EXAMPLES and result.evaluations == 8
    assert told.words[-1].startswith("merged on demo-similarity: spearman ")
    assert {(one.model, one.task) for one in told.predictions} == {(row, task) for row in result.rows for task in TASKS}
    for one in told.predictions:
        if one.task == TASKS[0]:
            assert (one.predicted == one.labels).mean() == result.rows[one.model][one.task]["accuracy"]


def test_model_and_data_are_loaded_once_and_the_line_ends_in_the_sources(
    pair: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    real = models.load_model
    monkeypatch.setattr(models, "load_model", lambda name, **_: loads.append(name) or real(name))
    result = evaluate_merge(pair, config(pair, points=5)).result
    assert len(loads) == 1
    assert [x for x, _ in result.line] == [0, 0.25, 0.5, 0.75, 1] and result.position == 0.5
    scores = dict(result.line)
    assert scores[0] == result.rows[TASKS[1]] and scores[1] == result.rows[TASKS[0]]
    assert scores[0.5] == result.rows["merged"]
    assert result.evaluations == (4 + 2) * 2 and result.tasks[TASKS[0]].examples == 8


def test_an_interrupted_evaluation_goes_on_where_it_was(pair: list[Snapshot], tmp_path: Path) -> None:
    class Leaves(Told):
        def message(self, text: str) -> None:
            super().message(text)
            if len(self.words) == 3:
                raise KeyboardInterrupt

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        evaluate_merge(pair, config(pair), Leaves(), checkpoint)
    again = Told()
    result = evaluate_merge(pair, config(pair), again, checkpoint).result
    assert len(again.words) == 8 - 3 and again.done == 8 * 8
    assert result.rows == evaluate_merge(pair, config(pair)).result.rows
    other = Told()
    evaluate_merge(pair, config(pair, limit=4), other, checkpoint)  # of other work nothing is taken
    assert len(other.words) == 8
    checkpoint.write_bytes(b"junk")
    damaged = Told()
    evaluate_merge(pair, config(pair, limit=4), damaged, checkpoint)
    assert len(damaged.words) == 8


def retasked(snapshot: Snapshot, old: str, new: str) -> Snapshot:
    """The same fine-tune under another task's name."""
    extra = {name.replace(f"extra.{old}.", f"extra.{new}."): value for name, value in snapshot.extra.items()}
    meta = dataclasses.replace(snapshot.meta, task=new, heads={new: snapshot.meta.heads[old]})
    keys = snapshot.keys()
    return Snapshot.build(meta, {k: snapshot.pre(*k) for k in keys}, {k: snapshot.post(*k) for k in keys}, extra=extra)


def test_a_task_without_data_is_left_out_with_the_reason(
    pair: list[Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path / "nowhere"))
    lacking = [pair[0], retasked(pair[1], TASKS[1], "stsb")]
    told = Told()
    result = evaluate_merge(lacking, config(lacking), told).result
    assert list(result.tasks) == [TASKS[0]] and "which is no folder" in result.left_out["stsb"]
    assert told.words[0].startswith("left out stsb: got BEFT_GLUE_DIR")
    own = [retasked(pair[0], TASKS[0], "my table"), lacking[1]]
    with pytest.raises(UserError, match=r"no task that can be scored .*my table: a table of your own"):
        evaluate_merge(own, config(own))


def test_refusals(pair: list[Snapshot]) -> None:
    full = Snapshot.build(
        dataclasses.replace(pair[0].meta, mode="full"),
        {("encoder", "v"): np.zeros((6, 384))},
        {("encoder", "v"): np.zeros((6, 384))},
    )
    with pytest.raises(UserError, match="weights changed too"):
        evaluate_merge([full, pair[1]], config(pair))
    other = dataclasses.replace(pair[1].meta.model, id="another/model", fingerprint="0" * 64)
    keys = pair[1].keys()
    foreign = Snapshot.build(
        dataclasses.replace(pair[1].meta, model=other),
        {k: pair[1].pre(*k) for k in keys},
        {k: pair[1].post(*k) for k in keys},
    )
    with pytest.raises(UserError, match=r"different base models .*bundled and another/model"):
        evaluate_merge([pair[0], foreign], config(pair))


def wait(run: Run, *states: str) -> None:
    deadline = time.monotonic() + 120
    while run.status().state not in states:
        assert time.monotonic() < deadline, (run.status(), run.log_tail())
        time.sleep(0.1)


def test_a_worker_does_it_is_cancelled_and_resumed(
    pair: list[Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path))
    monkeypatch.setattr(inputs, "load_data", LOAD_DATA)  # the worker has it, too
    made = config(pair, limit=24)
    run = launch("merge", made, tmp_path, dict(zip(made.files, pair, strict=True)))
    wait_for_first_score(run)
    cancel(run)
    wait(run, "cancelled", "done")
    assert run.status().state == "cancelled" and "resumed" in (run.status().proposal or "")
    resume(run)
    wait(run, "done")
    assert read_result(run.result).rows == evaluate_merge(pair, made).result.rows
    merged = read_snapshot(run.snapshot)
    np.testing.assert_array_equal(merged.post("encoder", "v"), merge(pair).post("encoder", "v"))
    assert [source["file"] for source in merged.meta.provenance["sources"]] == ["first", "second"]


def wait_for_first_score(run: Run) -> None:
    deadline = time.monotonic() + 120
    while not run.checkpoint.exists():
        assert time.monotonic() < deadline and run.status().active, (run.status(), run.log_tail())
        time.sleep(0.005)


def test_the_plane_holds_the_parents_and_their_average(pair: list[Snapshot]) -> None:
    result = evaluate_merge(pair, config(pair, plane=7, limit=4)).result
    scores = {(alpha, beta): found for alpha, beta, found in result.plane}
    assert len(scores) == 49 and result.evaluations == 49 * 2
    rows = result.rows
    assert [scores[0, 0], scores[1, 0], scores[0, 1], scores[0.5, 0.5]] == list(rows.values())
    beyond = scores[1.25, -0.25]
    assert all(set(beyond[task]) == set(rows["merged"][task]) for task in TASKS)
