"""Several runs beside each other: what differs in effect, and the spread over seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import made

from beft_core.config import RunConfig
from beft_core.runs.compare import differences, groups, spreads
from beft_core.runs.overview import overview, overviews
from beft_core.runs.run import Run


def test_only_what_differs_in_effect_is_a_difference(tmp_path: Path) -> None:
    filled = RunConfig(task="sst2", terms=("v",)).resolved()
    runs = [
        made(tmp_path, task="sst2", terms=("v",)),
        made(tmp_path, task="sst2", terms=("v",), lr=filled.lr, epochs=filled.epochs, regime="low"),
        made(tmp_path, task="sst2", terms=("q",), seed=3),
    ]
    rows = [overview(run) for run in runs]
    assert differences(rows) == {"terms": [["v"], ["v"], ["q"]], "seed": [0, 0, 3]}
    assert differences(rows[:2]) == {}
    modes = [overview(made(tmp_path, mode="head")), overview(made(tmp_path, mode="head", terms=("q",)))]
    assert differences(modes) == {}
    assert set(differences([overview(made(tmp_path)), overview(made(tmp_path, kind="select"))])) >= {"kind", "mode"}


def test_spread_over_seeds(tmp_path: Path) -> None:
    for seed, value in ((0, 0.7), (1, 0.8), (2, 0.95)):
        made(tmp_path, value, seed=seed)
    made(tmp_path, 0.9, seed=2)  # newer: it counts
    made(tmp_path, 0.1, seed=3, state="cancelled")
    made(tmp_path, None, seed=4)
    made(tmp_path, 0.2, seed=5, lr=0.123)  # another setting, alone
    (group,) = spreads(overviews(tmp_path))
    values = np.array([0.7, 0.8, 0.9])
    assert group.seeds == [0, 1, 2] and group.metric == "accuracy"
    assert group.mean == pytest.approx(values.mean()) and group.std == pytest.approx(values.std(ddof=1))


def test_a_list_of_settings_of_another_time_is_compared_as_it_stands(tmp_path: Path) -> None:
    runs = [Run.create("merge", {"method": method, "future": [1]}, tmp_path) for method in ("mean", "ties")]
    assert differences([overview(run) for run in runs]) == {"method": ["mean", "ties"]}


def test_groups_have_a_mean_and_a_best_and_never_mix_tasks(tmp_path: Path) -> None:
    best = made(tmp_path, 0.9, task="rte", terms=("v",), seed=1)
    made(tmp_path, 0.6, task="rte", terms=("v",))
    made(tmp_path, 0.8, task="rte", terms=("q",))
    made(tmp_path, 0.3, task="cola", terms=("v",))
    made(tmp_path, 1.0, task="rte", state="cancelled")
    made(tmp_path, None, task="rte")
    made(tmp_path, float("nan"), task="rte")
    tables = [made(tmp_path, 0.1, train_file=f"/{x}/data.csv", text="a", label="b") for x in ("one", "two")]
    rte, cola, *own = groups(overviews(tmp_path))
    assert (rte.task, rte.metric, rte.trains, rte.best.run, len(rte.runs)) == ("rte", "accuracy", None, best, 3)
    assert rte.mean == pytest.approx((0.9 + 0.6 + 0.8) / 3) and rte.varied == ["terms", "seed"]
    assert (cola.task, cola.mean, cola.varied) == ("cola", 0.3, [])
    assert {one.best.run for one in own} == set(tables)  # two tables of one name
    by_term = groups(overviews(tmp_path), trained=True)
    assert [(one.task, one.trains, len(one.runs)) for one in by_term[:2]] == [("rte", "b_q", 1), ("rte", "b_v", 2)]
    assert [one.mean for one in by_term] == pytest.approx([0.8, 0.75, 0.3, 0.1, 0.1])
    assert groups([]) == []
