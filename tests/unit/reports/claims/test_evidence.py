"""What made-up results say on claims, in numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sweep_tables import make_results

from beft_core.reports.claims.evidence import LOW, Evidence, difference, estimate, gaps_follow, score_and_metric


def test_low_is_the_papers_largest_low_regime() -> None:
    assert LOW == 1710
    table = make_results(["sst2"], ["low", "medium"], seeds=[0])
    assert set(Evidence(table).done.groupby("regime")["is_low"].all().items()) == {("low", True), ("medium", False)}
    unnamed = table.assign(regime=None)  # 1,000 and 5,000 examples
    assert set(Evidence(unnamed).done.groupby("n_train")["is_low"].all().items()) == {(1000, True), (5000, False)}


def test_failed_and_repeated_fine_tunes_are_left_out() -> None:
    table = make_results(["sst2"], ["low"], [1e-2], [0, 1], trains=["v", "q"], failed=lambda run: run[4] == 1)
    twice = pd.concat([table.assign(value=0.1), table], ignore_index=True)
    evidence = Evidence(twice)
    assert len(evidence.measured) == 4 and len(evidence.done) == 2
    assert evidence.models == ["bundled"]
    assert difference(evidence.done, "v", "q").mean == pytest.approx(10)


def test_differences_pair_seeds_and_learning_rates_or_take_each_at_its_best() -> None:
    def add(run: tuple[str, str, str, float, int]) -> float:
        return 0.2 if run[2:4] == ("q", 1e-3) else 0.0  # q wants the other learning rate

    rows = Evidence(make_results(["sst2", "rte"], ["low"], add=add, trains=["v", "q"])).done
    same, best = difference(rows, "v", "q"), difference(rows, "v", "q", "best")
    assert (same.count, best.count) == (12, 6)
    assert same.mean == pytest.approx((10 - 10) / 2)
    assert best.mean == best.low == best.high == pytest.approx(10 - 20 + 5)
    seconds = difference(rows.assign(seconds=np.where(rows["trains"] == "v", 3.0, 5.0)), "q", "v", column="seconds")
    assert seconds.mean == pytest.approx(2)
    assert difference(rows, "v", "head").count == 0 and difference(rows.head(0), "v", "q").count == 0


def test_an_estimate_without_values_is_empty() -> None:
    rows = Evidence(make_results(["sst2"], ["low"])).done
    assert estimate(rows, np.full(len(rows), np.nan)).count == 0


@pytest.mark.parametrize(("way", "percent"), [(1, 100), (-1, 0)])
def test_gaps_follow_or_go_the_other_way(way: int, percent: int) -> None:
    table = make_results(["sst2", "rte"], ["low", "medium"], [1e-2])
    medium, probe = table["regime"] == "medium", table["trains"] == "all"
    table.loc[medium & (table["trains"] == "v"), "value"] += 0.1  # the gap of the metrics grows
    table.loc[medium & probe, "projection_ratio.v"] += 0.2 * way
    found = gaps_follow(Evidence(table).paired, "projection_ratio")
    assert (found.mean, found.count) == (percent, 6)
    assert gaps_follow(Evidence(table[~medium]).paired, "projection_ratio").count == 0


def test_scores_that_rise_with_the_metric_correlate() -> None:
    table = make_results(["sst2", "rte"], ["low"], seeds=[0, 1])  # both rise with the learning rate
    found = score_and_metric(Evidence(table).paired, "projection_ratio")
    assert found.count == 2 and found.mean > 0.8
    probe = table["trains"] == "all"
    table.loc[probe, "projection_ratio.v"] = -table.loc[probe, "projection_ratio.v"]
    assert score_and_metric(Evidence(table).paired, "projection_ratio").mean < -0.8
