"""Dials of the bundled model: equal to single evaluations and to transformers by hand, and done by a worker."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_tools import few_validation_examples
from transformers import BertForSequenceClassification

from beft_core.config import RunConfig
from beft_core.dials.config import SOURCE, DialConfig
from beft_core.dials.measure import measure
from beft_core.dials.parts import ALL, Part
from beft_core.dials.result import Dial, read_dial
from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.execution.start import launch, resume
from beft_core.models.biases import biases, write_biases
from beft_core.models.load import load_model
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.tasks.load import load_task
from beft_core.tasks.metrics import METRICS
from beft_core.training import inputs
from beft_core.training.evaluate import evaluate
from beft_core.training.observer import Observer

EXAMPLES, TOKENS = 16, 16
LAMBDAS = (-1.0, 0.0, 1.0, 2.0)
CLASSES = {"kind": "classification", "labels": ["negative", "positive"]}
NUMBER = {"kind": "regression", "labels": None}
TASKS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "demo-sentiment": ("accuracy", 2, CLASSES),
    "demo-similarity": ("spearman", 1, NUMBER),
}
LOAD_DATA = inputs.load_data


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few validation examples."""
    monkeypatch.setattr(inputs, "load_data", few_validation_examples(EXAMPLES))


def moved(task: str, terms: tuple[str, ...], size: float = 0.4) -> Snapshot:
    """A fine-tune of the bundled model that nobody trained: some change and some head."""
    model = load_model("bundled")
    rng = np.random.default_rng(len(terms))
    pre = {key: value for key, value in biases(model).items() if key[1] in terms}
    post = {key: value + size * rng.standard_normal(value.shape).astype(np.float32) for key, value in pre.items()}
    metric, outputs, head = TASKS[task]
    meta = SnapshotMeta(
        model=model.info,
        task=task,
        trained_terms=terms,
        metric=metric,
        hyperparameters={"max_length": TOKENS},
        heads={task: head},
    )
    extra = {
        f"extra.{task}.head.weight": rng.standard_normal((outputs, 384)) / 10,
        f"extra.{task}.head.bias": np.zeros(outputs),
        f"extra.{task}.pooler.bias": rng.standard_normal(384) / 10,
    }
    return Snapshot.build(meta, pre, post, extra=extra)


@pytest.fixture(scope="module")
def sentiment() -> Snapshot:
    return moved("demo-sentiment", ("v",))


def config(snapshot: Snapshot, **changes: Any) -> DialConfig:
    return DialConfig.of(snapshot, snapshot.meta.task, **{"device": "cpu", "lambdas": LAMBDAS, **changes})


def changed(snapshot: Snapshot, part: Part, factor: float) -> Snapshot:
    """The fine-tune with another end, written out."""
    before = {key: snapshot.pre(*key) for key in snapshot.keys()}  # noqa: SIM118
    after = {key: snapshot.post(*key).copy() for key in before}
    rows = slice(None) if part.layer is None else part.layer
    for key, pre in before.items():
        if part.term in (None, key[1]):
            after[key][rows] = pre[rows] + factor * (after[key][rows] - pre[rows])
    return Snapshot.build(snapshot.meta, before, after, extra=dict(snapshot.extra))


def alone(snapshot: Snapshot, biases: str = "post") -> float:
    """One evaluation of a snapshot."""
    task = snapshot.meta.task
    return evaluate(snapshot, RunConfig(task=task, device="cpu", max_length=TOKENS), biases=biases)[TASKS[task][0]]


def value(dial: Dial, part: Part, factor: float) -> float | None:
    curve = dial.curve(part)
    assert curve is not None
    return curve.values[dial.lambdas.index(factor)]


@pytest.mark.parametrize("task", TASKS)
def test_every_point_is_one_evaluation(task: str) -> None:
    snapshot = moved(task, ("v",))
    dial = measure(snapshot, config(snapshot))
    assert dial.trained == pytest.approx(alone(snapshot), abs=1e-5) and value(dial, ALL, 1.0) == dial.trained
    assert value(dial, ALL, 0.0) == pytest.approx(alone(snapshot, "pre"), abs=1e-5)
    for part, factor in [(ALL, 2.0), (Part(layer=3), 0.0), (Part(layer=5), -1.0), (Part(layer=0), 2.0)]:
        assert value(dial, part, factor) == pytest.approx(alone(changed(snapshot, part, factor)), abs=1e-5)
    assert [one.part for one in dial.off] == [Part(layer=layer) for layer in range(6)]
    off = dial.off[3]
    assert off.value == value(dial, Part(layer=3), 0.0) and off.loss == pytest.approx(dial.trained - (off.value or 0))
    assert len({value(dial, ALL, factor) for factor in LAMBDAS}) > 1
    assert (dial.variants, dial.examples, dial.metric) == (1 + 7 * 3, EXAMPLES, TASKS[task][0])


