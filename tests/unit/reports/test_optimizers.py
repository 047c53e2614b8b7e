"""Fine-tunes with different epsilons of AdamW enter no common mean, in no table, case or figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sweep_tables import make_results

from beft_core.presets import BUILT_IN
from beft_core.reports.optimizers import optimizers, told_apart, with_optimizer
from beft_core.reports.pairing import pairs
from beft_core.reports.seed_means import Runs
from beft_core.reports.selection.contests import paired
from beft_core.reports.selection.prediction import cases, settling
from beft_core.reports.series import metric_vs_epoch, score_vs_lr
from beft_core.sweeps.seed_means import over_seeds
from beft_core.sweeps.table import NORM_COLUMNS, OPTIMIZER_COLUMNS, read_table, write_table

SAMPLE = Path(__file__).parents[3] / "sample_snapshots" / "sweep-results.parquet"
APART = "low, epsilon 1e-06 before"


def one(epsilon: float | None, at: str | None, seeds: int = 3, add: float = 0.0) -> pd.DataFrame:
    table = make_results(["sst2"], ["low"], seeds=range(seeds), add=lambda run: add)
    return table.assign(adam_epsilon=epsilon, adam_epsilon_at=at)


@pytest.fixture
def alone() -> dict[str, pd.DataFrame]:
    """Two sweeps that differ in the optimizer; the second is a tenth better and lacks seed 2."""
    return {"low": one(1e-8, "after"), APART: one(1e-6, "before", seeds=2, add=0.1)}


@pytest.fixture
def two(alone: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Both in one table."""
    return pd.concat(alone.values(), ignore_index=True)


def test_optimizers_in_words(two: pd.DataFrame) -> None:
    assert set(optimizers(two)) == {"1e-08 after", "1e-06 before"}
    for unknown in (one(None, None), one(1e-8, None), one(1e-8, "after").drop(columns=["adam_epsilon"])):
        assert set(optimizers(unknown)) == {"unknown"}
    other = one(1e-6, "before").assign(model="org/other")  # the only optimizer of its model
    named = told_apart(pd.concat([two, other], ignore_index=True))
    assert set(named.loc[named["model"] == "org/other", "regime"]) == {"low"}
    assert set(named.loc[named["model"] == "bundled", "regime"]) == {"low", APART}


@pytest.mark.filterwarnings("error::pandas.errors.PerformanceWarning")
def test_the_column_joins_a_table_of_many_blocks_without_inserting_into_it(two: pd.DataFrame, tmp_path: Path) -> None:
    write_table(two, tmp_path)
    table = read_table(tmp_path / "results.csv")
    joined = with_optimizer(table[table["seed"] == 1])
    assert list(joined.columns) == [*table.columns, "optimizer"]
    pd.testing.assert_frame_equal(joined[list(table.columns)], table[table["seed"] == 1])
    expected = [
        f"{epsilon:g} {at}" for epsilon, at in zip(joined["adam_epsilon"], joined["adam_epsilon_at"], strict=True)
    ]
    assert list(joined["optimizer"]) == expected and len(set(expected)) == 2
    assert len(pairs(table).rows) and len(paired(table))


def test_means_do_not_mix_them(two: pd.DataFrame, alone: dict[str, pd.DataFrame]) -> None:
    runs = Runs(two)
    assert runs.regimes("bundled") == ["low", APART]
    for regime, table in alone.items():
        own = Runs(table)
        for trains in ("v", "q", "all"):
            for choice in ("best", "same", 1e-3):
                found = runs.at(("bundled", "sst2", regime, trains), choice)
                assert found is not None and found == own.at(("bundled", "sst2", "low", trains), choice)
        assert not any("epsilon" in remark for remark in own.remarks("bundled"))
    said = [remark for remark in runs.remarks("bundled") if "epsilon" in remark]
    assert len(said) == 1 and "1e-08 after" in said[0]


def test_cases_contests_and_figures_do_not_either(two: pd.DataFrame, alone: dict[str, pd.DataFrame]) -> None:
    found = pairs(two)
    assert found.left_out == {} and len(found.rows) == sum(len(pairs(table).rows) for table in alone.values())
    for of in (cases, lambda table: cases(table, "best"), paired, settling, score_vs_lr, metric_vs_epoch):
        whole = of(two)
        for regime, table in alone.items():
            here, own = (
                rows.drop(columns=["regime", "case"], errors="ignore").reset_index(drop=True)
                for rows in (whole[whole["regime"] == regime], of(table))
            )
            by = list(own.columns)
            pd.testing.assert_frame_equal(
                here.sort_values(by, ignore_index=True), own.sort_values(by, ignore_index=True), check_dtype=False
            )


def test_the_table_of_a_sweep_groups_by_it(two: pd.DataFrame, alone: dict[str, pd.DataFrame]) -> None:
    means = over_seeds(two)
    pd.testing.assert_frame_equal(means, pd.concat(map(over_seeds, alone.values()), ignore_index=True))
    assert set(means["seeds"]) == {3, 2}
    assert set(over_seeds(one(None, None))["seeds"]) == {3}, "what is unknown is a group too"


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_keep_it_and_of_older_ones_only_what_is_known_is_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"results.{kind}"

    def again(table: pd.DataFrame) -> pd.DataFrame:
        table.to_parquet(path) if kind == "parquet" else table.to_csv(path, index=False)
        return read_table(path)

    table = one(1e-6, "before")
    write_table(table, tmp_path)
    assert set(optimizers(read_table(path))) == {"1e-06 before"}
    # Tables from before the choice have no norms either: what was built in. Of those in between, nobody knows.
    older = again(table.drop(columns=[*NORM_COLUMNS, *OPTIMIZER_COLUMNS]))
    assert set(optimizers(older)) == {f"{BUILT_IN['adam_epsilon']:g} {BUILT_IN['adam_epsilon_at']}"} == {"1e-08 after"}
    between = again(table.drop(columns=list(OPTIMIZER_COLUMNS)))
    assert set(optimizers(between)) == {"unknown"} and between[list(OPTIMIZER_COLUMNS)].isna().all(axis=None)


def test_the_shipped_table_has_what_was_built_in() -> None:
    assert set(optimizers(read_table(SAMPLE))) == {"1e-08 after"}
