"""What the paper's figures and tables are made of."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.reports import paper
from beft_core.reports.methods.table5 import TECHNIQUES
from beft_core.reproduction.experiments import EXPERIMENTS, GLUE, SMALL, WEIGHTS, chosen, comparison_of, spec_of
from beft_core.tasks.registry import TASKS, get_task


def test_every_number_of_the_paper_has_its_fine_tunes() -> None:
    """Each (model, task, regime, term) of Tables 1, 2, 4 and 5 is in its experiment."""
    for name in ("table1", "table4"):
        table = getattr(paper, name)()
        for row in table.to_dict("records"):
            what = row["term"] if "term" in row else row["trains"]
            if row["task"] == paper.AVERAGE or not isinstance(what, str):
                continue
            task = "mnli" if row["task"].startswith("mnli") else row["task"]
            regime = row.get("regime", "low")
            assert any(
                row["model"] in grid.models and task in grid.tasks and regime in grid.regimes and what in grid.terms
                for grid in EXPERIMENTS[name].grids
            ), row
    (comparing,) = EXPERIMENTS["table5"].comparisons
    whole = paper.table5()
    assert set(comparing.models) == set(whole["model"])
    assert set(comparing.tasks) == {f"prompt-{task}" for task in whole["task"]}
    assert {TECHNIQUES[name] for name in whole["technique"]} == set(comparing.methods)
    (grid,) = EXPERIMENTS["table2"].grids
    trained = {*grid.terms, *(method["method"] for method in grid.methods)}
    assert trained == set(paper.table2()["trains"]) and grid.alone
    assert set(EXPERIMENTS["table3"].grids[0].merges[0].split("+")) == set(paper.tasks("table3"))


def test_the_learning_rates_and_epochs_are_the_authors() -> None:
    (grid,) = EXPERIMENTS["table1"].grids
    runs = spec_of(grid, "bundled", grid.tasks, {}).runs()
    assert len(runs) == 8 * 3 * 4
    assert {(run.task, run.lr, run.epochs) for run in runs} == {
        (task, get_task(task).lr, get_task(task).epochs) for task in GLUE
    }
    assert {(run.schedule, run.adam_epsilon, run.batch_size, run.evaluate) for run in runs} == {
        ("constant", 1e-6, 16, "last")
    }
    assert {run.n_train for run in runs if run.task == "cola"} == {1710, 3420, 4275}
    costs = spec_of(EXPERIMENTS["table2"].grids[0], "bundled", ("rte",), {}).runs()
    assert {(run.lr, run.seed) for run in costs if run.mode == "full"} == {(1e-5, seed) for seed in range(5)}


def test_a_rehearsal_is_small_and_its_learning_rates_larger() -> None:
    grid = EXPERIMENTS["section3.4"].grids[0]
    runs = spec_of(grid, "bundled", ("cb",), {"device": "cpu"}, small=SMALL).runs()
    assert {run.n_train for run in runs} == {SMALL.examples["low"]}
    assert {run.lr for run in runs} == {1e-2, 1e-3}
    assert {run.max_length for run in runs} == {64} and {run.device for run in runs} == {"cpu"}
    assert {run.evaluate for run in runs} == {"epoch"}, "the curves over epochs are what is shown"
    assert len(set(SMALL.examples.values())) == len(SMALL.examples), "a size names its regime"


def test_merges_follow_their_stand_ins_and_need_both_tasks() -> None:
    (grid,) = EXPERIMENTS["table3"].grids
    assert spec_of(grid, "bundled", ("sst2", "rte"), {}).merges == ("sst2+rte",)
    mixed = spec_of(grid, "bundled", ("demo-sentiment", "rte"), {}, small=SMALL)
    assert mixed.merges == ("demo-sentiment+rte",)
    assert spec_of(grid, "bundled", ("sst2",), {}).merges == ()


def test_a_comparison_takes_the_regime_that_the_paper_calls_low() -> None:
    (comparing,) = EXPERIMENTS["table5"].comparisons
    sst2, cb = (comparison_of(comparing, "bundled", f"prompt-{task}", {"device": "cpu"}) for task in ("sst2", "cb"))
    assert (sst2.regime, sst2.examples(), sst2.budget) == ("low", 1000, 5)
    assert (cb.regime, cb.examples()) == ("all", None), "the paper trains CB on all of its examples"
    assert sst2.settings == {"model": "bundled", "evaluate": "last", "preset": "paper", "device": "cpu"}
    small = comparison_of(comparing, "bundled", "prompt-sst2", {}, small=SMALL, seeds=2)
    assert small.hold_out == 64 and sst2.hold_out is None
    assert (small.budget, small.seeds, small.examples()) == (2, 2, 32) and small.settings["epochs"] == 1


def test_names() -> None:
    assert chosen(["table2", "Figure1", "table2"]) == ("figure1", "table2")
    assert chosen(["all"]) == tuple(EXPERIMENTS)
    with pytest.raises(UserError, match=r"got table9; expected some of figure1, .* or all"):
        chosen(["table9"])
    with pytest.raises(UserError, match="try figure4"):
        chosen(["fig 4"])
    with pytest.raises(UserError, match="nothing to reproduce"):
        chosen([])


def test_what_is_named_exists() -> None:
    for about in EXPERIMENTS.values():
        for grid in (*about.grids, *about.comparisons):
            assert set(grid.tasks) <= set(TASKS) and set(grid.models) <= set(paper.models()) == set(WEIGHTS)
    assert set(SMALL.stand_ins.values()) <= set(TASKS)
