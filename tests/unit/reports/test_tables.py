"""The paper's tables from result tables whose numbers are known, and computed again here by other means."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sweep_tables import EPOCHS, Run, make_results

from beft_core.errors import UserError
from beft_core.reports import tables
from beft_core.reports.cells import Cell, Column, Row, mark_best, ours_text, paper_text
from beft_core.reports.seed_means import Runs
from beft_core.reports.tables import Merge, Table
from beft_core.sweeps.table import read_table, write_table

LRS = (1e-4, 1e-3, 1e-2)


def cell(table: Table, *labels: str, column: str) -> Cell:
    """The one cell under these labels."""
    (row,) = (row for row in table.rows if row.labels == labels)
    return row.cells[[c.key for c in table.columns].index(column)]


def scattered(run: Run) -> float:
    """A number for each run without a pattern that the code could share: up to 0.03 either way."""
    return (int.from_bytes(repr(run).encode(), "big") % 6007) / 6007 * 0.06 - 0.03


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    """Two tasks and regimes at three learning rates with scattered metrics."""
    return make_results(lrs=LRS, add=scattered)


# --- means and learning rates ------------------------------------------------------------------------------


def by_hand(results: pd.DataFrame, task: str, regime: str, trains: str) -> dict[float, list[float]]:
    """Learning rate -> metrics of the seeds, in percent, without pandas."""
    found: dict[float, list[float]] = {}
    for row in results.to_dict("records"):
        if (row["task"], row["regime"], row["trains"], row["state"]) == (task, regime, trains, "done"):
            found.setdefault(row["lr"], []).append(100 * row["value"])
    return found


@pytest.mark.parametrize("regime", ["low", "medium"])
@pytest.mark.parametrize("task", ["sst2", "rte"])
def test_means_at_the_best_learning_rate(results: pd.DataFrame, task: str, regime: str) -> None:
    table = tables.table1(results)
    for term in ("v", "q", "k"):
        values = by_hand(results, task, regime, term)
        best = max(values, key=lambda lr: statistics.mean(values[lr]))
        found = cell(table, regime, f"b_{term}", column=task)
        assert found.ours == pytest.approx(statistics.mean(values[best]))
        assert found.spread == pytest.approx(statistics.stdev(values[best]))
        assert (found.lr, found.seeds, found.failed, found.reason) == (best, 3, 0, "")


def test_the_same_learning_rate_is_that_of_v() -> None:
    # q is best at 1e-4, v at 1e-2.
    results = make_results(lrs=LRS, add=lambda run: 0.3 if run[2] == "q" and run[3] == 1e-4 else 0.0)
    best, same, given = (tables.table1(results, lr=lr) for lr in ("best", "same", 1e-3))
    assert [cell(t, "low", "b_q", column="rte").lr for t in (best, same, given)] == [1e-4, 1e-2, 1e-3]
    assert [cell(t, "low", "b_v", column="rte").lr for t in (best, same, given)] == [1e-2, 1e-2, 1e-3]
    assert cell(same, "low", "b_q", column="rte").ours == pytest.approx(71)
    for table, words in ((best, "own mean"), (same, "b_v has its best"), (given, "0.001")):
        assert words in table.notes[0]


def test_a_learning_rate_without_runs_is_told() -> None:
    results = make_results(lrs=LRS)
    results = results[~((results["trains"] == "q") & (results["lr"] == 1e-2))]
    assert cell(tables.table1(results, lr="same"), "low", "b_q", column="rte").reason == (
        "no finished run at the learning rate 0.01"
    )
    without_v = results[results["trains"] != "v"]
    assert "no finished run of v" in cell(tables.table1(without_v, lr="same"), "low", "b_q", column="rte").reason


def test_equal_means_take_the_smaller_learning_rate() -> None:
    results = make_results(lrs=(1e-3, 1e-2), add=lambda run: 0.05 if run[3] == 1e-3 else 0.0)
    results["value"] = results["value"].round(6)
    assert cell(tables.table1(results), "low", "b_v", column="rte").lr == 1e-3


def test_a_seed_that_stands_twice_counts_once() -> None:
    results = make_results(seeds=(0, 2))
    twice = results[(results["trains"] == "v") & (results["seed"] == 0)]
    found = cell(tables.table1(pd.concat([results, twice, twice])), "low", "b_v", column="rte")
    assert (found.ours, found.seeds) == (pytest.approx(81), 2)


def test_one_seed_has_no_spread() -> None:
    found = cell(tables.table1(make_results(seeds=(0,))), "low", "b_v", column="sst2")
    assert (found.ours, found.spread, found.seeds) == (pytest.approx(80), None, 1)


# --- failures ----------------------------------------------------------------------------------------------


def test_failed_runs_enter_no_mean_and_are_counted() -> None:
    results = make_results(failed=lambda run: run[0] == "rte" and run[2] == "q" and run[4] == 2)
    # Even if a failure left a number behind.
    results.loc[results["state"] == "failed", "value"] = 0.99
    table = tables.table1(results)
    found = cell(table, "low", "b_q", column="rte")
    assert (found.ours, found.seeds, found.failed) == (pytest.approx(70.5), 2, 2)
    assert cell(table, "low", "b_q", column="sst2").failed == 0
    assert "4 of 168 fine-tunes failed and enter no mean (the loss is not a number)" in table.notes


def test_fewer_seeds_at_the_chosen_learning_rate_are_told() -> None:
    results = make_results(failed=lambda run: run[2] == "q" and run[3] == 1e-2 and run[4] == 0)
    assert cell(tables.table1(results), "low", "b_q", column="rte").note == "only 2 of 3 seeds"


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


# --- Table 1 -----------------------------------------------------------------------------------------------


def test_the_best_is_bold_and_the_selected_has_a_dagger() -> None:
    table = tables.table1(make_results(winners={("sst2", "low"): "q"}))
    marks = {
        (task, term): (cell(table, "low", term, column=task).bold, cell(table, "low", term, column=task).dagger)
        for task in ("sst2", "rte")
        for term in ("b_v", "b_q", "b_k")
    }
    assert [key for key, (bold, _) in marks.items() if bold] == [("sst2", "b_q"), ("rte", "b_v")]
    assert [key for key, (_, dagger) in marks.items() if dagger] == [("sst2", "b_v"), ("rte", "b_v")]
    assert cell(table, "low", "b_v", column="sst2").note == "selected by 3 of 3 probes at 0.01"


def selects(votes: dict[int, str], lr: float | None = None) -> Any:
    """Probes of the seeds at a learning rate (or at all) select so, all others k."""
    return lambda approach, run: votes[run[4]] if lr in (None, run[3]) else "k"


def test_the_dagger_is_the_majority_of_the_seeds() -> None:
    table = tables.table1(make_results(selects=selects({0: "q", 1: "v", 2: "q"})))
    assert cell(table, "low", "b_q", column="rte").dagger
    assert cell(table, "low", "b_q", column="rte").note == "selected by 2 of 3 probes at 0.01"
    assert not cell(table, "low", "b_v", column="rte").dagger


def test_a_tie_of_the_probes_marks_nothing() -> None:
    table = tables.table1(make_results(seeds=(0, 1), selects=selects({0: "q", 1: "v"})))
    assert not table.frame()["dagger"].any()


def test_the_dagger_is_read_at_the_learning_rate_of_the_choice() -> None:
    results = make_results(selects=selects({0: "v", 1: "v", 2: "v"}, lr=1e-2))
    assert cell(tables.table1(results), "low", "b_v", column="rte").dagger
    assert cell(tables.table1(results, lr=1e-3), "low", "b_k", column="rte").dagger
    # Probes with a grid of their own: those of all learning rates.
    results.loc[results["trains"] == "all", "lr"] /= 7
    found = cell(tables.table1(results, lr=1e-3), "low", "b_v", column="rte")
    assert not found.dagger  # three for v, three for k


def test_probes_that_moved_nothing_select_nothing() -> None:
    results = make_results()
    results["selected.projection_ratio"] = np.nan
    assert not tables.table1(results).frame()["dagger"].any()


def test_the_papers_numbers_stand_beside_ours() -> None:
    table = tables.table1(make_results())
    found = cell(table, "medium", "b_k", column="rte")
    assert (found.paper, found.paper_dagger) == (54.5, False)
    assert cell(table, "low", "b_v", column="sst2").paper_dagger
    assert "bundled" in table.ours
    assert "22.7 million" in table.ours
    assert table.paper == "BERT-base on GLUE (Table 1)"


def test_averages() -> None:
    table = tables.table1(make_results(tasks=("sst2", "rte", "demo-sentiment")))
    found = cell(table, "low", "b_q", column="here")
    assert (found.ours, found.paper) == (pytest.approx(71), pytest.approx((80.0 + 46.9) / 2))
    assert found.note == "mean of sst2, rte"  # the demo is none of the paper's
    printed = cell(table, "low", "b_q", column="average")
    assert (printed.ours, printed.paper) == (None, 57.8)
    assert "QQP" in printed.reason


def test_the_average_of_all_nine_needs_all_nine() -> None:
    results = make_results(tasks=("sst2", "rte", "qqp", "qnli", "mnli", "cola", "mrpc", "stsb"), regimes=("low",))
    table = tables.table1(results)
    assert cell(table, "low", "b_v", column="mnli_m").ours == pytest.approx(81)
    assert "matched" in cell(table, "low", "b_v", column="mnli_mm").reason
    assert cell(table, "low", "b_v", column="average").reason == "no number of all three terms for MNLI-mm"


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


def test_every_cell_has_a_number_or_a_reason() -> None:
    results = make_results(tasks=("sst2",), trains=("v",))
    found = [tables.table1(results), tables.table2(results), tables.table3(None), tables.table4(results)]
    for table in (*found, tables.table5(results)):
        frame = table.frame()
        assert frame.loc[frame["ours"].isna() & frame["paper"].notna(), "reason"].str.len().gt(0).all(), table.key


def test_regimes_without_a_name_are_called_by_their_size() -> None:
    results = make_results(regimes=("medium",))
    results["regime"] = None
    table = tables.table1(results.assign(n_train=[500, 64] * (len(results) // 2)))
    names = list(dict.fromkeys(row.labels[0] for row in table.rows))
    assert names == ["low", "medium", "high", "64 examples", "500 examples"]


def test_what_a_reader_must_know() -> None:
    results = make_results(null="k")
    results.loc[results["seed"] == 1, "epochs"] = 9
    notes = tables.table1(results).notes
    assert "b_k is certified null on this model: alone it moves nothing but the head and a bias of the pooler" in notes
    assert "some means are over fine-tunes that differ in epochs" in notes
    assert not any("null" in note or "differ in" in note for note in tables.table1(make_results()).notes)


def test_the_model_with_most_runs_comes_first() -> None:
    results = pd.concat([make_results(seeds=(0,)), make_results(model="google-bert/bert-base-cased")])
    assert Runs(results).models == ["google-bert/bert-base-cased", "bundled"]
    assert "bert-base-cased" in tables.table1(results).ours
    assert cell(tables.table1(results, "bundled"), "low", "b_v", column="rte").seeds == 1


def test_the_frame_has_every_cell() -> None:
    table = tables.table1(make_results())
    frame = table.frame()
    assert len(frame) == len(table.rows) * len(table.columns)
    one = frame[(frame["regime"] == "low") & (frame["term"] == "b_v") & (frame["column"] == "rte")].iloc[0]
    assert (one["ours"], one["paper"], one["paper_of"]) == (pytest.approx(81), 59.5, table.paper)
    assert frame["ours"].dtype == float


# --- Table 2 -----------------------------------------------------------------------------------------------


def test_table_2() -> None:
    table = tables.table2(make_results())
    assert [row.labels[0] for row in table.rows] == ["BEFT (b_v)", "rand uniform", "all biases", "all parameters"]
    share = cell(table, "all biases", column="share")
    assert (share.ours, share.paper) == (pytest.approx(100 * 23_808 / 22_713_216), 0.09)
    seconds = cell(table, "BEFT (b_v)", column="seconds")
    assert (seconds.ours, seconds.spread, seconds.paper) == (pytest.approx(13), pytest.approx(1), 132.9)
    assert seconds.note == "its share of a pass over 6 fine-tunes"
    value = cell(table, "all parameters", column="value")
    assert (value.ours, value.paper, value.paper_spread) == (pytest.approx(86), 57.46, 2.2)
    bold = table.frame().query("bold")[["technique", "column"]].to_numpy().tolist()
    assert bold == [
        ["BEFT (b_v)", "parameters"],
        ["BEFT (b_v)", "share"],
        ["BEFT (b_v)", "seconds"],
        ["rand uniform", "parameters"],
        ["rand uniform", "share"],
        ["all parameters", "value"],
    ]
    assert any("a made-up device" in note for note in table.notes)


def test_table_2_of_another_task_has_no_numbers_of_the_paper() -> None:
    table = tables.table2(make_results(), task="sst2", regime="medium")
    assert cell(table, "BEFT (b_v)", column="value").ours == pytest.approx(83)
    assert not table.has_paper


def test_table_2_needs_the_other_techniques() -> None:
    results = make_results(trains=("v", "q", "all"))
    assert cell(tables.table2(results), "rand uniform", column="seconds").reason.startswith("no run that trains random")
    assert tables.table2_cases(results) == [("rte", "low")]
    assert tables.table2_cases(make_results()) == [
        ("rte", "low"),
        ("sst2", "low"),
        ("sst2", "medium"),
        ("rte", "medium"),
    ]


# --- Table 3 -----------------------------------------------------------------------------------------------


def entry(seed: int = 0, tasks: tuple[str, ...] = ("sst2", "rte"), **other: Any) -> dict[str, Any]:
    """One merge, as beft sweep writes it."""
    rows = {"base model": dict.fromkeys(tasks, 0.5)}
    rows |= {source: {task: 0.8 if task == source else 0.4 for task in tasks} for source in tasks}
    rows["merged"] = dict.fromkeys(tasks, 0.7 + 0.02 * seed)
    return {
        "tasks": list(tasks),
        "seed": seed,
        "term": "v",
        "method": "mean",
        "cosine": 0.2,
        "angle": 78.0,
        "rows": rows,
        "metrics": dict.fromkeys(tasks, "accuracy"),
        **other,
    }


def merges(folder: Path, *entries: Any) -> tuple[Merge, ...] | None:
    (folder / "merges.json").write_text(json.dumps(list(entries)))
    return tables.read_merges(folder)


def test_table_3(tmp_path: Path) -> None:
    table = tables.table3(merges(tmp_path, entry(0), entry(1), entry(0, ("sst2", "cola"))), model="bundled")
    merged = cell(table, "merged", column="rte")
    assert (merged.ours, merged.spread, merged.seeds) == (pytest.approx(71), pytest.approx(2**0.5), 2)
    assert merged.paper == 55.5
    own, other = (cell(table, "b_v fine-tuned on sst2", column=task) for task in ("sst2", "rte"))
    assert (own.ours, own.paper, other.ours, other.paper) == (pytest.approx(80), 85.8, pytest.approx(40), 46.2)
    assert cell(table, "merged", column="angle") == Cell(78, 0, 2, paper=79.5)
    assert cell(table, "without fine-tuning", column="angle") == Cell()


def test_sources_go_by_their_place_where_labels_are_no_tasks(tmp_path: Path) -> None:
    one = entry()
    one["rows"] = {{"sst2": "first", "rte": "second"}.get(name, name): row for name, row in one["rows"].items()}
    found = merges(tmp_path, one)
    assert cell(tables.table3(found), "b_v fine-tuned on rte", column="rte").ours == pytest.approx(80)


def test_merges_of_other_tasks_have_tables_of_their_own(tmp_path: Path) -> None:
    found = merges(tmp_path, entry(0, ("stsb", "cola", "rte")), entry(1, ("cola", "stsb", "rte")))
    assert tables.table3_cases(found) == [
        (("sst2", "rte"), "v", "mean"),
        (("stsb", "cola", "rte"), "v", "mean"),
    ]
    table = tables.table3(found, ("stsb", "cola", "rte"))
    assert cell(table, "merged", column="cola").seeds == 2
    assert not table.has_paper
    assert cell(tables.table3(found), "merged", column="rte").reason == (
        "merges.json has no merge of sst2 and rte by mean of b_v"
    )


def test_without_merges(tmp_path: Path) -> None:
    assert tables.read_merges(tmp_path) is None
    table = tables.table3(None)
    assert not table.has_ours
    assert cell(table, "merged", column="cosine").paper == 0.18
    assert "no merges.json" in cell(table, "merged", column="sst2").reason


def test_a_score_that_was_not_finite(tmp_path: Path) -> None:
    one = entry()
    one["rows"]["merged"]["rte"] = None
    table = tables.table3(merges(tmp_path, one))
    assert cell(table, "merged", column="rte").reason == "no merge has a finite value"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        "[",
        '[{"tasks": ["sst2", "rte"]}]',
        json.dumps([entry(cosine="0.2")]),
        json.dumps([entry(rows={"base model": {}, "merged": {}})]),
        json.dumps([entry() | {"seed": None}]),
        json.dumps([entry()]).replace("0.5", "true"),
        json.dumps([entry()]).replace("0.5", "NaN"),
        "\xff",
    ],
)
def test_damaged_merges_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "merges.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"merges\.json"):
        tables.read_merges(tmp_path)


# --- Tables 4 and 5 ----------------------------------------------------------------------------------------


def test_table_4_names_what_a_model_needs() -> None:
    table = tables.table4(make_results())
    assert cell(table, "RoBERTa-base", "b_v", column="cb") == Cell(
        paper=90.5,
        reason="the bundled model only; needs RoBERTa-base from the Hub: beft sweep --model FacebookAI/roberta-base",
    )
    ours = cell(table, "bundled", "b_v", column="sst2")
    assert (ours.ours, ours.paper, ours.bold) == (pytest.approx(81), None, True)


def test_table_4_puts_our_run_of_a_model_beside_the_papers() -> None:
    table = tables.table4(pd.concat([make_results(), make_results(model="google-bert/bert-base-cased")]))
    found = cell(table, "BERT-base (google-bert/bert-base-cased)", "b_q", column="rte")
    assert (found.ours, found.paper) == (pytest.approx(71), 46.9)
    assert "BERT-base" not in {row.labels[0] for row in table.rows}
    assert "no run of BERT-large" in cell(table, "BERT-large", "b_q", column="rte").reason


@pytest.mark.parametrize(
    ("technique", "task", "reason"),
    [
        ("b_v", "squad", "generation and multiple choice are not tasks of this lab"),
        ("b_v", "copa", "generation and multiple choice are not tasks of this lab"),
        ("b_q", "wsc", "WSC is not a task of this lab"),
        ("LoRA", "sst2", "LoRA is not a technique of this lab"),
        ("b_k", "boolq", "the bundled model only; needs OPT-1.3B from the Hub: beft sweep --model facebook/opt-1.3b"),
    ],
)
def test_table_5_says_why(technique: str, task: str, reason: str) -> None:
    assert cell(tables.table5(make_results()), "OPT-1.3B", technique, column=task).reason == reason


def test_table_5_with_a_run() -> None:
    table = tables.table5(make_results(tasks=("rte",), model="facebook/opt-1.3b"))
    found = cell(table, "OPT-1.3B (facebook/opt-1.3b)", "b_v", column="rte")
    assert (found.ours, found.paper, found.dagger) == (pytest.approx(81), 71.5, True)


# --- the notebook, the figures, section 3.4 ----------------------------------------------------------------


def test_reference() -> None:
    table = tables.reference(make_results(null="k"))
    ratio = cell(table, "b_v", column="projection_ratio")
    assert (ratio.ours, ratio.seeds, ratio.lr, ratio.paper) == (pytest.approx(0.95), 3, 0.01, 0.35)
    assert (cell(table, "b_k", column="projection_ratio").ours, cell(table, "b_q", column="accuracy").paper) == (0, 80)
    assert cell(table, "b_m2", column="accuracy") == Cell()
    without = tables.reference(make_results(tasks=("rte",)))
    assert cell(without, "b_v", column="magnitude_mean_abs").reason == "no run of sst2 in the table"


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


# --- result tables that are none ---------------------------------------------------------------------------


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(UserError, match="without rows"):
        tables.table1(make_results().head(0))


@pytest.mark.parametrize("column", ["value", "lr", "seed", "n_train", "seconds"])
def test_words_where_numbers_belong_are_refused(column: str) -> None:
    results = make_results().astype({column: object})
    results.loc[3, column] = "many"
    with pytest.raises(UserError, match=column):
        tables.table4(results)


def test_csv_and_parquet_give_the_same_tables(tmp_path: Path) -> None:
    results = make_results(failed=lambda run: run[4] == 1 and run[2] == "q", add=scattered)
    write_table(results, tmp_path)
    one, other = (read_table(tmp_path / f"results.{suffix}") for suffix in ("parquet", "csv"))
    for make in (tables.table1, tables.table2, tables.table4, tables.reference):
        frames = [make(table).frame() for table in (one, other)]
        pd.testing.assert_frame_equal(*frames)
        pd.testing.assert_frame_equal(frames[0], make(results).frame())


def test_means_are_made_once() -> None:
    runs = Runs(make_results())
    pd.testing.assert_frame_equal(tables.table1(runs).frame(), tables.table1(make_results()).frame())
    assert Runs.of(runs) is runs


# --- cells -------------------------------------------------------------------------------------------------


def test_cells_that_tie_are_all_bold() -> None:
    columns = (Column("a", "A"), Column("b", "B", best="lowest"), Column("c", "C", best="none"))
    rows = [Row(("x",), tuple(Cell(value) for value in values)) for values in ((2, 2, 2), (2, 1, 3), (1, 3, 1))]
    rows.append(Row(("x",), (Cell(), Cell(), Cell())))
    marked = mark_best(rows, columns, lambda row: row.labels)
    assert [[c.bold for c in row.cells] for row in marked] == [
        [True, False, False],
        [True, True, False],
        [False, False, False],
        [False, False, False],
    ]


def test_texts() -> None:
    column = Column("share", "Share", decimals=3, paper_decimals=2)
    found = Cell(0.1048, 0.0004, 3, paper=0.09, paper_spread=0.011, paper_dagger=True)
    assert ours_text(found, column) == "0.105 ± 0.000"
    assert paper_text(found, column) == "0.09 ± 0.01†"
    assert ours_text(Cell(), column) == paper_text(Cell(), column) == ""


def test_table2_compares_runtimes_of_fine_tunes_that_were_trained_alone() -> None:
    shared = make_results(tasks=["rte"], regimes=["low"], trains=["v", "q", "k", "all"]).assign(
        bank_runs=60, seconds=0.5
    )
    alone = make_results(tasks=["rte"], regimes=["low"], trains=["v", "all", "full"]).assign(bank_runs=1, seconds=9.0)
    both = tables.table2(pd.concat([alone, shared], ignore_index=True))
    seconds = {row.labels[0]: row.cells[2] for row in both.rows}
    assert seconds["BEFT (b_v)"].ours == 9.0 and not seconds["BEFT (b_v)"].note
    only_shared = {row.labels[0]: row.cells[2] for row in tables.table2(shared).rows}
    assert only_shared["BEFT (b_v)"].ours == 0.5 and "60 fine-tunes" in only_shared["BEFT (b_v)"].note
