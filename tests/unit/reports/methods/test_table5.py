"""Table 5 in two halves, from made-up comparisons, and what is said of LoRA's collapse."""

from __future__ import annotations

from typing import Any

import pytest
from made_comparisons import comparison, row

from beft_core.reports import paper
from beft_core.reports.methods.table5 import TECHNIQUES, models_of, table5, verdicts


def test_every_technique_of_the_paper_is_named() -> None:
    assert set(TECHNIQUES) == set(paper.table5()["technique"])


def test_ours_stand_beside_the_papers() -> None:
    found = comparison(
        row("full", 0.9),
        row("v", 0.8, edge="largest", reason="the predictions of seed 1 are missing"),
        row("lora", 0.82, spread=float("nan"), seeds=1),
        row("v", 0.6, setting="same"),
        row("v", 0.55, task="rte"),
        row("v", 0.7, task="stsb", metric="spearman"),
        row("icl", float("nan"), state="refused", reason="answers come from a head", at_chance=None),
    )
    table = table5(found, "bundled", "best")
    assert [column.key for column in table.columns] == ["sst2", "rte", "stsb"]  # the paper's order, then the others
    rows = {one.labels[0]: one.cells for one in table.rows}
    assert list(rows) == [*TECHNIQUES, "every weight"]
    of_v, of_lora = rows["b_v"], rows["LoRA"]
    assert (of_v[0].ours, of_v[0].paper, of_v[1].paper, of_v[2].paper) == (80.0, 93.1, 71.5, None)
    assert "77.0 to 83.0" in of_v[0].note and "above a constant answer, 50.9" in of_v[0].note
    assert "the largest of its range" in of_v[0].note and "predictions of seed 1 are missing" in of_v[0].note
    assert (of_lora[0].paper, of_lora[0].spread, of_lora[1].ours) == (92.6, None, None)
    assert of_lora[1].reason == "not among the methods that were compared"
    assert rows["in-context learning"][0].reason == "answers come from a head"
    assert rows["every weight"][0].bold and not of_v[0].bold
    assert table5(found, "bundled", "best", "OPT-6.7B").rows[3].cells[0].paper == 50.5
    same = table5(found, "bundled", "same")
    assert same.rows[0].cells[0].ours == 60.0 and same.title != table.title and models_of(found) == ["bundled"]
    assert "1,000 training examples" in table.ours


def test_a_prompted_task_stands_beside_the_papers() -> None:
    found = comparison(row("v", 0.8, task="prompt-copa", model="gemma-3-270m"))
    cell = table5(found, "gemma-3-270m", "best").rows[0].cells[0]
    assert (cell.ours, cell.paper) == (80.0, 77.0)


def test_few_and_many_demonstrations_have_a_row_each() -> None:
    few, many = ("none demonstrations=4", "none demonstrations=32")
    found = comparison(row("icl", 0.6, trains=few), row("icl", 0.7, trains=many), row("v", 0.8))
    rows = {one.labels[0]: one.cells[0].ours for one in table5(found, "bundled", "best").rows}
    assert rows["in-context learning demonstrations=4"] == 60.0
    assert rows["in-context learning demonstrations=32"] == 70.0 and "in-context learning" not in rows


def test_comparisons_on_several_numbers_of_examples_are_not_mixed() -> None:
    few, many = {"n_train": 100, "setting": "same"}, {"n_train": 1000, "setting": "same"}
    found = comparison(
        row("v", 0.7, **few),
        row("lora", 0.5, **few),
        row("v", 0.8, **many),
        row("lora", 0.82, **many),
        row("v", 0.6, task="rte", **many),
    )
    table = table5(found, "bundled", "same")
    assert [column.key for column in table.columns] == ["sst2 100 examples", "sst2 1,000 examples", "rte"]
    rows = {one.labels[0]: [cell.ours for cell in one.cells] for one in table.rows}
    assert rows["b_v"] == [70.0, 80.0, 60.0] and rows["LoRA"] == [50.0, 82.0, None]
    said = verdicts(found, "same")
    assert ["confirmed" in one for one in said] == [True, False] and "refuted" in said[1]
    assert "(bundled, 100 examples)" in said[0] and "(bundled, 1,000 examples)" in said[1]


def test_numbers_of_other_conditions_in_one_column_are_told() -> None:
    apart = comparison(row("v", 0.8, preset="quick"), row("lora", 0.9, preset="paper"), row("v", 0.5, task="rte"))
    (said,) = [note for note in table5(apart, "bundled", "best").notes if "conditions" in note]
    assert said.startswith("sst2") and "b_v: quick preset" in said and "LoRA: paper preset" in said


@pytest.mark.parametrize(
    ("lora", "beft", "words"),
    [
        ({"value": 0.5, "seeds_at_chance": 3}, {"value": 0.8}, "collapse confirmed here; 50.0 (47.0 to 53.0) against"),
        ({"value": 0.8}, {"value": 0.5}, "collapse refuted here; 80.0"),
        ({"value": 0.5, "seeds_at_chance": 3}, {"value": 0.5}, "at chance in 3 of 3 seeds, but b_v is not above it"),
        ({"value": 0.5, "seeds_at_chance": 2}, {"value": 0.7, "seeds_at_chance": 1}, "but b_v is not above it in all"),
        ({"value": 0.7, "seeds_at_chance": 1}, {"value": 0.8}, "at chance in 1 of 3 seeds, b_v in none"),
        (
            {"value": 0.6, "at_chance": "yes", "seeds_at_chance": 0},
            {"value": 0.8},
            "too few to be sure of the mean; 60.0",
        ),
    ],
)
def test_whether_lora_collapses(lora: dict[str, Any], beft: dict[str, Any], words: str) -> None:
    found = comparison(row("lora", setting="same", **lora), row("v", setting="same", **beft))
    (said,) = verdicts(found, "same")
    assert words in said and "LoRA on sst2 (bundled)" in said and verdicts(found, "best") == []


def test_without_lora_or_its_chance_nothing_is_said() -> None:
    assert verdicts(comparison(row("v", 0.8)), "best") == []
    assert verdicts(comparison(row("lora", 0.8, at_chance=None), row("v", 0.8)), "best") == []
