"""Words of the tables: why a number is missing, which learning rate, whose numbers."""

from __future__ import annotations

import numpy as np
import pytest
from report_tools import LRS, cell
from sweep_tables import make_results

from beft_core.reports import tables
from beft_core.reports.cells import Cell


def test_a_learning_rate_without_runs_is_told() -> None:
    results = make_results(lrs=LRS)
    results = results[~((results["trains"] == "q") & (results["lr"] == 1e-2))]
    assert cell(tables.table1(results, lr="same"), "low", "b_q", column="rte").reason == (
        "no finished run at the learning rate 0.01"
    )
    without_v = results[results["trains"] != "v"]
    assert "no finished run of v" in cell(tables.table1(without_v, lr="same"), "low", "b_q", column="rte").reason


def test_all_failed() -> None:
    table = tables.table1(make_results(failed=lambda run: run[2] == "k"))
    assert cell(table, "low", "b_k", column="sst2").reason == "all 6 fine-tunes failed (the loss is not a number)"
    # Without all three terms there is no mean over tasks.
    assert cell(table, "low", "b_v", column="here").ours is None


def test_failures_at_one_learning_rate_are_not_all_failures() -> None:
    table = tables.table1(make_results(failed=lambda run: run[2] == "k" and run[3] == 1e-3), lr=1e-3)
    assert cell(table, "low", "b_k", column="rte").reason == "no finished run at the learning rate 0.001"


def test_finished_without_a_metric() -> None:
    results = make_results()
    results.loc[(results["trains"] == "v") & (results["task"] == "rte"), "value"] = np.nan
    table = tables.table1(results)
    assert cell(table, "low", "b_v", column="rte").reason == "the finished fine-tunes have no metric"
    assert "12 finished without a metric and enter no mean" in table.notes


@pytest.mark.parametrize(
    ("labels", "column", "reason"),
    [
        (("low", "b_v"), "qqp", "no run of qqp in the table"),
        (("high", "b_v"), "rte", "no run of rte in the high regime in the table"),
        (("low", "b_k"), "rte", "no run that trains k on rte in the low regime"),
    ],
)
def test_reasons(labels: tuple[str, str], column: str, reason: str) -> None:
    table = tables.table1(make_results(trains=("v", "q")))
    found = cell(table, *labels, column=column)
    assert (found.ours, found.reason) == (None, reason)
    assert found.paper is not None


def test_table_4_names_what_a_model_needs() -> None:
    table = tables.table4(make_results())
    assert cell(table, "RoBERTa-base", "b_v", column="cb") == Cell(
        paper=90.5,
        reason="the bundled model only; needs RoBERTa-base from the Hub: beft sweep --model FacebookAI/roberta-base",
    )
    ours = cell(table, "bundled", "b_v", column="sst2")
    assert (ours.ours, ours.paper, ours.bold) == (pytest.approx(81), None, True)


@pytest.mark.parametrize(
    ("technique", "task", "reason"),
    [
        ("b_v", "squad", "beft compare-methods --task prompt-squad --model facebook/opt-1.3b"),
        ("LoRA", "copa", "beft compare-methods --task prompt-copa --model facebook/opt-1.3b"),
    ],
)
def test_table_5_says_why(technique: str, task: str, reason: str) -> None:
    found = cell(tables.table5(make_results()), "OPT-1.3B", technique, column=task)
    assert found.reason == f"the bundled model only; needs OPT-1.3B from the Hub: {reason}"
