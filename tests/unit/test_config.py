"""Run configurations: presets fill what was left open, JSON goes both ways, mistakes are told in one line."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from beft_core.config import BOUNDS, RunConfig
from beft_core.errors import UserError
from beft_core.methods import METHODS
from beft_core.models.source import locate
from beft_core.presets import PRESETS
from beft_core.sweeps.spec import SweepSpec
from beft_core.tasks.registry import TASKS
from beft_core.training.estimate.count import layout_of


def test_joined_terms_are_trained_together() -> None:
    assert RunConfig(terms=("q+v", "o")).terms == ("q", "v", "o")
    with pytest.raises(UserError, match="each term once"):
        RunConfig(terms=("q+v", "v"))


def test_the_paper_preset_is_the_authors_table() -> None:
    run = RunConfig(task="rte", regime="medium", preset="paper").resolved()
    assert (run.lr, run.epochs, run.n_train, run.schedule, run.batch_size) == (1e-3, 30, 900, "constant", 16)
    assert RunConfig(task="rte", mode="full", preset="paper").resolved().lr == 1e-5
    assert RunConfig(task="sst2", preset="paper").resolved().n_train is None
    every, one = (RunConfig(task="rte", mode=mode, preset="paper").resolved() for mode in ("all", "terms"))
    assert every.lr == one.lr == 1e-3  # the authors train all biases at the rate of one


def test_the_paper_preset_has_the_authors_optimizer_and_sample() -> None:
    authors, ours = RunConfig(task="rte", preset="paper").resolved(), RunConfig(task="rte").resolved()
    assert (authors.adam_epsilon, authors.adam_epsilon_at, authors.sampler) == (1e-6, "before", "randomstate")
    assert (ours.adam_epsilon, ours.adam_epsilon_at, ours.sampler) == (1e-8, "after", "generator")
    given = RunConfig(task="rte", preset="paper", adam_epsilon=1e-7, adam_epsilon_at="after", sampler="generator")
    filled = given.resolved()
    assert (filled.adam_epsilon, filled.adam_epsilon_at, filled.sampler) == (1e-7, "after", "generator")


def test_a_seed_that_the_authors_sampler_cannot_take_is_told_before_any_work() -> None:
    RunConfig(task="rte", preset="paper", regime="low", seed=2**32 - 1).resolved()
    with pytest.raises(UserError, match="--sampler generator"):
        RunConfig(task="rte", preset="paper", regime="low", seed=2**32).resolved()
    RunConfig(task="rte", regime="low", seed=2**32).resolved()


def test_inputs_differ_for_wic_alone() -> None:
    assert RunConfig(task="wic", preset="paper").resolved().inputs == "paper"
    assert RunConfig(task="wic").resolved().inputs == "lab"
    assert RunConfig(task="rte", preset="paper", inputs="paper").resolved().inputs == "lab"


def model(folder: Path, model_type: str, layers: int, width: int) -> str:
    """A folder that looks like a model; its weights are not read."""
    folder.mkdir()
    config = {
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": 4,
        "intermediate_size": 4 * width,
    }
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("model.safetensors", "vocab.txt"):
        (folder / name).touch()
    return str(folder)


@pytest.mark.parametrize(
    ("model_type", "layers", "width", "epochs"),
    [
        ("bert", 12, 768, {"rte": 30, "sst2": 16, "wic": 16, "cb": 60, "cola": 16}),
        ("bert", 6, 384, {"rte": 30, "sst2": 16, "wic": 16, "cb": 60, "cola": 16}),
        ("bert", 24, 1024, {"rte": 30, "sst2": 30, "wic": 30, "cb": 60, "cola": 16}),
        ("roberta", 12, 768, {"rte": 30, "sst2": 30, "wic": 30, "cb": 60, "cola": 16}),
        ("roberta", 24, 1024, {"rte": 30, "sst2": 30, "wic": 30, "cb": 60, "cola": 16}),
    ],
)
def test_the_paper_preset_knows_the_model(
    model_type: str, layers: int, width: int, epochs: dict[str, int], tmp_path: Path
) -> None:
    name = model(tmp_path / "model", model_type, layers, width)
    found = {task: RunConfig(task=task, model=name, preset="paper").resolved().epochs for task in epochs}
    assert found == epochs
    assert RunConfig(task="sst2", model=name, preset="paper", epochs=2).resolved().epochs == 2
    assert RunConfig(task="sst2", model=name).resolved().epochs == 6
    sweep = SweepSpec(tasks=("sst2", "cb"), terms=("v",), settings={"model": name, "preset": "paper"})
    assert [run.epochs for run in sweep.runs()] == [epochs["sst2"], 60]


def test_epochs_stay_open_while_the_model_is_not_here(tmp_path: Path) -> None:
    run = RunConfig(task="sst2", model="org/somewhere-else", preset="paper").resolved()
    assert run.epochs is None and run.lr == 4e-4
    large = locate(model(tmp_path / "model", "bert", 24, 1024)).layout
    assert run.resolved(large).epochs == 30 and run.resolved(layout_of("bundled")).epochs == 16
    assert RunConfig(task="rte", model="org/somewhere-else", preset="paper").resolved().epochs == 30


def test_the_quick_preset_takes_the_low_regime_unless_told() -> None:
    assert RunConfig(task="sst2").resolved().n_train == 1000
    assert RunConfig(task="sst2").resolved().regime == "low"
    assert RunConfig(task="sst2", regime="all").resolved().n_train is None
    assert RunConfig(task="sst2", n_train=50).resolved().n_train == 50
    one, every = RunConfig(task="sst2").resolved(), RunConfig(task="sst2", mode="all").resolved()
    assert one.lr is not None and every.lr == pytest.approx(0.2 * one.lr)


def test_what_is_given_wins_over_the_preset_and_resolving_twice_changes_nothing() -> None:
    run = RunConfig(task="cola", lr=3e-4, epochs=2, schedule="constant", n_train=9).resolved()
    assert (run.lr, run.epochs, run.schedule, run.n_train) == (3e-4, 2, "constant", 9)
    assert run.resolved() == run


def test_json_round_trip() -> None:
    run = RunConfig(terms=("v", "q"), layers=(1, 2), add_bias=("o",), lr=1)
    assert RunConfig.from_dict(run.to_dict()) == run


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "epochs"),
        ({"epochs": "3"}, "epochs"),
        ({"lr": True}, "lr"),
        ({"terms": ["v", 1]}, "terms"),
        ({"terms": ["w"]}, "--terms w"),
        ({"terms": ["v", "v"]}, "each term once"),
        ({"mode": "terms", "terms": []}, "no bias terms"),
        ({"lr": -1.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"adam_epsilon": 0.0}, "--adam-epsilon"),
        ({"adam_epsilon": 2.0}, "--adam-epsilon"),
        ({"adam_epsilon": float("nan")}, "--adam-epsilon"),
        ({"adam_epsilon_at": "befor"}, "before"),
        ({"sampler": "mt19937"}, "--sampler"),
        ({"inputs": "word"}, "--inputs"),
        ({"n_train": 1}, "--n-train"),
        ({"batch_size": 0}, "--batch-size"),
        *(
            ({name: most + 1}, rf"--{name.replace('_', '-')} {most + 1}; expected at most")
            for name, (_, most) in BOUNDS.items()
        ),
        ({"seed": 2**64 - 1}, "at most"),  # trained to the end once, and then no snapshot could record it
        ({"seed": 10**20}, "at most"),
        ({"lr": 10**400}, "--lr"),
        ({"weight_decay": float("nan")}, "--weight-decay"),
        ({"clip": float("inf")}, "--clip"),
        ({"layers": [10**9]}, "--layers"),
        ({"layers": [-1]}, "--layers"),
        ({"pad": "long"}, "longest"),
        ({"train_file": "a.csv"}, "--text"),
        ({"eval_file": "a.csv"}, "--train-file"),
    ],
)
def test_mistakes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig.from_dict(values)


def test_types_are_said_in_words() -> None:
    for values, words in (
        ({"task": 3}, "expected a text"),
        ({"lr": "fast"}, "expected a number, or none"),
        ({"layers": "3"}, "expected a list of whole numbers, or none"),
        ({"fisher": 1}, "expected true or false"),
    ):
        with pytest.raises(UserError, match=words) as error:
            RunConfig.from_dict(values)
        assert "class" not in str(error.value) and "|" not in str(error.value)


def test_rates_of_presets_are_usual_and_those_of_another_method_are_not() -> None:
    for task, preset, mode in itertools.product(TASKS, PRESETS, METHODS):
        assert RunConfig(task=task, preset=preset, mode=mode).resolved().doubts() == (), (task, preset, mode)
    (low,) = RunConfig(task="sst2", lr=2e-5).doubts()
    assert low == (
        "a learning rate of 2e-05 is one for full fine-tuning; for single bias terms at least 0.0001 is usual "
        "(presets: 0.0004 paper, 0.01 quick)"
    )
    (high,) = RunConfig(task="sst2", mode="full", lr=5e-3).doubts()
    assert "for every weight at most 0.0001 is usual (presets: 1e-05 paper, 5e-05 quick)" in high


def test_a_regime_that_the_paper_does_not_have() -> None:
    with pytest.raises(UserError, match="one of: low"):
        RunConfig(task="cb", regime="high").resolved()
    with pytest.raises(UserError, match="--n-train"):
        RunConfig(train_file="a.csv", text="t", label="l", regime="low").resolved()


def test_a_probe_trains_every_bias_after_its_fisher_information() -> None:
    probe = RunConfig(task="rte", mode="terms", terms=("q",), evaluate="never", seed=3).probe()
    assert (probe.mode, probe.fisher, probe.evaluate) == ("all", True, "never")
    assert (probe.task, probe.seed) == ("rte", 3)


def test_the_key_of_what_is_shared_tells_the_same_runs_apart() -> None:
    """Also of runs that were read from JSON, whose lists have no hash."""
    varied: tuple[dict[str, Any], ...] = (
        {},
        {"lr": 1e-2, "seed": 3, "terms": ("q",), "epochs": 2},
        {"task": "demo-topics"},
        {"batch_size": 8},
        {"add_bias": ("v",)},
        {"mode": "full"},
        {"mode": "lora"},
        {"mode": "lora", "layers": (0,)},
        {"mode": "lora", "rank": 2},
    )
    configs = [RunConfig(**one) for one in varied]
    configs += [RunConfig.from_dict(json.loads(json.dumps(one.to_dict()))) for one in configs]
    for one, other in itertools.product(configs, repeat=2):
        assert (one.shared_key() == other.shared_key()) == (one.shared() == other.shared())
    shared = {json.dumps(one.shared(), sort_keys=True) for one in configs}
    assert len({one.shared_key() for one in configs}) == len(shared) > 1
