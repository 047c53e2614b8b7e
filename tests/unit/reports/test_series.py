"""Figures 1 and 4 and section 3.4 as data, from results whose numbers are known."""

from __future__ import annotations

import pytest
from report_tools import LRS, selects
from sweep_tables import EPOCHS, make_results

from beft_core.errors import UserError
from beft_core.reports import tables


def test_figure_4() -> None:
    # Seed 2 scores v below all others, so its ranks are 1, 1 and 8.
    results = make_results(selects=selects({0: "v", 1: "v", 2: "q"}))
    figure = tables.figure4(results)
    assert len(figure) == 2 * 2 * 5 * 8
    row = figure.query("task == 'rte' and regime == 'medium' and approach == 'fisher' and term == 'v'").iloc[0]
    assert (row["rank"], row["rank_min"], row["rank_max"]) == (pytest.approx(10 / 3), 1, 8)
    assert (row["selected"], row["probes"], row["probe_lr"], row["lr"]) == (2, 3, 0.01, 0.01)
    assert (row["value"], row["value_std"], row["seeds"]) == (pytest.approx(83), pytest.approx(1), 3)
    assert figure.loc[figure["term"] == "o", "value"].isna().all()
    assert set(tables.figure1(results)["term"]) == {"q", "k", "v"}
    assert set(tables.figure1(results)["task"]) == {"sst2"}


def test_a_term_that_started_at_zero_has_no_rank_by_a_score_that_compares_with_the_start() -> None:
    results = make_results(null="k").assign(**{f"pre_norm.{term}": 0.0 for term in "qkv"})
    table = tables.figure4(results)
    for approach, here in table.groupby("approach"):
        missing = {"q", "v"} if approach == "projection_ratio" else set()  # b_k is null: it stays frozen and scores 0
        assert {"q", "k", "v"} - set(here["term"]) == missing, approach


def test_score_vs_lr() -> None:
    table = tables.score_vs_lr(make_results(lrs=LRS))
    v = table.query("task == 'rte' and regime == 'low' and term == 'v'")
    assert v["lr"].tolist() == v["probe_lr"].tolist() == list(LRS)
    assert v["score"].tolist() == pytest.approx([0.9, 0.95, 1.0])
    assert v["value"].tolist() == pytest.approx([71, 76, 81])
    assert v["seeds"].tolist() == v["probes"].tolist() == [3, 3, 3]
    whole = table.query("task == 'rte' and regime == 'low' and term == 'all'")
    assert whole["value"].tolist() == pytest.approx([73, 78, 83])
    assert whole["score"].isna().all()


def test_score_vs_lr_of_probes_with_a_grid_of_their_own() -> None:
    results = make_results(lrs=LRS)
    results.loc[results["trains"] == "all", "lr"] /= 7
    v = tables.score_vs_lr(results).query("task == 'rte' and regime == 'low' and term == 'v'")
    assert v["lr"].tolist() == list(LRS)
    assert v["probe_lr"].tolist() == pytest.approx([lr / 7 for lr in LRS])
    assert v["score"].tolist() == pytest.approx([0.9, 0.95, 1.0])
    probes = tables.score_vs_lr(results[results["trains"] == "all"]).query("task == 'rte' and term == 'v'")
    assert probes["score"].notna().all()
    assert probes["value"].isna().all()


def test_metric_vs_epoch() -> None:
    table = tables.metric_vs_epoch(make_results())
    curve = table.query("task == 'sst2' and regime == 'low' and trains == 'q' and lr == 0.01")
    assert curve["epoch"].tolist() == list(range(1, EPOCHS + 1))
    assert curve["value"].tolist() == pytest.approx([62, 65, 68, 71])
    assert curve["std"].tolist() == pytest.approx([1] * EPOCHS)
    assert list(dict.fromkeys(table["trains"]))[:3] == ["v", "q", "k"]
    assert list(dict.fromkeys(table["regime"])) == ["low", "medium"]


def test_an_epoch_without_a_metric_is_left_out_of_the_mean() -> None:
    results = make_results(tasks=("rte",), regimes=("low",), lrs=(1e-2,), trains=("v",))
    results["curve"] = ["[0.5, null]", "[0.7, 0.8]", "[0.6]"]
    table = tables.metric_vs_epoch(results)
    assert table["value"].tolist() == pytest.approx([60, 80])
    assert table["seeds"].tolist() == [3, 1]


@pytest.mark.parametrize("curve", ["{}", "[", '["a"]', "0.5", "[[1]]"])
def test_a_damaged_curve_is_refused(curve: str) -> None:
    results = make_results(tasks=("rte",), regimes=("low",))
    results.loc[0, "curve"] = curve
    with pytest.raises(UserError, match="curve"):
        tables.metric_vs_epoch(results)


def test_series_of_a_table_in_which_all_failed() -> None:
    results = make_results(failed=lambda run: True)
    for series in (tables.figure1, tables.figure4, tables.score_vs_lr, tables.metric_vs_epoch):
        assert series(results).empty
    assert not tables.table1(results).has_ours
