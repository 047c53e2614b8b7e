"""Bootstrap intervals: what is drawn together, and that draws repeat."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tools import noisy, of_rule, one_case
from sweep_tables import make_results

from beft_core.reports.selection.intervals import Bootstrap, _draws
from beft_core.reports.selection.prediction import (
    MEASURES,
    POOLED,
    cases,
    summary,
    summary_of,
    verdict,
)
from beft_core.sweeps.table import read_table

ROOT = Path(__file__).parents[4]
PAGE, SAMPLE = ROOT / "beft_core" / "docs" / "prediction.md", ROOT / "sample_snapshots" / "sweep-results.parquet"


def test_intervals_draw_whole_seeds() -> None:
    """Against a plain loop over resamples; learning rates of a seed go together, so copies of them change nothing."""
    table = of_rule(cases(make_results(["sst2"], ["low"], seeds=range(6), add=noisy)), "magnitude")
    row = summary_of(table).iloc[0]
    groups = [group["regret"].to_numpy() for _, group in table.groupby("seed")]
    rng = np.random.default_rng(1)
    means = [np.concatenate([groups[i] for i in rng.integers(0, 6, 6)]).mean() for _ in range(20_000)]
    low, high = np.percentile(means, [2.5, 97.5])
    spread = high - low
    assert row["regret"] == pytest.approx(table["regret"].mean())
    assert row["regret_low"] == pytest.approx(low, abs=0.08 * spread)
    assert row["regret_high"] == pytest.approx(high, abs=0.08 * spread)
    twice = pd.concat([table, table.assign(lr=1.0)])
    again = summary_of(twice).iloc[0]
    names = [f"{short}{end}" for short in MEASURES for end in ("_low", "_high")]
    np.testing.assert_allclose(list(again[names]), list(row[names]))


def test_intervals_draw_tasks_and_seeds_within_them() -> None:
    """Against a plain loop: tasks with replacement, and for each drawn one its sizes and seeds with replacement."""
    table = make_results(
        ["sst2", "rte", "cola", "stsb"], seeds=range(4), add=noisy, winners={("rte", "low"): "q", ("cola", "low"): "k"}
    )
    table = of_rule(cases(table), "magnitude")
    row = summary_of(table).iloc[-1]
    assert row["draws"] == "tasks" and (summary_of(table)["draws"].iloc[:-1] == "seeds").all()
    groups = {
        task: [group["regret"].to_numpy() for _, group in own.groupby(["regime", "seed"])]
        for task, own in table.groupby("task")
    }
    rng = np.random.default_rng(1)
    means = []
    for _ in range(10_000):
        drawn: list[np.ndarray] = []
        for task in rng.choice(list(groups), len(groups)):
            drawn += [groups[task][at] for at in rng.integers(0, len(groups[task]), len(groups[task]))]
        means.append(np.concatenate(drawn).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    assert row["regret_low"] == pytest.approx(low, abs=0.08 * (high - low))
    assert row["regret_high"] == pytest.approx(high, abs=0.08 * (high - low))
    # Seeds alone, as if all were of one task, look far surer than they are.
    fixed = summary_of(table.assign(regime=table["task"] + table["regime"], task="one")).iloc[-1]
    assert fixed["draws"] == "seeds"
    assert row["regret_high"] - row["regret_low"] > 1.5 * (fixed["regret_high"] - fixed["regret_low"])


def test_one_seed_under_two_optimizers_is_drawn_once() -> None:
    """It has the same examples, order and head under both: as with two learning rates, copies change nothing."""
    table = of_rule(cases(make_results(["sst2"], ["low"], seeds=range(6), add=noisy)), "magnitude")
    other = table.assign(regime="low, epsilon 1e-06 before", case=table["case"] + len(table))
    names = [f"{short}{end}" for short in MEASURES for end in ("_low", "_high")]
    alone, both = (summary_of(one).iloc[-1] for one in (table, pd.concat([table, other])))
    assert (alone["n"], both["n"]) == (len(table), 2 * len(table))
    np.testing.assert_allclose(list(both[names]), list(alone[names]))


def test_the_numbers_of_the_page_are_those_of_the_sample() -> None:
    """The table of "Does the score predict performance?", cell by cell."""
    lines = PAGE.read_text(encoding="utf-8").split("| rule | regret, points |")[1].splitlines()[2:]
    said = [[cell.strip() for cell in line.strip("|").split("|")[1:]] for line in takewhile(str.strip, lines)]
    rows = summary(read_table(SAMPLE))
    rows = rows[(rows["task"] == POOLED) & (rows["same_as"] == rows["rule"])]

    def cell(row: Any, short: str, mean: str) -> str:
        low, high = row[f"{short}_low"], row[f"{short}_high"]
        return f"{row[mean]:.2f}" + (f" ({low:.2f} to {high:.2f})" if row[mean] else "")

    ours = [[cell(row, *measure).replace("0.00", "0") for measure in MEASURES.items()] for _, row in rows.iterrows()]
    assert sorted(ours) == sorted(said) and len(said) == 5


def test_results_repeat_and_one_seed_has_no_interval() -> None:
    table = make_results(add=noisy)
    pd.testing.assert_frame_equal(summary(table), summary(table))
    alone = summary(one_case({"q": 0.75, "k": 0.6, "v": 0.7}))
    assert alone["regret_low"].isna().all() and alone["hit_high"].isna().all() and alone["regret"].notna().all()
    assert "one group, no interval" in verdict(one_case({"q": 0.75, "k": 0.6, "v": 0.7}))


def test_means_of_many_columns_are_those_of_each() -> None:
    table = cases(make_results(["sst2", "rte"], ["low"], seeds=range(3), add=noisy))
    regret = table["regret"].to_numpy()
    one_group = np.where((table["task"] == "rte") & (table["seed"] == 0), regret, np.nan)
    columns = [regret, table["tau"].to_numpy(), one_group, np.full(len(table), np.nan)]
    draw = Bootstrap(table)
    found = draw.means(columns)
    np.testing.assert_allclose(found, [draw.mean(values) for values in columns])
    assert np.isnan(found[2]).tolist() == [False, True, True] and np.isnan(found[3]).all()


def test_draws_that_are_remembered_take_a_byte_each() -> None:
    """A table of 100,000 fine-tunes has 1,664 groups, and claims draw over six choices of them."""
    drawn = _draws((0, 0, 1))
    assert drawn.dtype == np.uint8 and not drawn.flags.writeable
