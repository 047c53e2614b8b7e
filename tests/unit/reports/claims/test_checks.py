"""Every claim under made-up results that confirm it, contradict it, and leave it untested."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd
import pytest
from sweep_tables import Run, make_results

from beft_core.reports.claims import checks
from beft_core.reports.claims.evidence import Evidence
from beft_core.reports.claims.table import CLAIMS
from beft_core.reports.claims.verdicts import Finding, Verdict
from beft_core.reports.merges import Merge

TASKS = ("sst2", "rte", "cola")
Q_WINS = {(task, regime): "q" for task in TASKS for regime in ("low", "medium")}


def results(**more: object) -> pd.DataFrame:
    """Three tasks, two sizes, two learning rates, three seeds."""
    return make_results(**{"tasks": TASKS, **more})  # type: ignore[arg-type]


def worse(what: str, by: float = 0.5) -> Callable[[Run], float]:
    """Take something from the metric of all fine-tunes of a kind."""
    return lambda run: -by if run[2] == what else 0.0


def without(*whats: str) -> pd.DataFrame:
    table = results()
    return table[~table["trains"].isin(whats)]


def tilted(way: int) -> pd.DataFrame:
    """Results whose gap between b_v and b_q grows with the data, and scores whose gap does, or shrinks."""
    table = results()
    medium = table["regime"] == "medium"
    table.loc[medium & (table["trains"] == "v"), "value"] += 0.05
    table.loc[medium & (table["trains"] == "all"), "projection_ratio.v"] += 0.2 * way
    return table


def falling_scores() -> pd.DataFrame:
    """Results whose score of b_v falls while its metric rises."""
    table = results()
    table["projection_ratio.v"] = 2 - table["projection_ratio.v"]
    return table


def timed(v: float) -> pd.DataFrame:
    """Fine-tunes that had the machine for themselves; those of b_v took ``v`` seconds, more or less by seed."""
    table = results().assign(bank_runs=1)
    table.loc[table["trains"] == "v", "seconds"] = v + table["seed"] / 10
    return table


def flat() -> pd.DataFrame:
    """Curves that end where they were in the middle."""
    return results().assign(curve="[0.2, 0.8, 0.8, 0.8]")


def models(*names: str, **more: object) -> pd.DataFrame:
    return pd.concat([results(model=name, **more) for name in names], ignore_index=True)


CASES: dict[str, tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]] = {
    "selects": (results(), results(selects=lambda approach, run: "k"), without("all")),
    "magnitude": (
        results(),
        results(selects=lambda approach, run: "v" if approach == "magnitude" else "k"),
        without("all"),
    ),
    "fisher": (results(selects=lambda approach, run: "k" if approach == "fisher" else "v"), results(), without("all")),
    "dynamic": (tilted(1), tilted(-1), results(regimes=["low"])),
    "score": (results(), falling_scores(), results(lrs=[1e-2], seeds=[0])),
    "v_q_low": (results(), results(winners=Q_WINS), without("q")),
    "v_k_low": (results(), results(add=worse("v")), results(regimes=["medium"])),
    "v_q_more": (results(), results(winners=Q_WINS), results(regimes=["low"])),
    "k_idle": (results(null="k"), results(), without("head")),
    "all_biases": (results(add=worse("all")), results(add=worse("v")), without("all")),
    "everything": (results(add=worse("full")), results(), without("full")),
    "random": (results(), results(add=worse("v")), without("random")),
    "seconds": (timed(5), timed(30), results()),
    "epochs": (results(), flat(), results(regimes=["medium"])),
    "encoders": (
        models("bundled", "roberta-base"),
        models("bundled", "roberta-base", winners=Q_WINS),
        models("bundled"),
    ),
    "decoders": (
        models("facebook/opt-1.3b"),
        models("facebook/opt-1.3b", winners=Q_WINS),
        models("bundled", "roberta-base"),
    ),
}
"""Claim -> results that confirm it, that contradict it, and that do not test it."""


def test_every_claim_is_here() -> None:
    assert set(CLAIMS) == {*CASES, "merge"}


@pytest.mark.parametrize("at", range(3), ids=["confirmed", "contradicted", "untested"])
@pytest.mark.parametrize("key", CASES)
def test_a_verdict_follows_the_results(key: str, at: int) -> None:
    expected = (Verdict.CONFIRMED, Verdict.CONTRADICTED, Verdict.UNTESTED)[at]
    found = CLAIMS[key].check(Evidence(CASES[key][at]))
    assert found.verdict is expected, found
    assert found.numbers and not found.numbers.endswith(".") and "nan" not in found.numbers


@pytest.mark.parametrize("key", CASES)
def test_a_single_group_decides_nothing(key: str) -> None:
    one = results(tasks=["sst2"], regimes=["low"], seeds=[0])
    found = CLAIMS[key].check(Evidence(one))
    assert found.verdict in (Verdict.UNDECIDED, Verdict.UNTESTED), found


def test_rules_without_a_probe_are_named_where_they_do_as_well() -> None:
    constant = checks.selects_the_best(Evidence(results(null="k")))
    assert constant.trivial == "as good without a probe: Always b_v (0.00), Smallest pre-trained norm (0.00)"
    telling = results(winners=Q_WINS, selects=lambda approach, run: "q")
    assert checks.selects_the_best(Evidence(telling)).trivial == ""
    alike = checks.selects_better_than("fisher", Evidence(results()))
    assert alike.numbers.startswith("both name the same term in every one of 36 cases")
    assert "certified null" in checks.beats("v", "k", Evidence(results(null="k"))).trivial


# --- merges ------------------------------------------------------------------------------------------------


def merges(merged: Sequence[float], own: float = 0.8, base: float = 0.5) -> list[Merge]:
    """Averages over three seeds whose metrics differ a little; ``merged``: of both tasks."""
    tasks = ("sst2", "rte")
    found = []
    for seed in range(3):
        rows = {"base model": dict.fromkeys(tasks, base)}
        rows |= {task: {other: own if other == task else base for other in tasks} for task in tasks}
        rows["merged"] = {task: value + seed / 1000 for task, value in zip(tasks, merged, strict=True)}
        found.append(Merge(tasks, seed, "v", "mean", 0.2, 78.0, rows, {}))
    return found


def merging(found: list[Merge] | None) -> Finding:
    return checks.merging_keeps_both(Evidence(results(), found))


def test_a_merge_keeps_both_tasks_or_loses_one() -> None:
    kept = merging(merges((0.7, 0.65)))
    assert kept.verdict is Verdict.CONFIRMED
    gained = "of +30.0 points (+30.0 to +30.0)"
    assert kept.numbers == f"sst2 keeps 67 % {gained}; rte keeps 50 % {gained}"
    assert merging(merges((0.7, 0.45))).verdict is Verdict.CONTRADICTED
    assert merging(None).verdict is merging([]).verdict is Verdict.UNTESTED
    assert merging(merges((0.7, 0.65))[:1]).verdict is Verdict.UNTESTED  # chance cannot be judged from one seed


def test_a_task_that_learnt_nothing_cannot_be_kept() -> None:
    nothing = merging(merges((0.7, 0.65), own=0.5))
    assert nothing.verdict is Verdict.UNTESTED and "nothing can be kept" in nothing.numbers


def test_broken_curves_count_for_nothing() -> None:
    for text in (math.nan, "", "[1", "{}", '["a"]', "[NaN, 1]", "[0.5]"):
        found = checks.keeps_improving(Evidence(results().assign(curve=text)))
        assert found.verdict is Verdict.UNTESTED, text
