"""WiC with and without its word: what a preset feeds, what a snapshot remembers of it, what an evaluation repeats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from example_snapshots import example

from beft_core.config import RunConfig
from beft_core.merging.config import MergeConfig
from beft_core.merging.evaluate import evaluate_merge
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.load import load_task
from beft_core.training import inputs, workflow
from beft_core.training.evaluate import evaluate
from beft_core.training.preconditions import inputs_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SuperGLUE in its official layout, with a WiC in which the word alone tells the label."""
    wic = tmp_path_factory.mktemp("superglue") / "WiC"
    wic.mkdir()
    for name, count in (("train", 32), ("val", 12)):
        rows = [
            {
                "word": "same" if n % 2 else "other",
                "sentence1": f"One of {n}.",
                "sentence2": f"{n} of them.",
                "label": bool(n % 2),
            }
            for n in range(count)
        ]
        (wic / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return wic.parent


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The first validation text of every task that is loaded."""
    texts: list[str] = []
    load = inputs.load_data

    def note(config: RunConfig) -> TaskData:
        data = load(config)
        texts.append(data.evals["validation"].text[0])
        return data

    monkeypatch.setattr(inputs, "load_data", note)
    yield texts


def fine_tune(folder: Path, preset: str, seed: int = 0) -> Snapshot:
    return workflow.train(
        RunConfig(
            task="wic",
            preset=preset,
            data_dir=str(folder),
            n_train=16,
            epochs=1,
            seed=seed,
            device="cpu",
            evaluate="last",
        )
    )


def test_the_authors_feed_the_sentences_alone(folder: Path) -> None:
    ours, theirs = (load_task("wic", folder=folder, inputs=name).train for name in ("lab", "paper"))
    assert (ours.text[0], theirs.text[0]) == ("other: One of 0.", "One of 0.")
    assert ours.text_pair == theirs.text_pair and ours.labels.tolist() == theirs.labels.tolist()


@pytest.mark.parametrize(("preset", "text"), [("paper", "One of 0."), ("quick", "other: One of 0.")])
def test_an_evaluation_feeds_what_the_head_was_trained_on(preset: str, text: str, folder: Path, fed: list[str]) -> None:
    snapshot = fine_tune(folder, preset)
    found = evaluate(snapshot, RunConfig(task="wic", data_dir=str(folder), device="cpu"))
    assert fed == [text, text]
    assert found["accuracy"] == pytest.approx(snapshot.meta.metrics[-1]["accuracy"], abs=1e-9)
    named = "lab" if preset == "quick" else "paper"
    assert snapshot.meta.hyperparameters["inputs"] == snapshot.meta.heads["wic"]["inputs"] == named


def test_a_merge_feeds_what_each_head_was_trained_on(folder: Path, fed: list[str]) -> None:
    pair = [fine_tune(folder, "paper", seed) for seed in (0, 1)]
    fed.clear()
    config = MergeConfig.of(pair, ["a", "b"], data_dir=str(folder), device="cpu")
    evaluate_merge(pair, config)
    assert fed == ["One of 0."]


@pytest.mark.parametrize("said", [{}, {"inputs": "paper!"}, {"inputs": ["paper"]}])
def test_a_head_that_says_nothing_was_trained_with_the_word(said: dict[str, object]) -> None:
    silent = example()
    silent.meta = replace(silent.meta, heads={"wic": {"kind": "classification", "labels": ["false", "true"], **said}})
    assert inputs_of(silent, "wic") == inputs_of(silent, "another task") == "lab"