def test_of_several_terms_each_is_turned_and_each_cell_switched_off() -> None:
    snapshot = moved("demo-similarity", ("q", "v"))
    dial = measure(snapshot, config(snapshot, lambdas=(0.0, 1.0)))
    assert [curve.part for curve in dial.curves][-2:] == [Part("q"), Part("v")]
    for part in (Part("q"), Part("v"), Part("v", 4)):
        (off,) = (one for one in dial.off if one.part == part)
        assert off.value == pytest.approx(alone(changed(snapshot, part, 0.0)), abs=1e-5)
    assert len(dial.off_parts("cells")) == 12 and {test.over for test in dial.tests} == {"cells"}


def test_by_hand_with_transformers(sentiment: Snapshot) -> None:
    data = load_task("demo-sentiment").evals["validation"].take(range(EXAMPLES))
    base = load_model("bundled")
    peer: Any = BertForSequenceClassification(base.config).float().eval()
    dial = measure(sentiment, config(sentiment, lambdas=(0.0, 1.0)))
    tokenizer: Any = base.tokenizer
    rows = tokenizer(data.text, truncation=True, max_length=TOKENS, padding=True, return_tensors="pt")
    head = {name.split(".", 2)[2]: torch.tensor(array) for name, array in sentiment.extra.items()}
    for part, factor in [(ALL, 1.0), (ALL, 0.0), (Part(layer=2), 0.0)]:
        write_biases(base, {("encoder", "v"): changed(sentiment, part, factor).post("encoder", "v")})
        peer.bert.load_state_dict(base.backbone.state_dict())
        with torch.no_grad():
            peer.bert.pooler.dense.bias.copy_(head["pooler.bias"])
            peer.classifier.weight.copy_(head["head.weight"])
            peer.classifier.bias.copy_(head["head.bias"])
            said = peer(**rows).logits.argmax(1).numpy()
        assert value(dial, part, factor) == pytest.approx(METRICS["accuracy"](said, data.labels), abs=1e-5)


def test_intervals_are_of_differences_and_begin_where_nothing_differs(sentiment: Snapshot) -> None:
    made = config(sentiment, lambdas=(0.0, 1.0))
    dial = measure(sentiment, made)
    whole = dial.curves[0]
    assert whole.low[1] == whole.high[1] == 0
    found, low, high = whole.values[0], whole.low[0], whole.high[0]
    assert found is not None and low is not None and high is not None and low <= found - dial.trained <= high
    assert dial.trained_low is not None and dial.trained_low < dial.trained
    again = measure(sentiment, made)
    assert dataclasses.replace(again, seconds=dial.seconds) == dial


def test_what_did_not_move_is_one_set_of_biases() -> None:
    still = moved("demo-sentiment", ("v",), size=0.0)
    dial = measure(still, config(still))
    assert dial.variants == 1 and dial.off == dial.tests == () and set(dial.curves[0].values) == {dial.trained}


class Told(Observer):
    """Remembers the stages, and how much of the evaluation is done."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append((name, total))

    def advance(self, n: int = 1) -> None:
        self.done += n * (self.stages[-1][0] == "evaluate")


def test_examples_are_limited_and_progress_is_told(sentiment: Snapshot) -> None:
    told = Told()
    dial = measure(sentiment, config(sentiment, limit=8, lambdas=(0.0, 1.0)), told)
    assert (dial.examples, dial.available) == (8, EXAMPLES)
    assert [name for name, _ in told.stages] == ["load data", "load model", "tokenise", "evaluate", "intervals"]
    assert told.stages[3][1] == told.done == 8 * 8


def test_refusals(sentiment: Snapshot) -> None:
    with pytest.raises(UserError, match="without a head for demo-entailment"):
        measure(sentiment, DialConfig(task="demo-entailment"))
    meta = dataclasses.replace(sentiment.meta, model=dataclasses.replace(sentiment.meta.model, fingerprint="0" * 64))
    pre, post = sentiment.pre("encoder", "v"), sentiment.post("encoder", "v")
    other = Snapshot.build(meta, {("encoder", "v"): pre}, {("encoder", "v"): post}, extra=dict(sentiment.extra))
    with pytest.raises(UserError, match="biases differ from those the snapshot started from"):
        measure(other, config(other))


def wait(run: Run, *states: str) -> None:
    deadline = time.monotonic() + 120
    while run.status().state not in states:
        assert time.monotonic() < deadline, (run.status(), run.log_tail())
        time.sleep(0.1)


def test_a_worker_does_it_is_cancelled_and_starts_again(
    sentiment: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path))
    monkeypatch.setattr(inputs, "load_data", LOAD_DATA)  # the worker has it, too
    made = config(sentiment, limit=24, lambdas=(0.0, 1.0))
    run = launch("dial", made, tmp_path, {SOURCE: sentiment})
    cancel(run)
    wait(run, "cancelled")
    resume(run)
    wait(run, "done")
    here = measure(sentiment, made)
    found = read_dial(run.result)
    assert dataclasses.replace(found, seconds=here.seconds) == here and not run.snapshot.exists()
