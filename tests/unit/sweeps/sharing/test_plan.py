"""The plan of a sweep: common to all workers, only added to, split by all in the same way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beft_core.sweeps.sharing.plan import Plan, bank_id, halves

FIRST, SECOND = ("a", "b", "c"), ("d",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Plan(tmp_path).prepare()
    return tmp_path


def test_of_two_that_plan_at_once_one_counts(folder: Path) -> None:
    one, two = Plan(folder), Plan(folder)
    assert one.banks() == two.banks() == []
    assert one.add([FIRST, SECOND])
    assert not two.add([SECOND, FIRST])
    assert two.banks() == one.banks() == [FIRST, SECOND]
    assert two.add([("e", "f")])
    assert one.banks() == [FIRST, SECOND, ("e", "f")]


def test_a_split_bank_is_its_halves_for_everybody(folder: Path) -> None:
    one, two = Plan(folder), Plan(folder)
    one.add([FIRST, SECOND])
    one.split(FIRST)
    one.split(FIRST)
    assert two.banks() == [("a", "b"), ("c",), SECOND]
    two.split(("a", "b"))
    two.split(SECOND)  # one alone has no halves
    assert one.banks() == [("a",), ("b",), ("c",), SECOND]
    assert [list(half) for half in halves("abcde")] == [["a", "b", "c"], ["d", "e"]]


def test_the_plan_of_an_earlier_version_goes_on(folder: Path) -> None:
    (folder / "plan.json").write_text(json.dumps({"banks": [list(FIRST)]}))
    plan = Plan(folder)
    assert plan.banks() == [FIRST]
    plan.add([SECOND])
    assert Plan(folder).banks() == [FIRST, SECOND]


@pytest.mark.parametrize("text", ["", "[]", '{"banks": 3}', '{"banks": [["a"], []]}', '{"banks": [[1]]}'])
def test_a_damaged_list_is_planned_anew(text: str, folder: Path) -> None:
    (folder / "plan" / "00001.json").write_text(text)
    plan = Plan(folder)
    assert plan.banks() == []
    assert plan.add([FIRST]) and Plan(folder).banks() == [FIRST]


def test_the_name_of_a_bank_says_who_is_in_it_in_which_order() -> None:
    names = [FIRST, ("a", "c", "b"), ("a", "b"), SECOND]
    assert len({bank_id(bank) for bank in names}) == 4 and all(len(bank_id(bank)) == 16 for bank in names)
