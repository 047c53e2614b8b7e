"""Same again with changes: the form of Fine-tune, opened by the link, stands for the configuration of the run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from dashboard_tools import opened, sound
from example_decoder import write_decoder, write_reviews
from fake_worker import small_snapshot

from beft_core.config import SETTINGS_OF_METHODS, RunConfig
from beft_core.runs.overview import overview
from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.scores.verdict import Verdict
from beft_core.snapshots.snapshot import write_snapshot
from beft_core.tasks.sources import table_preview
from dashboard.app_pages.fine_tune import setup
from dashboard.own_tables import form
from dashboard.run_watch import again

pytestmark = pytest.mark.usefixtures("lab")

CONFIGS = [
    ("select", RunConfig(trajectory_every=10)),
    ("select", RunConfig(task="rte", regime="medium", lr=3e-4, seed=7, preset="paper", precision="bfloat16")),
    (
        "train",
        RunConfig(
            task="demo-similarity",
            terms=("q", "v"),
            n_train=77,
            layers=(0, 2, 5),
            epochs=3,
            schedule="constant",
            adam_epsilon=1e-6,
            adam_epsilon_at="before",
            dropout=False,
            max_length=64,
            batch_size=8,
            n_eval=50,
            fisher=True,
            plain=True,
        ),
    ),
    ("train", RunConfig(mode="head", regime="all")),
    ("train", RunConfig(mode="lora", targets=("k", "o"), rank=4, alpha=0.5, regime="all", layers=(1,))),
    ("train", RunConfig(mode="prefix", virtual_tokens=7, regime="all", lr=5e-3)),
]
PROMPTED = RunConfig(
    task="prompt-sst2",
    terms=("q", "v"),
    add_bias=("q", "v"),
    n_train=40,
    demonstrations=3,
    max_length=100,
    gradient_checkpointing=True,
)
PROMPTS = [
    ("train", PROMPTED),
    ("train", dataclasses.replace(PROMPTED, mode="none", add_bias=("v",), terms=("v",))),
    ("train", dataclasses.replace(PROMPTED, preset="paper", batch_size=16)),
    ("select", dataclasses.replace(PROMPTED, add_bias=("v", "k"), demonstrations=0)),
]


@pytest.mark.parametrize(("kind", "config"), CONFIGS)
def test_the_form_stands_for_the_run(kind: str, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[setup.Setup] = []
    original = setup.current
    monkeypatch.setattr(setup, "current", lambda: seen.append(original()) or seen[-1])
    opened("fine_tune", **again.parameters(kind, config))
    last = seen[-1]
    assert last.problem is None and last.config is not None, last.problem
    assert last.kind == kind
    played = {"trajectory_every": config.trajectory_every and last.config.trajectory_every}
    left_to_the_task = {"regime": config.regime or last.config.regime} if config.n_train is None else {}
    expected = dataclasses.replace(config, **played, **left_to_the_task)
    if kind == "select":
        expected = dataclasses.replace(expected, terms=last.config.terms)
    assert dataclasses.replace(last.config, **played) == expected


@pytest.mark.parametrize(("kind", "config"), PROMPTS)
def test_the_form_stands_for_a_prompted_run(
    kind: str, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(write_decoder(tmp_path / "tiny"))
    test_the_form_stands_for_the_run(kind, dataclasses.replace(config, model=folder), monkeypatch)


def test_the_form_stands_for_a_prompt_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_reviews(tmp_path / "reviews.jsonl").read_bytes()
    kept = table_preview.store("reviews.jsonl", data, form.folder())
    own = RunConfig(
        model=str(write_decoder(tmp_path / "tiny")),
        add_bias=("v",),
        train_file=str(kept),
        table_sha256=hashlib.sha256(data).hexdigest(),
        prompt="{review}\nIt was",
        candidates=("neg=terrible", "pos=great"),
        label="verdict",
        name="reviews",
        max_length=64,
    )
    for config in (own, dataclasses.replace(own, candidates=None, label="why")):
        test_the_form_stands_for_the_run("train", config, monkeypatch)


def test_what_the_form_cannot_hold_is_said() -> None:
    """Every field has a control, is set by one, or is named beside the link where it differs."""
    assert again.left_out(RunConfig(weight_decay=0.1, rewrite_scale=10.0)) == {
        "weight_decay": 0.1,
        "rewrite_scale": 10.0,
    }
    assert again.left_out(CONFIGS[2][1]) == {}
    assert again.left_out(PROMPTED) == {}
    assert again.left_out(dataclasses.replace(PROMPTED, add_bias=("q", "k", "v"))) == {"add_bias": ("k",)}
    derived = {"task", "name", "train_file", "text", "text_pair", "label", "problem", "mode", "terms", "layers"}
    derived |= {"regime", "n_train", "fisher", "trajectory_every", "add_bias"}
    derived |= {"prompt", "candidates", "candidates_column", "targets", *SETTINGS_OF_METHODS}
    by_the_form = {"table_sha256", "evaluate", "record_wall_seconds"}
    known = {*again._SAME, *again._OF_PRESET, *again._NO_CONTROL, *derived, *by_the_form}
    assert {field.name for field in dataclasses.fields(RunConfig)} == known


def test_prompted_tasks_are_known_by_task_or_prompt() -> None:
    own = RunConfig(train_file="a.csv", label="y", prompt="{q}", candidates=("a", "b"))
    for config in (RunConfig(task="prompt-sst2"), own):
        assert again.is_prompted(config)
    assert not any(again.is_prompted(config) for _, config in CONFIGS)


def finished(kind: str = "select", **fields: Any) -> Run:
    run = Run.create(kind, RunConfig(task="demo-sentiment", n_train=300, **fields).to_dict())
    write_snapshot(run.snapshot, small_snapshot(1))
    run.write_status(Status("done", created=1.0, began=2.0, ended=3.0))
    return run


def test_a_probe_can_be_checked_and_the_verdict_is_told(lab: Path) -> None:
    """The button on the finished card starts a check with a copy of the probe; its result is the verdict."""
    probe = finished()
    at = opened("fine_tune", run=probe.id)
    (button,) = [one for one in at.button if one.label == "Was the score right?"]
    sound(button.click().run())
    (check,) = [run for run in list_runs() if run.config()[0] == "check"]
    assert (check.path / "probe.beft.safetensors").is_file() and check.config()[1]["n_train"] == 300
    assert at.query_params["run"] == check.id or at.query_params["run"] == [check.id]

    done = Run.create("check", RunConfig().to_dict())
    verdict = Verdict("accuracy", {"q": 0.7, "k": 0.6, "v": 0.8}, {"projection_ratio": "q"}, ("k",), 0, 100)
    done.result.write_text(json.dumps({"verdict": verdict.to_dict()}))
    done.write_status(Status("done", created=1.0, began=2.0, ended=3.0))
    at = opened("fine_tune", run=done.id)
    (said,) = [m.value for m in at.markdown if m.value.startswith("#### ")]
    assert "The score was wrong here: it selects $b_q$, and $b_v$ is better by 0.1000 in accuracy" in said
    assert not [one for one in at.button if one.label in ("Was the score right?", "Show it")]
    assert overview(done).summary.startswith("the score was wrong here")


def test_an_adapter_that_is_done_leads_to_where_it_can_be_asked() -> None:
    at = opened("fine_tune", run=finished("train", mode="lora", terms=()).id)
    assert "Try it" in [one.proto.label for one in at.get("page_link")]
    assert not [one for one in at.button if one.label == "Show it"]
    at = opened("fine_tune", run=finished("train").id)
    assert "Try it" not in [one.proto.label for one in at.get("page_link")]


def test_the_page_runs_offers_both() -> None:
    probe = finished()
    at = opened("runs", runs=overview(probe).label)
    assert "Was the score right?" in [one.label for one in at.button]
    links = [one.proto.label for one in at.get("page_link")]
    assert "Same again with changes" in links
    assert "Was the score right?" not in [
        one.label for one in opened("runs", runs=overview(finished("train")).label).button
    ]
