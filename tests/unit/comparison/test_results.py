"""Result of a comparison from made-up tables and predictions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from beft_core.comparison.choice import Choice
from beft_core.comparison.folder import ComparisonFolder
from beft_core.comparison.plan import Plan
from beft_core.comparison.results import result_of, units, without_examples
from beft_core.comparison.spec import ComparisonSpec
from beft_core.reports.methods.table import Comparison
from beft_core.runs.predictions import write_predictions
from beft_core.sweeps.table import COLUMNS
from beft_core.tasks.predictions import Predictions

EXAMPLES = 80
SPEC = ComparisonSpec(task="sst2", methods=("v", "lora", "full", "icl"), seeds=2, budget=3)
ENTRIES = tuple(SPEC.entries())
PLAN = Plan(ENTRIES, {"none demonstrations=32": "no prompts"}, 5000, 500, 4500, EXAMPLES, 1000, 1e-2, 0.5)
CHOICES = {
    "v": Choice(1e-2, "", ((3e-4, 0.5), (1e-2, 0.8))),
    "lora": Choice(1e-3, "largest", ((1e-4, 0.6), (1e-3, 0.85))),
    "full": Choice(None, "", ((3e-6, None),)),
}
RIGHT = {("v", 1e-2): 0.8, ("lora", 1e-2): 0.5, ("lora", 1e-3): 0.95}
"""Share of right answers of a method at a rate."""


def predicted(right: float, seed: int) -> Predictions:
    labels = np.arange(EXAMPLES) % 2
    rng = np.random.default_rng([int(1000 * right), seed])
    said = np.where(rng.random(EXAMPLES) < right, labels, 1 - labels)
    return Predictions("sst2", np.arange(EXAMPLES), labels.astype(float), np.eye(2, dtype=np.float32)[said])


@pytest.fixture(scope="module")
def finals(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, ComparisonFolder]:
    folder = ComparisonFolder(tmp_path_factory.mktemp("comparison"))
    rows: list[dict[str, Any]] = []
    for (trains, lr), right in RIGHT.items():
        for seed in (0, 1):
            name = f"{trains}-{lr}-{seed}"
            one = predicted(right, seed)
            path = folder.finals.predictions(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_predictions(path, [one])
            rows.append(
                {"run": name, "trains": trains, "lr": lr, "seed": seed, "state": "done", "metric": "accuracy"}
                | {"value": float((one.predicted == one.labels).mean()), "trained_parameters": 2304, "seconds": 2.0}
                | {"total_parameters": 10**6, "bank_runs": 2, "peak_bytes": 5e8, "device": "cpu"}
            )
    for seed in (0, 1):
        rows.append(
            {"run": f"f{seed}", "trains": "full", "lr": 1e-2, "seed": seed, "state": "failed", "failure": "nan"}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)), folder


@pytest.fixture(scope="module")
def found(finals: tuple[pd.DataFrame, ComparisonFolder]) -> Comparison:
    table, folder = finals
    done: list[int] = []
    made = result_of(SPEC, PLAN, CHOICES, table, folder, {}, lambda: done.append(1))
    assert len(done) == units(PLAN) == 8
    return made


def of(found: Comparison, setting: str, method: str) -> dict[str, Any]:
    rows = found.rows[(found.rows["setting"] == setting) & (found.rows["method"] == method)]
    (row,) = rows.to_dict("records")
    return dict(row)


def test_each_setting_has_its_own_rate(found: Comparison, finals: tuple[pd.DataFrame, ComparisonFolder]) -> None:
    table = finals[0]
    for setting, lr in (("same", 1e-2), ("best", 1e-3)):
        row = of(found, setting, "lora")
        own = table[(table["trains"] == "lora") & (table["lr"] == lr)]["value"]
        assert (
            row["lr"] == lr and row["value"] == pytest.approx(own.mean()) and row["spread"] == pytest.approx(own.std())
        )
        assert (
            json.loads(row["values"]) == list(own) and row["seeds"] == 2 and row["low"] <= row["value"] <= row["high"]
        )
        assert json.loads(row["trials"]) == [[1e-4, 0.6], [1e-3, 0.85]]
    assert of(found, "same", "lora")["edge"] == "" and of(found, "best", "lora")["edge"] == "largest"
    assert of(found, "same", "v")["value"] == of(found, "best", "v")["value"]


def test_cost_and_origin(found: Comparison) -> None:
    row = of(found, "best", "v")
    assert (row["trained_parameters"], row["trained_bytes"], row["peak_bytes"], row["bank_runs"]) == (
        2304,
        9216,
        5e8,
        2,
    )
    assert (row["task"], row["model"], row["n_train"], row["n_eval"]) == ("sst2", "bundled", 1000, EXAMPLES)
    assert (row["hold_out"], row["budget"], row["preset"], row["label"]) == (500, 3, "quick", "b_v")
    assert row["lr_low"] == ENTRIES[0].lrs[0] and row["lr_source"] == ENTRIES[0].source


def test_chance_is_judged_by_the_interval(found: Comparison) -> None:
    assert of(found, "same", "lora")["at_chance"] == "yes" and of(found, "same", "lora")["seeds_at_chance"] > 0
    assert of(found, "best", "lora")["at_chance"] == "no" and of(found, "best", "lora")["constant"] == 0.5


def test_what_has_no_number_says_why(found: Comparison) -> None:
    same, best, icl = of(found, "same", "full"), of(found, "best", "full"), of(found, "best", "icl")
    assert (same["state"], same["reason"], same["failed"]) == ("failed", "nan", 2)
    assert (best["state"], best["reason"]) == ("failed", "no trial of it ended with a metric")
    assert (icl["state"], icl["reason"]) == ("refused", "no prompts")
    assert set(found.done["method"]) == {"v", "lora"}


def test_methods_are_compared_on_the_same_examples(found: Comparison) -> None:
    same, best = (found.pairs[found.pairs["setting"] == setting].iloc[0] for setting in ("same", "best"))
    assert (same["first"], same["second"], same["seeds"], same["examples"]) == ("v", "lora", 2, EXAMPLES)
    assert same["difference"] == pytest.approx(of(found, "same", "v")["value"] - of(found, "same", "lora")["value"])
    assert same["difference"] > 0 > best["difference"] and same["p"] < 0.05 and same["p_holm"] == same["p"]
    for pair in (same, best):
        assert pair["low"] < pair["difference"] < pair["high"]


def test_without_predictions_the_interval_is_of_seeds_and_examples_and_nothing_is_paired(
    finals: tuple[pd.DataFrame, ComparisonFolder], tmp_path: Path
) -> None:
    made = result_of(SPEC, PLAN, CHOICES, finals[0], ComparisonFolder(tmp_path), {})
    row = of(made, "best", "lora")
    values = json.loads(row["values"])
    mean, spread = np.mean(values), np.std(values, ddof=1)
    half = np.sqrt(4 * mean * (1 - mean) / EXAMPLES + (12.706 * spread) ** 2 / 2)  # t of one degree of freedom
    ends = max(0.0, mean - half), min(1.0, mean + half)  # a share of right answers has bounds
    assert (row["low"], row["high"]) == pytest.approx(ends, rel=1e-3)
    assert row["interval"] == "normal" and made.pairs.empty and row["constant"] == PLAN.constant == 0.5
    assert row["at_chance"] == ("yes" if row["low"] <= 0.5 else "no")
    assert without_examples([0.8], "spearman", 100) == pytest.approx((0.6, 1.0))


def test_a_method_with_predictions_of_some_seeds_is_not_paired_and_says_so(
    finals: tuple[pd.DataFrame, ComparisonFolder], tmp_path: Path
) -> None:
    """An interval of the seed that is left beside the mean of both would be of another number."""
    table, whole = finals
    folder = ComparisonFolder(tmp_path)
    kept = whole.finals.predictions("v-0.01-0").parent
    shutil.copytree(kept, folder.finals.predictions("v-0.01-0").parent)
    folder.finals.predictions("lora-0.001-1").unlink()
    made = result_of(SPEC, PLAN, CHOICES, table, folder, {})
    same, best, other = of(made, "same", "lora"), of(made, "best", "lora"), of(made, "best", "v")
    assert (same["interval"], same["reason"]) == (other["interval"], other["reason"]) == ("bootstrap", "")
    assert best["interval"] == "normal" and best["reason"].startswith("the predictions of seed 1 are missing")
    ends = without_examples(json.loads(best["values"]), "accuracy", EXAMPLES)
    assert (best["low"], best["high"]) == pytest.approx(ends)
    assert list(made.pairs["setting"]) == ["same"]


def test_a_reason_that_training_gave_wins(finals: tuple[pd.DataFrame, ComparisonFolder]) -> None:
    made = result_of(SPEC, PLAN, CHOICES, finals[0].head(0), finals[1], {"lora": "no such modules"})
    assert of(made, "best", "lora")["reason"] == "no such modules" and made.pairs.empty and made.done.empty
