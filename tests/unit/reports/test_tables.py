"""The paper's tables from result tables whose numbers are known, and computed again here by other means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_tools import LRS, cell, entry, scattered
from sweep_tables import make_results

from beft_core.reports import tables
from beft_core.reports.cells import Cell
from beft_core.reports.tables import Merge
from beft_core.sweeps.table import read_table, write_table


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    """Two tasks and regimes at three learning rates with scattered metrics."""
    return make_results(lrs=LRS, add=scattered)


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


def test_every_cell_has_a_number_or_a_reason() -> None:
    results = make_results(tasks=("sst2",), trains=("v",))
    found = [tables.table1(results), tables.table2(results), tables.table3(None), tables.table4(results)]
    for table in (*found, tables.table5(results)):
        frame = table.frame()
        assert frame.loc[frame["ours"].isna() & frame["paper"].notna(), "reason"].str.len().gt(0).all(), table.key


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


# --- Tables 4 and 5 ----------------------------------------------------------------------------------------


def test_table_4_puts_our_run_of_a_model_beside_the_papers() -> None:
    table = tables.table4(pd.concat([make_results(), make_results(model="google-bert/bert-base-cased")]))
    found = cell(table, "BERT-base (google-bert/bert-base-cased)", "b_q", column="rte")
    assert (found.ours, found.paper) == (pytest.approx(71), 46.9)
    assert "BERT-base" not in {row.labels[0] for row in table.rows}
    assert "no run of BERT-large" in cell(table, "BERT-large", "b_q", column="rte").reason


def test_table_5_with_a_run() -> None:
    table = tables.table5(make_results(tasks=("rte",), model="facebook/opt-1.3b"))
    found = cell(table, "OPT-1.3B (facebook/opt-1.3b)", "b_v", column="rte")
    assert (found.ours, found.paper, found.dagger) == (pytest.approx(81), 71.5, True)


def test_table_5_takes_prompted_tasks_and_every_technique() -> None:
    made = make_results(tasks=("rte",), regimes=("low",), trains=("v", "q"), model="facebook/opt-1.3b")
    prompted = made.assign(task="prompt-rte", trains=made["trains"].map({"v": "lora", "q": "none"}))
    without_regime = prompted.assign(task="prompt-cb", regime="all", n_train=None)
    table = tables.table5(pd.concat([made, prompted, without_regime]))
    model = "OPT-1.3B (facebook/opt-1.3b)"
    for task, theirs in (("rte", 50.5), ("cb", 41.0)):
        found = cell(table, model, "LoRA", column=task)
        assert (found.ours, found.paper) == (pytest.approx(81), theirs)
    assert cell(table, model, "zero-shot", column="rte").ours == pytest.approx(71)
    assert cell(table, model, "b_v", column="rte").reason.startswith("no run that trains v on prompt-rte")


# --- the notebook, the figures, section 3.4 ----------------------------------------------------------------


def test_reference() -> None:
    table = tables.reference(make_results(null="k"))
    ratio = cell(table, "b_v", column="projection_ratio")
    assert (ratio.ours, ratio.seeds, ratio.lr, ratio.paper) == (pytest.approx(0.95), 3, 0.01, 0.35)
    assert (cell(table, "b_k", column="projection_ratio").ours, cell(table, "b_q", column="accuracy").paper) == (0, 80)
    assert cell(table, "b_m2", column="accuracy") == Cell()
    without = tables.reference(make_results(tasks=("rte",)))
    assert cell(without, "b_v", column="magnitude_mean_abs").reason == "no run of sst2 in the table"


# --- result tables that are none ---------------------------------------------------------------------------


def test_csv_and_parquet_give_the_same_tables(tmp_path: Path) -> None:
    results = make_results(failed=lambda run: run[4] == 1 and run[2] == "q", add=scattered)
    write_table(results, tmp_path)
    one, other = (read_table(tmp_path / f"results.{suffix}") for suffix in ("parquet", "csv"))
    for make in (tables.table1, tables.table2, tables.table4, tables.reference):
        frames = [make(table).frame() for table in (one, other)]
        pd.testing.assert_frame_equal(*frames)
        pd.testing.assert_frame_equal(frames[0], make(results).frame())


# --- cells -------------------------------------------------------------------------------------------------


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
