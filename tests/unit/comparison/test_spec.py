"""The two sweeps that a comparison is: what is tried, on what, and what is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beft_core.comparison.spec import TRIAL_SEED, ComparisonSpec
from beft_core.errors import UserError
from beft_core.learning_rates import RATES
from beft_core.sweeps.spec import SweepSpec, trains

METHODS = ("v", "lora", "icl")


def spec(**values: Any) -> ComparisonSpec:
    return ComparisonSpec(**{"task": "sst2", "methods": METHODS, "budget": 3, "seeds": 2, **values})


def test_every_method_gets_as_many_trials_on_examples_that_are_set_aside() -> None:
    made = spec()
    runs = made.trials(made.entries(), 67_349).runs()
    assert [(trains(run), run.lr) for run in runs] == [
        *(("v", lr) for lr in RATES["terms"].grid(3)),
        *(("lora", lr) for lr in RATES["lora"].grid(3)),
    ]
    assert {(run.hold_out, run.n_train, run.seed, run.evaluate) for run in runs} == {(500, 1000, TRIAL_SEED, "last")}


def test_all_that_is_set_aside_is_scored_also_where_few_validation_examples_are() -> None:
    made = spec(settings={"n_eval": 20})
    assert {run.n_eval for run in made.finals(made.entries(), {}, 1e-3).runs()} == {20}
    for run in made.trials(made.entries(), 67_349).runs():
        assert run.hold_out == 500 and run.n_eval is None, "rates are said to be chosen on 500 examples"


def test_what_is_reported_never_sees_the_split() -> None:
    made = spec(settings={"epochs": 2})
    runs = made.finals(made.entries(), {"v": 3e-3, "lora": 1e-3}, 1e-3).runs()
    assert all(run.hold_out is None and run.epochs == 2 for run in runs)
    assert [(trains(run), run.lr, run.seed) for run in runs[:-1]] == [
        *(("v", lr, seed) for lr in (3e-3, 1e-3) for seed in (0, 1)),
        *(("lora", 1e-3, seed) for seed in (0, 1)),  # the two settings are one rate, trained once
    ]
    assert (trains(runs[-1]), runs[-1].seed, runs[-1].demonstrations) == ("none demonstrations=32", 0, 32)
    assert TRIAL_SEED not in {run.seed for run in runs}


@pytest.mark.parametrize("seeds", [TRIAL_SEED, TRIAL_SEED + 1, 2 * TRIAL_SEED])
def test_no_reported_fine_tune_has_the_seed_of_the_trials(seeds: int) -> None:
    made = spec(methods=("v",), seeds=seeds)
    (trial,) = {run.seed for run in made.trials(made.entries(), 5000).runs()}
    assert trial not in range(seeds) and trial not in {run.seed for run in made.finals(made.entries(), {}, 1e-3).runs()}


def test_a_method_without_a_choice_is_trained_at_the_one_rate() -> None:
    made = spec(methods=("v", "lora"))
    assert {run.lr for run in made.finals(made.entries(), {"v": 3e-3}, 1e-2).runs() if run.mode == "lora"} == {1e-2}


def test_all_biases_are_no_probe_here() -> None:
    """Fisher information and a trajectory would be paid for by one of the methods alone."""
    made = spec(methods=("all",))
    assert not any(run.fisher for run in made.trials(made.entries(), 5000).runs())
    assert SweepSpec(terms=("all",)).runs()[0].fisher and not SweepSpec(terms=("all",), probes=False).runs()[0].fisher


@pytest.mark.parametrize(
    ("rows", "values", "held_out", "n_train"),
    [
        (67_349, {}, 500, 1000),
        (2000, {}, 400, 1000),
        (1200, {}, 240, None),  # 1,000 are more than what is left: all of that
        (1200, {"hold_out": 100}, 100, 1000),
        (5000, {"regime": "all"}, 500, None),
        (64, {"n_train": 60}, 12, None),
    ],
)
def test_the_size_of_the_split(rows: int, values: dict[str, Any], held_out: int, n_train: int | None) -> None:
    made = spec(**values)
    run = made.trials(made.entries(), rows).runs()[0]
    assert (run.hold_out, run.n_train) == (held_out, n_train)


def test_a_trial_wants_no_more_examples_than_share_no_text_with_the_split() -> None:
    made = spec()
    assert made.trials(made.entries(), 1600, left=1001).runs()[0].n_train == 1000
    assert made.trials(made.entries(), 1600, left=990).runs()[0].n_train is None


def test_too_few_examples_to_choose_by_are_told() -> None:
    with pytest.raises(UserError, match="to choose learning rates by"):
        spec().held_out(8)
    with pytest.raises(UserError, match="2 to 98"):
        spec(hold_out=99).held_out(100)


def test_the_one_rate_is_the_presets_for_single_terms() -> None:
    assert spec().usual_rate() == 1e-2 and spec(settings={"preset": "paper"}).usual_rate() == 4e-4
    assert spec().examples() == 1000 and spec(regime="all").examples() is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"methods": ("v", "v")}, "twice"),
        ({"methods": ()}, "no methods"),
        ({"methods": ("lorra",)}, "lora"),
        ({"budget": 0}, "budget"),
        ({"seeds": 0}, "seeds"),
        ({"lrs": (0.0,)}, "learning rate"),
        ({"same_lr": -1.0}, "positive"),
        ({"hold_out": 1}, "at least 2"),
        ({"task": "sst9"}, "sst2"),
        ({"settings": {"epoch": 3}}, "epochs"),
        ({"settings": {"hold_out": 3}}, "beside"),
        ({"settings": {"evaluate": "never"}}, "a metric"),
    ],
)
def test_wrong_comparisons_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        spec(**values)


def test_it_is_written_and_read_as_json(tmp_path: Path) -> None:
    table = tmp_path / "films.csv"
    table.write_text("text,label\n" + "".join(f"film {n},{n % 2}\n" for n in range(20)))
    own = spec(task={"train_file": str(table), "text": "text", "label": "label"}, methods=("v", {"method": "lora"}))
    read = json.loads(json.dumps(own.to_dict()))
    assert ComparisonSpec(**read).to_dict() == own.to_dict() and own.task_name == ComparisonSpec(**read).task_name
    assert own.table is not None and spec().table is None
